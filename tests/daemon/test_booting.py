"""A whole fleet with the boot service: machines that do nothing but what they get over HTTP."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from metalwright.cli.booted import booted_lines
from metalwright.daemon.booting import RamdiskWipe, open_booting
from metalwright.daemon.clock import SteadyClock
from metalwright.daemon.fleet import Fleet, Parts
from metalwright.daemon.reconcile import CycleResult, Reconciler, applied_as
from metalwright.drivers.credentials import Secrets
from metalwright.errors import SettingsError
from metalwright.inventory import Repository
from metalwright.model.documents import Node
from metalwright.model.observed import BootProgress, Identity, Power, Reading
from metalwright.model.operation import Effect, EffectKind, JournalEntry, OperationState
from metalwright.model.report import Phase
from metalwright.store import Store, fleet_lock

from .conftest import WAIT_S, Rig

MAC, BOOT_ID = "52:54:00:00:00:01", "boot-{}"
DISK = {"name": "vda", "serial": "DISK1", "bytes": 1_000, "rotational": False}
CONFIG = """\
repository = "inventory"
state_dir = "state"
[boot]
listen = "127.0.0.1:{port}"
[observe]
interval_s = 0.2
busy_interval_s = 0.1
"""
DOCUMENTS = """\
apiVersion: metalwright/v1
kind: Node
metadata: {{name: n1}}
spec:
  driver: ipmi
  serial: SN1
  bmc: {{address: 192.0.2.1, credentials: bmc/n1}}
  nics: [{{mac: "52:54:00:00:00:01", boot: true}}]
  properties: {{disks: [{{serial: DISK1}}]}}
---
apiVersion: metalwright/v1
kind: Image
metadata: {{name: all}}
spec:
  kernel: {{url: "{url}", sha256: "{sha256}"}}
  initrd: {{url: "{url}", sha256: "{sha256}"}}
  disk: {{url: "{url}", sha256: "{sha256}"}}
---
apiVersion: metalwright/v1
kind: BootTemplate
metadata: {{name: live}}
spec: {{method: netboot, image: all, wipe: discard}}
---
apiVersion: metalwright/v1
kind: BootTemplate
metadata: {{name: installed}}
spec: {{method: disk, image: all}}
---
apiVersion: metalwright/v1
kind: Pool
metadata: {{name: lab}}
spec: {{owner: lab, nodes: [n1], resting: {{power: "off"}}}}
---
apiVersion: metalwright/v1
kind: Policy
metadata: {{name: fleet}}
spec: {{ramdisk: all, retries: {{attemptsMax: 1}}, timeouts: {{softPowerOff: 1s}}}}
"""
LOAN = """\
apiVersion: metalwright/v1
kind: Assignment
metadata: {{name: loan}}
spec: {{pool: lab, nodes: [n1], template: {template}, owner: tenant}}
"""


class Machine:
    """A machine and its BMC: the power is a switch, and what boots speaks HTTP like the agent."""

    capabilities = frozenset(EffectKind) - {EffectKind.WIPE}

    def __init__(self, url: str, **facts: Any) -> None:
        self.url, self.on, self.boots = url, False, 0
        self.serial, self.disk = facts.pop("serial", "SN1"), DISK | facts
        self.answers: list[str] = []
        self.silent = False
        self.threads: list[threading.Thread] = []

    def observe(self, node: Node, timeout_s: float) -> Reading:
        del node, timeout_s
        power = Power.ON if self.on else Power.OFF
        return Reading(power=power, identity=Identity(serial="SN1"))

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        del node, timeout_s
        if effect.kind is EffectKind.POWER_ON and not self.on:
            self.on, self.boots = True, self.boots + 1
            if not self.silent:
                thread = threading.Thread(target=self.boot, args=(self.boots,))
                self.threads.append(thread)
                thread.start()
        elif effect.kind in (EffectKind.POWER_OFF, EffectKind.SOFT_POWER_OFF):
            self.on = False

    def close(self) -> None:
        self.on = False
        for thread in self.threads:
            thread.join(10)

    def boot(self, number: int) -> None:
        """What iPXE and then the agent do; a restart of the machine is another round."""
        with httpx.Client(base_url=self.url, timeout=20.0) as client:
            while self.on and self.boots == number:
                query = {"mac": MAC.replace(":", "-"), "serial": self.serial, "platform": "pcbios"}
                script = client.get("/ipxe", params=query).text
                mode = "netboot" if "mw.url=" in script else "local"
                for word in script.split():
                    mode = word.removeprefix("mw.mode=") if word.startswith("mw.mode=") else mode
                urls = [w for w in script.split() if w.startswith("mw.url=")]
                if mode == "local" and "sanboot" not in script:
                    time.sleep(0.1)
                    continue
                url = urls[0].removeprefix("mw.url=") if urls else self.hello(client)
                if not self.act(client, url, mode, number):
                    return
                number = self.boots = self.boots + 1

    def hello(self, client: httpx.Client) -> str:
        query = {"mac": MAC, "serial": self.serial}
        while True:
            answer = client.get("/hello", params=query)
            if answer.status_code == 200 or not self.on:
                return answer.text.removeprefix("url ").strip()
            time.sleep(0.1)

    def act(self, client: httpx.Client, url: str, mode: str, number: int) -> bool:
        """Do what the mode says; whether the machine restarts after it."""

        def report(phase: str, **more: Any) -> str:
            facts = {"serial": self.serial, "disks": [self.disk]}
            body = {"phase": phase, "boot_id": BOOT_ID.format(number), "facts": facts} | more
            answer = client.post(f"{url}/report", json=body)
            self.answers.append(f"{phase}: {answer.text.splitlines()[0]}")
            return answer.text

        if mode not in ("wipe", "install"):
            report("running")
            return False
        words = report("ready").split()
        if words[0] == "wipe":
            report("wiping")
            wipe = {"name": words[1], "serial": "DISK1", "bytes": 1_000, "method": "zero"}
            report("wiped", wipes=[wipe | {"verified": True}])
        elif words[0] == "install":
            report("installing")
            got = hashlib.sha256(client.get(f"{url}/disk").content).hexdigest()
            report("installed" if got == words[2] else "failed")
            return True
        return False


class Lab:
    """A fleet of one machine, cycled by hand."""

    def __init__(self, rig: Rig, machine: Machine, fleet: Fleet) -> None:
        self.rig, self.machine, self.fleet = rig, machine, fleet
        self.reconciler = Reconciler(fleet)

    def loan(self, template: str) -> None:
        self.rig.write("loan.yaml", LOAN.format(template=template))
        self.rig.commit(f"Lend n1 with {template}")

    def until(self, reached: Callable[[CycleResult], bool]) -> CycleResult:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            result = self.reconciler.cycle()
            if reached(result):
                return result
            time.sleep(0.05)
        lines = [f"{line.event} {line.detail}" for line in self.journal()[:30]]
        raise AssertionError("\n".join([result.sentence, *self.machine.answers, *lines]))

    def settle(self) -> CycleResult:
        """Until the operation on the machine has ended well."""

        def ended(_result: CycleResult) -> bool:
            found = self.fleet.store.operations("n1", 1)
            return bool(found) and found[0].state is OperationState.ACTIVE

        return self.until(ended)

    def fleet_node(self) -> Node:
        assert self.reconciler.inventory is not None
        return self.reconciler.inventory.nodes["n1"]

    def journal(self) -> tuple[JournalEntry, ...]:
        return self.fleet.store.journal(None, 1_000)


@pytest.fixture
def lab(rig: Rig) -> Iterator[Lab]:
    with opened(rig) as made:
        yield made


class opened:  # noqa: N801 - used as a statement
    """A fleet with the boot service, and a machine of these facts."""

    def __init__(self, rig: Rig, **facts: Any) -> None:
        self.rig, self.facts, self.stack = rig, facts, ExitStack()

    def __enter__(self) -> Lab:
        rig, stack = self.rig, self.stack
        port = free_port()
        rig.config.write_text(CONFIG.format(port=port))
        content = rig.home / "artifact"
        content.write_bytes(b"an artifact")
        sha256 = hashlib.sha256(b"an artifact").hexdigest()
        (rig.inventory / "nodes.yaml").unlink()
        rig.write("rest.yaml", DOCUMENTS.format(url=content.as_uri(), sha256=sha256))
        rig.commit("One machine")
        settings, clock = rig.settings(), SteadyClock()
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        lock = fleet_lock(settings.store, settings.state_dir)
        lock.acquire()
        stack.callback(lock.release)
        store = stack.enter_context(Store.open(settings.store, lock))
        store.claim("test", clock())
        woken = threading.Event()
        boot = open_booting(settings, store, Secrets(None, {}), clock, woken.set, stack)
        assert boot is not None
        machine = Machine(f"http://127.0.0.1:{port}", **self.facts)
        askers = stack.enter_context(ThreadPoolExecutor(4))
        stack.callback(machine.close)
        parts = Parts(
            lock=lock,
            repository=stack.enter_context(Repository(settings.repository, "main", mirror=None)),
            store=store,
            drivers=boot.drivers({"ipmi": machine}),
            askers=askers,
            actors=askers,
            clock=clock,
            random=random.Random(1),
            boot=boot,
        )
        fleet = stack.enter_context(Fleet(settings, parts, woken.set))
        made = Lab(rig, machine, fleet)
        made.reconciler.follow_head()
        now = clock()
        wanted = made.reconciler.resolve(now).nodes
        fleet.store.adopt(
            {n: applied_as(each, "0" * 40, now) for n, each in wanted.items()}, "t", now
        )
        return made

    def __exit__(self, *_why: object) -> None:
        self.stack.close()


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_loan_is_wiped_with_evidence_then_boots_and_phones_home(lab: Lab) -> None:
    lab.loan("live")
    lab.settle()
    assert lab.machine.answers == [
        "ready: wipe vda discard",
        "wiping: ok",
        "wiped: ok",
        "running: ok",
    ]
    store = lab.fleet.store
    (evidence,) = store.wipes("n1", 9)
    operation = store.operations("n1", 1)[0]
    assert evidence.operation_id == operation.id
    assert evidence.wipe.verified
    observed = lab.reconciler.cycle().observed
    assert observed is not None
    reading = observed.nodes["n1"].reading
    assert reading is not None
    assert reading.boot_progress is BootProgress.OS_RUNNING
    assert reading.template_digest == operation.target.digest or reading.template_digest
    assert reading.facts is not None
    shown = list(booted_lines(lab.fleet, "n1", lab.fleet_node()))
    assert shown[0].startswith("reported  running at ")
    assert shown[1] == "facts     serial SN1, vda DISK1 1000 bytes"
    assert "vda (DISK1): zero, 1000 bytes, verified, operation" in shown[2]
    served = [line.detail for line in reversed(lab.journal()) if line.event == "served"]
    assert [words.split(" ")[0] for words in served] == ["wipe", "netboot"]


def test_an_image_is_installed_and_its_system_reports(lab: Lab) -> None:
    lab.loan("installed")
    lab.settle()
    assert [answer.partition(":")[0] for answer in lab.machine.answers] == [
        "ready",
        "installing",
        "installed",
        "running",
    ]
    assert lab.fleet.store.heard()["n1"].report.phase is Phase.RUNNING


def test_without_a_ramdisk_an_installation_is_refused_before_the_machine_is_touched(
    lab: Lab,
) -> None:
    rest = lab.rig.inventory / "rest.yaml"
    lab.rig.write("rest.yaml", rest.read_text().replace("ramdisk: all, ", ""))
    lab.machine.on = True
    lab.loan("installed")

    def blocked(result: CycleResult) -> bool:
        found = result.plan.blocked if result.plan is not None else ()
        return any("cannot install without a ramdisk" in each.message for each in found)

    lab.until(blocked)
    assert lab.machine.on
    assert lab.fleet.store.operations("n1", 1) == ()


def test_a_machine_with_another_disk_is_neither_wiped_nor_booted(rig: Rig) -> None:
    with opened(rig, serial="SN1") as lab:
        lab.machine.disk = DISK | {"serial": "DISK9"}
        lab.loan("live")
        lab.until(lambda _result: any(line.event == "failed" for line in lab.journal()))
        assert len(lab.machine.answers) == 1
        failed = lab.fleet.store.operations("n1", 1)[0]
        assert "nothing is touched: it has no disk with serial DISK1" in failed.last_error
        assert lab.fleet.store.wipes("n1", 9) == ()


def test_a_machine_that_is_otherwise_than_declared_is_told_of(lab: Lab) -> None:
    lab.loan("live")
    lab.settle()
    assert lab.reconciler.cycle().alerts == ()
    lab.machine.on = False
    lab.until(lambda _result: lab.fleet.store.latest_boot("n1") is None)
    # Somebody changes the disk, and presses the power button.
    lab.machine.disk = DISK | {"serial": "DISK9"}
    lab.machine.apply(lab.fleet_node(), Effect(kind=EffectKind.POWER_ON), 1.0)
    lab.until(lambda result: bool(result.alerts))
    (alert,) = lab.reconciler.cycle().alerts
    assert alert.startswith("n1 is not what git declares")
    assert "it has no disk with serial DISK1" in alert


def test_on_is_not_enough_where_a_report_is_expected(lab: Lab) -> None:
    lab.machine.silent = True
    lab.loan("installed")
    lab.until(lambda _result: lab.machine.on)
    for _ in range(10):
        result = lab.reconciler.cycle()
        time.sleep(0.1)
    assert result.plan is not None
    assert result.plan.in_progress
    lab.machine.boot(lab.machine.boots)
    lab.settle()


def test_the_power_that_is_seen_off_ends_a_report(lab: Lab) -> None:
    lab.loan("live")
    lab.settle()
    boot = lab.fleet.store.latest_boot("n1")
    assert boot is not None
    lab.machine.silent, lab.machine.on = True, False
    lab.until(lambda _result: lab.fleet.store.latest_boot("n1") is None)
    assert not lab.fleet.store.heard()["n1"].live


def test_a_driver_that_boots_what_it_is_told_wipes_by_the_ramdisk() -> None:
    done: list[Effect] = []

    class Plain(Machine):
        def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
            assert 0 < timeout_s <= 5
            done.append(effect)

    there = True
    driver = RamdiskWipe(Plain("http://127.0.0.1:1"), lambda: there)
    assert EffectKind.WIPE in driver.capabilities
    assert EffectKind.WIPE in driver.powers_on
    driver.apply(None, Effect(kind=EffectKind.WIPE, operation_id="o1"), 5.0)  # type: ignore[arg-type]
    assert [(each.kind, each.argument, each.once) for each in done] == [
        (EffectKind.SET_BOOT_DEVICE, "pxe", True),
        (EffectKind.POWER_ON, "", False),
    ]
    assert driver.serial == "SN1"
    there = False
    assert EffectKind.WIPE not in driver.capabilities


def test_an_address_that_is_taken_is_told_at_the_start(rig: Rig, tmp_path: Path) -> None:
    del tmp_path
    with opened(rig) as lab:
        settings = lab.fleet.settings
        with ExitStack() as stack, pytest.raises(SettingsError, match="cannot be listened on"):
            open_booting(
                settings, lab.fleet.store, Secrets(None, {}), SteadyClock(), lambda: None, stack
            )
