"""The configuration of a DHCP and TFTP server that leads declared machines to the boot service.

It is dnsmasq's (https://thekelleys.org.uk/dnsmasq/docs/dnsmasq-man.html). Firmware gets iPXE by
TFTP or, where it asks by HTTP, from a web server; iPXE gets the first script. Machines that are
not declared get no answer at all: another DHCP server may be theirs.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from metalwright.errors import MetalwrightError
from metalwright.model.documents import Node
from metalwright.model.hardware import Lifecycle

BIOS_LOADER: Final = "undionly.kpxe"
EFI_LOADER: Final = "ipxe.efi"
EFI_ARM_LOADER: Final = "ipxe-arm64.efi"

# Processor architectures of clients (RFC 4578, and its registry at IANA).
_BIOS: Final = (0,)
_EFI: Final = (7, 9)
_EFI_ARM: Final = (11,)
_EFI_HTTP: Final = (16,)
_EFI_ARM_HTTP: Final = (19,)

_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_RANGE = re.compile(r"[0-9A-Za-z.:,/_-]{1,200}")
_WORD = re.compile(r"[A-Za-z0-9._/:@%+\[\]-]{1,255}")


class DnsmasqError(MetalwrightError):
    """Something that cannot stand in the configuration, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Where to serve: `dhcp-range`s as dnsmasq writes them, the interface, the loaders.

    `loaders_dir` has the files of iPXE for TFTP. `loaders_url` is a web address where the same
    files are; without it no firmware boots by HTTP.
    """

    ranges: tuple[str, ...]
    interface: str = ""
    loaders_dir: str = "/usr/lib/ipxe"
    loaders_url: str = ""


def configuration(nodes: Mapping[str, Node], url: str, network: Network, revision: str) -> str:
    """The whole file. `url` is the boot service's.

    Raises:
        DnsmasqError: a value has a character that dnsmasq would take for its own.
    """
    for value in (url, network.loaders_dir, network.interface, network.loaders_url):
        if value and not _WORD.fullmatch(value):
            raise DnsmasqError(f"{value!r} cannot stand in a configuration of dnsmasq")
    for value in network.ranges:
        if not _RANGE.fullmatch(value):
            raise DnsmasqError(
                f"{value!r} is no range of addresses, such as 10.0.0.10,10.0.0.99,1h"
            )
    lines = [
        f"# The machines of revision {revision[:12]}. Made by `metalwright dnsmasq`: change git,",
        "# not this file.",
        "port=0",
        *_listens(network),
        "",
        "# Who is not declared gets no answer.",
        "dhcp-ignore=tag:!known",
        "",
        *_firmware(url, network),
        "",
        *_hosts(nodes),
        "",
    ]
    return "\n".join(lines)


def _listens(network: Network) -> Iterator[str]:
    if network.interface:
        yield f"interface={network.interface}"
        yield "bind-dynamic"
    for each in network.ranges:
        yield f"dhcp-range={each}"
    yield "dhcp-leasefile=/var/lib/misc/metalwright.leases"
    yield "enable-tftp"
    yield f"tftp-root={network.loaders_dir}"


def _firmware(url: str, network: Network) -> Iterator[str]:
    yield "# iPXE says so with option 175, and is not to wait for another PXE server."
    yield "dhcp-match=set:ipxe,175"
    yield "dhcp-option=tag:ipxe,encap:175,176,1b"
    yield f"dhcp-boot=tag:ipxe,{url}/boot.ipxe"
    yield ""
    yield "# Firmware gets iPXE, each architecture its own."
    for tag, numbers, loader in (
        ("bios", _BIOS, BIOS_LOADER),
        ("efi", _EFI, EFI_LOADER),
        ("efiarm", _EFI_ARM, EFI_ARM_LOADER),
    ):
        yield from (f"dhcp-match=set:{tag},option:client-arch,{number}" for number in numbers)
        yield f"dhcp-boot=tag:{tag},tag:!ipxe,{loader}"
    if not network.loaders_url:
        return
    yield ""
    yield "# UEFI HTTP boot: the answer has to name the same vendor class."
    for tag, numbers, loader in (
        ("http", _EFI_HTTP, EFI_LOADER),
        ("httparm", _EFI_ARM_HTTP, EFI_ARM_LOADER),
    ):
        yield from (f"dhcp-match=set:{tag},option:client-arch,{number}" for number in numbers)
        yield f"dhcp-option-force=tag:{tag},tag:!ipxe,60,HTTPClient"
        yield f"dhcp-boot=tag:{tag},tag:!ipxe,{network.loaders_url.rstrip('/')}/{loader}"


def _hosts(nodes: Mapping[str, Node]) -> Iterator[str]:
    """A line for each interface of each node that is served."""
    for name, node in sorted(nodes.items()):
        if node.spec.lifecycle is Lifecycle.RETIRED:
            continue
        yield f"# {name}"
        fixed = _fixed(node)
        boots = [nic for nic in node.spec.nics if nic.boot] or list(node.spec.nics)
        for nic in node.spec.nics:
            parts = [nic.mac]
            if fixed and nic is boots[0]:
                parts.append(fixed)
            if _HOST_NAME.fullmatch(name) and nic is boots[0]:
                parts.append(name)
            yield f"dhcp-host={','.join(parts)}"


def _fixed(node: Node) -> str:
    """The address that git gives the machine, in dnsmasq's spelling; empty for a name or none."""
    try:
        address = ipaddress.ip_address(node.spec.address or "")
    except ValueError:
        return ""
    return f"[{address}]" if address.version == 6 else str(address)
