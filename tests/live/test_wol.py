"""A machine without a BMC: a magic packet starts it, its own report is all that is known of it.

The machine is QEMU's, and what listens for its packet is what its network card would do. There is
nothing else that could tell its power, or switch it off.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from metalwright.drivers.wol import PACKETS, magic_packet
from metalwright.lab import power
from metalwright.lab.machine import Machine
from metalwright.model.operation import OperationState, Stage
from metalwright.model.waking import BEAT_S

from .lab import document
from .machines import MachineFarm, Systems, free_port, service_url
from .machines_lab import MachinesLab

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

BOOT_S = 150.0
CYCLES_S = 30.0
"""Until a commit is in the plan, on a computer that is busy with other things."""


class Card:
    """The part of a network card that is awake when nothing else is: it starts its machine, which
    boots from the network first.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.heard: list[bytes] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self.port: int = self._socket.getsockname()[1]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Card:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        packet = magic_packet(self.machine.mac)
        while not self._stop.is_set():
            try:
                found = self._socket.recv(2_048)
            except TimeoutError:
                continue
            self.heard.append(found)
            if found == packet and not self.machine.is_on:
                (self.machine.home / "boot").write_text("pxe")
                power.switch_on(self.machine.home)


class Shelf(MachineFarm):
    """Machines of a farm, without their BMCs."""

    def __enter__(self) -> Shelf:
        for machine in self.machines:
            machine.build()
        return self

    def node_spec(self, index: int, **more: Any) -> dict[str, Any]:
        spec = super().node_spec(index, **more)
        return {key: value for key, value in spec.items() if key != "bmc"} | {"driver": "wol"}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def test_a_machine_is_woken_into_what_git_wants_and_never_switched_off(
    tmp_path: Path, systems: Systems, stack: ExitStack
) -> None:
    port = free_port()
    farm = stack.enter_context(Shelf(1, tmp_path / "farm", f"{service_url(port)}/boot.ipxe"))
    card = stack.enter_context(Card(farm[0]))
    lab = MachinesLab(tmp_path / "lab", farm, systems, port)
    stack.callback(lab.close)
    with lab.config.open("a") as config:
        config.write(f'\n[drivers.wol]\naddresses = ["127.0.0.1"]\nport = {card.port}\n')
        config.write("network_first = true\n")
    pool = {"owner": "lab", "nodes": ["n01"], "resting": {"power": "on"}}
    lab.write("pool.yaml", document("Pool", "lab", pool | {"dataLossConsent": True}))
    lab.commit("Nobody can switch it off")
    assert lab.mw("adopt", "*").returncode == 0
    lab.start()

    def blocked() -> str:
        found = lab.plan()[1]["blocked"]
        return f"{found[0]['reason']}: {found[0]['message']}" if found else ""

    lab.wait(lambda: "has not reported" in blocked(), CYCLES_S, "word that nothing is known")
    lab.wants("clean", "n01")
    lab.wait(lambda: "clean" in blocked(), CYCLES_S, "a no to the wipe")
    assert lab.operations() == ()
    assert card.heard == []

    lab.wants("red", "n01")
    lab.wait(lambda: lab.runs("red", "n01"), BOOT_S, "red")
    assert card.heard == [magic_packet(farm[0].mac)] * PACKETS
    assert lab.console(0) == ["red"]
    (operation,) = lab.operations()
    assert (operation.state, operation.stages) == (OperationState.ACTIVE, (Stage.BOOT,))
    assert lab.plan()[0] == 0, "it reported, so it is on: as desired"

    first = lab.heard()["n01"].report
    lab.wants("blue", "n01")
    lab.wait(lambda: "shut it down by hand" in blocked(), CYCLES_S, "a no to another system")
    assert blocked().startswith("NOT_SUPPORTED: driver wol cannot soft power off")
    lab.wait(
        lambda: lab.heard()["n01"].report.at > first.at, 8.0 * BEAT_S, "it to say that it is on"
    )
    assert lab.heard()["n01"].report.boot_id == first.boot_id
    assert len(card.heard) == PACKETS
    assert farm[0].is_on
    reported = [each for each in lab.journal() if each.event == "reported"]
    assert len(reported) == 1, "that it is still on is no news"
