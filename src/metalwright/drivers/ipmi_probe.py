"""Whether anything answers at a BMC's address, found out without a worker and without a login.

A dead BMC would hold a worker for the five seconds that pyghmi waits; a few of them at the head of
a sweep, and the healthy wait behind. So each call first asks the one question that needs no
session, the one with which pyghmi begins too: a dead BMC then costs nobody but its caller. Any
datagram counts as an answer; what it says is for the worker to judge.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import time

PROBE_TIMEOUT_S = 2.0
RESEND_S = 0.5

_DATAGRAM_BYTES_MAX = 1_024

GET_CHANNEL_AUTHENTICATION_CAPABILITIES = bytes.fromhex(
    "0600ff07"  # RMCP, class IPMI
    "00 00000000 00000000 09"  # no authentication, no session, nine bytes
    "20 18 c8 81 00 38 8e 04 b5"  # to the BMC, application: this channel, RMCP+, administrator
)
"""IPMI 2.0, 13.6 and 22.13."""


def answers(address: str, port: int, timeout_s: float) -> bool:
    """Whether a datagram comes back within `timeout_s`. A host name is not asked: true.

    To resolve a name can block for longer than any limit; the worker does it, and can be killed.
    """
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return True
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    deadline = time.monotonic() + timeout_s
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        poll = select.poll()  # not select.select: it ends at descriptor 1023
        poll.register(probe, select.POLLIN)
        with contextlib.suppress(OSError):  # no route: as silent as a dead BMC
            probe.connect((address, port))
        while (left_s := deadline - time.monotonic()) > 0:
            # a refused port is told by the next call on the socket: the BMC may be starting
            with contextlib.suppress(OSError):
                probe.send(GET_CHANNEL_AUTHENTICATION_CAPABILITIES)
            if _heard(probe, poll, min(RESEND_S, left_s)):
                return True
    return False


def _heard(probe: socket.socket, poll: select.poll, wait_s: float) -> bool:
    began = time.monotonic()
    if poll.poll(wait_s * 1_000):
        with contextlib.suppress(OSError):
            return bool(probe.recv(_DATAGRAM_BYTES_MAX))
        time.sleep(max(0.0, wait_s - (time.monotonic() - began)))
    return False
