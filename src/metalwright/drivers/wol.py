"""The Wake-on-LAN driver: switches on machines that have no BMC, and can do nothing else.

A magic packet has no answer, so whether it woke anything is not known; nor is the power at any
time, unless the machine reports itself once it runs. It is never called off: that nobody is heard
is not knowledge. Nothing here can switch a machine off.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Sequence
from typing import Final

from metalwright.errors import (
    NotSupportedError,
    PermanentError,
    SettingsError,
    TemporaryError,
)
from metalwright.model.documents import Node
from metalwright.model.observed import BootDevice, Reading
from metalwright.model.operation import Effect, EffectKind

PORT: Final = 9
"""The discard service; the packet is for the network card, whatever the port."""

PACKETS: Final = 3
"""How often each packet is sent: nobody acknowledges one, and networks lose some."""

ADDRESSES_MAX: Final = 64


class WolDriver:
    """Wakes machines; safe to call from many threads.

    `addresses` are the broadcast addresses of the networks that the machines are in; each packet
    goes to all of them. With `network_first` the machines' firmware is declared to boot from the
    network first, always: then a boot device can be "set", because what is booted is the boot
    service's decision and not the machine's.
    """

    def __init__(
        self,
        addresses: Sequence[str] = ("255.255.255.255",),
        *,
        port: int = PORT,
        network_first: bool = False,
    ) -> None:
        """Nothing is sent yet.

        Raises:
            SettingsError: an address is not one of IPv4, or there are too many, or none.
        """
        if not 1 <= len(addresses) <= ADDRESSES_MAX:
            raise SettingsError(f"drivers.wol.addresses should be 1 to {ADDRESSES_MAX} addresses")
        for address in addresses:
            try:
                ipaddress.IPv4Address(address)
            except ValueError:
                raise SettingsError(
                    f"drivers.wol.addresses: {address!r} should be a broadcast address such as"
                    " 10.20.1.255"
                ) from None
        self._targets = [(address, port) for address in addresses]
        self._closed = threading.Event()
        settable = {EffectKind.SET_BOOT_DEVICE} if network_first else set()
        self.capabilities = frozenset({EffectKind.POWER_ON, *settable})

    def observe(self, node: Node, timeout_s: float) -> Reading:
        """That nothing is known.

        Raises:
            TemporaryError: the driver is closed.
        """
        del node, timeout_s
        self._check_open()
        return Reading()

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Send the packet that wakes the machine.

        Raises:
            PermanentError: not in `capabilities`, an unknown boot device, or no interface to wake.
            TemporaryError: the system did not send the packet, or the driver is closed.
        """
        self._check_open()
        if effect.kind not in self.capabilities:
            raise NotSupportedError(f"Wake-on-LAN cannot {effect.kind.value}")
        if effect.kind is EffectKind.POWER_ON:
            self._wake(magic_packet(mac_to_wake(node)), timeout_s)
        elif effect.argument not in list(BootDevice):
            raise PermanentError(f"there is no boot device {effect.argument}")

    def close(self) -> None:
        """Later calls raise TemporaryError."""
        self._closed.set()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise TemporaryError("the driver is closed")

    def _wake(self, packet: bytes, timeout_s: float) -> None:
        """Send to every network; one that is not reached matters only when none is."""
        failed: OSError | None = None
        sent = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sender.settimeout(timeout_s / (PACKETS * len(self._targets)))
            for target in self._targets * PACKETS:
                try:
                    sender.sendto(packet, target)
                    sent += 1
                except OSError as error:
                    failed = error
        if failed is not None and not sent:
            raise TemporaryError(f"the magic packet was not sent: {failed}") from failed


def magic_packet(mac: str) -> bytes:
    """Six bytes of ones, then the address sixteen times (AMD, Magic Packet Technology, 20213)."""
    return b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) * 16


def mac_to_wake(node: Node) -> str:
    """The MAC address of the boot interface, or of the only one.

    Raises:
        PermanentError: there is none, or more than one.
    """
    nics = node.spec.nics
    found = [nic.mac for nic in nics if nic.boot] or [nic.mac for nic in nics]
    if len(found) != 1:
        raise PermanentError(
            f"node {node.metadata.name} has no one interface to be woken by; mark it boot: true"
        )
    return found[0]
