"""What a template sees of its node, and the data that cloud-init asks for.

The data source is NoCloud with a seed address:
https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html
"""

from __future__ import annotations

import json
from typing import Any

from metalwright.boot.scripts import CARD
from metalwright.model.boot import Served
from metalwright.model.boots import IssuedBoot
from metalwright.model.documents import Node
from metalwright.model.inventory import ResolvedTemplate

NETWORK_CONFIG = "network-config"
"""The file of a template that cloud-init gets as its network configuration."""


def context(
    node: Node, template: ResolvedTemplate, boot: IssuedBoot, base: str, pool: str
) -> dict[str, Any]:
    """The names that a template may use. `base` is the address of this boot."""
    spec = node.spec
    return {
        "node": {
            "name": node.metadata.name,
            "labels": dict(node.metadata.labels),
            "serial": spec.serial or "",
            "system_uuid": spec.system_uuid or "",
            "address": spec.address or "",
            "nics": [
                {"mac": nic.mac, "name": nic.name or "", "boot": nic.boot} for nic in spec.nics
            ],
        },
        "boot": {"url": base, "mode": boot.mode.value, "operation": boot.operation_id},
        "template": {"name": template.name, "digest": template.digest},
        "pool": pool,
    }


def meta_data(node: Node, boot: IssuedBoot) -> str:
    """cloud-init's meta-data: JSON, which is YAML. A new operation is a new instance; a machine
    that boots the same once more stays the one that it was.
    """
    name = node.metadata.name
    instance = boot.operation_id or boot.template_digest[:16]
    return json.dumps({"instance-id": f"{name}-{instance}", "local-hostname": name}) + "\n"


def arguments(template: ResolvedTemplate | None, mode: Served, base: str) -> list[str]:
    """The kernel arguments that the service adds; `base` is the address of this boot."""
    added = [f"mw.url={base}"]
    if mode is Served.WIPE:
        return [*added, "mw.mode=wipe", CARD]
    if mode is Served.INSTALL:
        return [*added, "mw.mode=install", CARD]
    seeded = template is not None and (
        template.user_data is not None or template.vendor_data is not None
    )
    return [*added, f"ds=nocloud;s={base}/"] if seeded else added


def data(name: str, template: ResolvedTemplate) -> str | None:
    """The text, still to be rendered, of one of cloud-init's data; `None` where there is none."""
    if name == "user-data":
        return template.user_data or ""
    if name == "vendor-data":
        return template.vendor_data or ""
    return template.files.get(NETWORK_CONFIG)
