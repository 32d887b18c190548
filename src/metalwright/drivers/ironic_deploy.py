"""What Ironic is told of an instance: `instance_info`, the config drive, the interface. Pure.

Ironic checks the digest of a disk image, but of no kernel and no ramdisk: its cache of those is
said to hold "artifacts, none of which can be validated" (39.0.0, common/pxe_utils.py). Where the
boot service is at work it fetches them from there, checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from metalwright.drivers.ironic_record import MARK, Record
from metalwright.errors import PermanentError
from metalwright.model.documents import Node
from metalwright.model.handover import Handover
from metalwright.model.inventory import ResolvedTemplate
from metalwright.model.operation import Operation
from metalwright.model.template import Method

Json = dict[str, Any]

RAMDISK: Final = "ramdisk"
DRIVELESS: Final = frozenset({"pxe", "ipxe", "http", "http-ipxe"})
"""Boot interfaces with which Ironic's ramdisk deployment ignores a config drive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interfaces:
    """Ironic's deploy interface for each method; an empty one leaves what the node has."""

    netboot: str = RAMDISK
    disk: str = "direct"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """`instance_info`, the deploy interface ("" leaves the node's), the config drive (or none)."""

    info: Json
    interface: str
    drive: Json


def instance(
    record: Record, operation: Operation, node: Node, interfaces: Interfaces, handover: Handover
) -> Instance:
    """The instance of an operation.

    Raises:
        PermanentError: the template has no disk image, or data that would not reach the machine.
    """
    template = operation.target.template
    assert template is not None
    disk = template.method is Method.DISK
    interface = interfaces.disk if disk else interfaces.netboot
    info: Json = {MARK: mark(operation, template, handover)}
    seeded = bool(handover.data_source) and "virtual-media" not in record.boot_interface
    drive = {} if seeded else _config_drive(node, handover)
    if disk:
        info |= _disk_image(template)
    else:
        info |= _ramdisk(template, handover, seeded=seeded)
        by = interface or record.deploy_interface
        if drive and by == RAMDISK and record.boot_interface in DRIVELESS:
            raise PermanentError(
                f"Ironic gives no user data to a ramdisk that it boots by {record.boot_interface}:"
                " switch the boot service on (boot.listen), or have the node boot from virtual"
                " media"
            )
    return Instance(info=info, interface=interface, drive=drive)


def mark(operation: Operation, template: ResolvedTemplate, handover: Handover) -> Json:
    """What is kept in the instance of whose it is, and of what."""
    found: Json = {
        "operation": operation.id,
        "template_digest": template.digest,
        "template": template.name,
    }
    if handover.attempt is not None:
        found |= {"attempt": handover.attempt, "reports": handover.reports}
    return found


def _ramdisk(template: ResolvedTemplate, handover: Handover, *, seeded: bool) -> Json:
    """`instance_info` of Ironic's ramdisk deploy."""
    arguments = [*handover.kernel_args, *([handover.data_source] if seeded else [])]
    found: Json = {"kernel_append_params": " ".join(arguments)}
    image = template.image
    if handover.kernel:
        found |= {"kernel": handover.kernel, "ramdisk": handover.ramdisk}
    elif image is not None and image.kernel is not None and image.initrd is not None:
        found |= {"kernel": image.kernel.url, "ramdisk": image.initrd.url}
    return found


def _disk_image(template: ResolvedTemplate) -> Json:
    image = template.image.disk if template.image is not None else None
    if image is None:
        raise PermanentError(f"template {template.name} has no disk image for Ironic to write")
    raw = urlsplit(image.url).path.endswith((".raw", ".img"))
    return {
        "image_source": image.url,
        "image_os_hash_algo": "sha256",
        "image_os_hash_value": image.sha256,
        "image_checksum": image.sha256,
        "image_disk_format": "raw" if raw else "qcow2",
    }


def _config_drive(node: Node, handover: Handover) -> Json:
    if handover.user_data is None and handover.vendor_data is None:
        return {}
    name = node.metadata.name
    drive: Json = {"meta_data": {"name": name, "hostname": name}}
    if handover.user_data is not None:
        drive["user_data"] = handover.user_data
    if handover.vendor_data is not None:
        drive["vendor_data"] = {"cloud-init": handover.vendor_data}
    return drive
