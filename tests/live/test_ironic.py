"""The Ironic driver against a real Ironic: logins, locks, limits, failures, silence, and a thousand
nodes.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from metalwright.drivers.credentials import Secrets
from metalwright.drivers.ironic import IronicDriver, Place
from metalwright.drivers.ironic_steps import Interfaces
from metalwright.errors import (
    CredentialsError,
    NotBegunError,
    PermanentError,
    TemporaryError,
)
from metalwright.model.desired import Holder, Target
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import NodeSpec
from metalwright.model.inventory import Commit, ResolvedTemplate, Source
from metalwright.model.observed import BootProgress, Phase, Power
from metalwright.model.operation import (
    Effect,
    EffectKind,
    Operation,
    OperationState,
    Stage,
    Verb,
)
from metalwright.model.template import Method
from metalwright.model.tenancy import PowerState

from .ironic_rig import Ironic

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

PATIENCE_S = 60.0
DIGEST = "d" * 64
CHANGED = 50
"""Of a thousand nodes, in one pass."""

TAKEN_BACK = 10
PASS_MAX_S = 180.0
PASS_PAUSE_S = 0.5
"""Between two looks at all that are changed: Ironic has to get on with it, too."""

POWER_ON = Effect(kind=EffectKind.POWER_ON)


@pytest.fixture(scope="module")
def ironic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ironic]:
    home = tmp_path_factory.mktemp("ironic") / "home"
    with Ironic(home, deploys_max=2) as ironic:
        yield ironic


def a_driver(ironic: Ironic, secrets: Secrets | None = None, **settings: Any) -> IronicDriver:
    credentials = "ironic/main" if secrets is not None else ""
    return IronicDriver(
        Place(endpoint=ironic.endpoint, credentials=credentials),
        secrets or Secrets(None, {}),
        lambda: datetime.now(UTC),
        interfaces=Interfaces(netboot="", disk=""),
        **({"list_max_age_s": 0.0} | settings),
    )


def a_node(name: str, **spec: Any) -> Node:
    return Node(metadata=Metadata(name=name), spec=NodeSpec(driver="ironic", **spec))


def deploying(
    node: str,
    number: int = 1,
    method: Method = Method.NETBOOT,
    verb: Verb = Verb.DEPLOY,
    digest: str = DIGEST,
) -> Operation:
    """An operation whose boot stage was just begun."""
    template = ResolvedTemplate(name="live", chain=("live",), method=method, digest=digest)
    now = datetime.now(UTC)
    return Operation(
        id=f"op-{node}-{number}",
        node=node,
        verb=verb,
        state=OperationState.RUNNING,
        target=Target(power=PowerState.ON, template=template, digest=digest),
        holder=Holder(kind="Pool", name="lab", owner="lab"),
        pool="lab",
        priority=500,
        stages=(Stage.BOOT,),
        stage=Stage.BOOT,
        commit=Commit(id="c" * 40, author="Ada <ada@lab.example>", subject="Boot", at=now),
        source=Source(path="pool.yaml", line=1),
        created_at=now,
        intent=Effect(
            kind=EffectKind.POWER_ON, operation_id=f"op-{node}-{number}", template_digest=digest
        ),
    )


def carried_out(driver: IronicDriver, node: Node, operation: Operation) -> None:
    """Ask for the next step; what Ironic has ended it may hold locked for a moment longer."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            driver.carry_out(node, operation, 20)
        except NotBegunError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return


def through(driver: IronicDriver, node: Node, operation: Operation) -> Phase | None:
    """Go on with an operation, as the engine does, until it is done or has failed."""
    deadline = time.monotonic() + PATIENCE_S
    carried_out(driver, node, operation)
    while True:
        reading = driver.observe(node, 20)
        progress = reading.progress
        if progress is None or progress.phase is Phase.FAILED:
            return progress.phase if progress is not None else None
        assert progress.operation_id == operation.id
        assert time.monotonic() < deadline, reading
        if progress.phase is Phase.WAITS:
            carried_out(driver, node, operation)
        time.sleep(0.2)


def until_still(ironic: Ironic, name: str) -> dict[str, Any]:
    """The node once Ironic holds it no longer."""
    deadline = time.monotonic() + PATIENCE_S
    while (node := ironic.node(name))["reservation"] is not None:
        assert time.monotonic() < deadline, node
        time.sleep(0.1)
    return node


def test_a_deployment_ends_with_the_digest_and_a_second_one_replaces_it(ironic: Ironic) -> None:
    ironic.create(["d01"])
    driver, node = a_driver(ironic), a_node("d01")
    assert through(driver, node, deploying("d01")) is None
    reading = driver.observe(node, 20)
    assert (reading.power, reading.template_digest) == (Power.ON, DIGEST)
    assert reading.boot_progress is BootProgress.OS_RUNNING
    again = ironic.book("deploy")
    driver.carry_out(node, deploying("d01"), 20)
    assert ironic.book("deploy") == again, "what is done is not done twice"
    assert through(driver, node, deploying("d01", 2)) is None
    done = [words for _, name, words in ironic.book("deploy") if name == "d01"]
    assert done == ["begin", "end", "torn-down", "begin", "end"]
    assert [name for _, name, _ in ironic.book("erase") if name == "d01"] == []


def test_what_is_on_the_disks_is_adopted_and_not_touched(ironic: Ironic) -> None:
    ironic.create(["a01"])
    driver, node = a_driver(ironic), a_node("a01")
    assert through(driver, node, deploying("a01", method=Method.LOCAL)) is None
    assert ironic.node("a01")["provision_state"] == "active"
    assert driver.observe(node, 20).template_digest == DIGEST
    assert [name for _, name, _ in ironic.book("deploy") if name == "a01"] == []


def test_a_failed_deployment_is_told_in_ironics_words_and_the_next_one_gets_over_it(
    ironic: Ironic,
) -> None:
    ironic.create(["f01"])
    driver, node, operation = a_driver(ironic), a_node("f01"), deploying("f01")
    ironic.fail("f01", "deploy", "a broken fan")
    assert through(driver, node, operation) is Phase.FAILED
    progress = driver.observe(node, 20).progress
    assert progress is not None
    assert "deploy failed" in progress.message
    assert "a broken fan" in progress.message
    ironic.heal("f01")
    assert through(driver, node, operation) is None
    assert driver.observe(node, 20).template_digest == DIGEST


def test_a_failed_wipe_is_no_wipe_and_the_maintenance_after_it_is_left_to_people(
    ironic: Ironic,
) -> None:
    ironic.create(["w01"])
    driver, node = a_driver(ironic), a_node("w01")
    wipe = Effect(kind=EffectKind.WIPE, argument="full", operation_id="op-w")
    ironic.fail("w01", "clean", "a stuck disk")
    driver.apply(node, wipe, 20)
    until_still(ironic, "w01")
    driver.apply(node, wipe, 20)
    until_still(ironic, "w01")
    reading = driver.observe(node, 20)
    assert reading.last_wipe is None
    assert reading.progress is not None
    assert reading.progress.phase is Phase.FAILED
    assert "a stuck disk" in reading.progress.message
    with pytest.raises((PermanentError, TemporaryError), match="maintenance"):
        driver.apply(node, wipe, 20)
    ironic.heal("w01")
    ironic.call("DELETE", "/v1/nodes/w01/maintenance")
    for _ in range(4):
        if driver.observe(node, 20).last_wipe == "op-w":
            break
        driver.apply(node, wipe, 20)
        until_still(ironic, "w01")
    assert driver.observe(node, 20).last_wipe == "op-w"
    assert [w for _, name, w in ironic.book("erase") if name == "w01"] == ["full"]
    told = ironic.call("GET", "/v1/nodes/w01/history?detail=true")["history"]
    ends = [each["event"] for each in told if each["event_type"] == "manual_cleaning_end"]
    assert ["aborted" in said for said in ends] == [True, False], ends
    assert "completed successfully" in ends[1], "what a wipe is proven by"


def test_a_failed_wipe_that_a_person_tidied_up_in_ironic_is_still_no_wipe(ironic: Ironic) -> None:
    ironic.create(["w02"])
    driver, node = a_driver(ironic), a_node("w02")
    wipe = Effect(kind=EffectKind.WIPE, argument="full", operation_id="op-w")
    ironic.fail("w02", "clean", "a stuck disk")
    for _ in range(2):
        driver.apply(node, wipe, 20)
        until_still(ironic, "w02")
    assert ironic.node("w02")["provision_state"] == "clean failed"
    ironic.call("DELETE", "/v1/nodes/w02/maintenance")
    ironic.call("PUT", "/v1/nodes/w02/states/provision", {"target": "manage"})
    until_still(ironic, "w02")
    ironic.heal("w02")
    reading = driver.observe(node, 20)
    assert reading.last_wipe is None, "manageable once more, and nothing was erased"
    assert reading.progress is not None
    assert reading.progress.phase is Phase.WAITS
    driver.apply(node, wipe, 20)
    until_still(ironic, "w02")
    assert driver.observe(node, 20).last_wipe == "op-w"
    assert [w for _, name, w in ironic.book("erase") if name == "w02"] == ["full"]


def test_what_is_put_on_the_disks_ends_the_evidence_of_a_wipe(ironic: Ironic) -> None:
    ironic.create(["w03"])
    driver, node = a_driver(ironic), a_node("w03")
    wipe = Effect(kind=EffectKind.WIPE, argument="discard", operation_id="op-w")
    for _ in range(2):
        driver.apply(node, wipe, 20)
        until_still(ironic, "w03")
    assert driver.observe(node, 20).last_wipe == "op-w"
    assert through(driver, node, deploying("w03")) is None
    assert driver.observe(node, 20).last_wipe is None, "something is on its disks by now"


def test_locked_and_over_the_limit_begin_nothing_and_pass(ironic: Ironic) -> None:
    ironic.create(["l01", "l02", "l03"])
    driver = a_driver(ironic)
    nodes = [a_node(name) for name in ("l01", "l02", "l03")]
    for name in ("l01", "l02"):
        ironic.fail(name, "busy")
    driver.carry_out(nodes[0], deploying("l01"), 20)
    driver.carry_out(nodes[1], deploying("l02"), 20)
    with pytest.raises(NotBegunError, match="concurrent action limit"):
        driver.carry_out(nodes[2], deploying("l03"), 20)
    assert ironic.node("l03")["provision_state"] == "available"
    deadline = time.monotonic() + PATIENCE_S
    while ironic.node("l01")["power_state"] != "power on":
        assert time.monotonic() < deadline, "before that there is nothing to switch off"
        time.sleep(0.1)
    with pytest.raises(NotBegunError, match="at work"):
        driver.apply(nodes[0], Effect(kind=EffectKind.POWER_OFF), 20)
    locked = "UPDATE nodes SET reservation = ? WHERE name = 'l03'"
    ironic.sql(locked, "another-conductor")
    with pytest.raises(NotBegunError, match="another-conductor"):
        driver.apply(nodes[2], POWER_ON, 20)
    ironic.sql(locked, None)
    for name in ("l01", "l02"):
        ironic.heal(name)
        until_still(ironic, name)
    assert through(driver, nodes[2], deploying("l03")) is None


def test_a_lock_that_comes_between_look_and_order_is_met_as_409(ironic: Ironic) -> None:
    ironic.create(["k01"])
    driver, node = a_driver(ironic), a_node("k01")
    record = driver._record("k01", time.monotonic() + 20)
    ironic.sql("UPDATE nodes SET reservation = 'other' WHERE name = 'k01'")
    from metalwright.drivers.ironic_steps import power_step

    with pytest.raises(NotBegunError, match="locked"):
        driver._order(record, power_step(record, EffectKind.POWER_ON), time.monotonic() + 20)
    ironic.sql("UPDATE nodes SET reservation = NULL WHERE name = 'k01'")
    driver.apply(node, POWER_ON, 20)


def test_maintenance_is_told_in_the_words_of_whoever_began_it(ironic: Ironic) -> None:
    ironic.create(["m01"])
    driver, node = a_driver(ironic), a_node("m01")
    ironic.call("PUT", "/v1/nodes/m01/maintenance", {"reason": "new fans on Tuesday"})
    with pytest.raises(PermanentError, match="new fans on Tuesday"):
        driver.observe(node, 20)
    ironic.call("DELETE", "/v1/nodes/m01/maintenance")
    ironic.sql("UPDATE nodes SET maintenance = 1, fault = 'power failure' WHERE name = 'm01'")
    with pytest.raises(TemporaryError, match="power failure"):
        driver.observe(node, 20)


def test_a_torn_down_instance_is_not_taken_for_one_that_runs(ironic: Ironic) -> None:
    ironic.create(["t01"])
    driver, node = a_driver(ironic), a_node("t01")
    assert through(driver, node, deploying("t01")) is None
    until_still(ironic, "t01")
    ironic.call("PUT", "/v1/nodes/t01/states/provision", {"target": "deleted"})
    until_still(ironic, "t01")
    assert driver.observe(node, 20).template_digest is None
    disk = deploying("t01", 2, Method.DISK, Verb.POWER_ON)
    with pytest.raises(PermanentError, match="somebody tore it down"):
        driver.carry_out(node, disk, 20)


def test_a_halted_ironic_is_given_up_in_time_and_nothing_is_sent_twice(ironic: Ironic) -> None:
    ironic.create(["h01"])
    driver, node = a_driver(ironic), a_node("h01")
    driver.observe(node, 20)
    ironic.halt()
    try:
        began = time.monotonic()
        for call in (
            lambda: driver.observe(node, 2),
            lambda: driver.apply(node, POWER_ON, 2),
        ):
            with pytest.raises(TemporaryError):
                call()
        assert time.monotonic() - began < 6
    finally:
        ironic.go_on()
    driver.apply(node, POWER_ON, 20)
    until_still(ironic, "h01")
    assert [words for _, name, words in ironic.book("power") if name == "h01"] == ["power on"]


def test_a_node_that_ironic_does_not_have_is_told_by_its_name(ironic: Ironic) -> None:
    with pytest.raises(PermanentError, match="no node nowhere-1"):
        a_driver(ironic).observe(a_node("x01", ironic_node="nowhere-1"), 20)


def test_one_list_serves_many_nodes_and_tells_its_age(ironic: Ironic) -> None:
    ironic.create(["s01", "s02"])
    driver = a_driver(ironic, list_max_age_s=30.0)
    first = driver.observe(a_node("s01"), 20)
    ironic.sql("UPDATE nodes SET power_state = 'power on' WHERE name IN ('s01', 's02')")
    second = driver.observe(a_node("s02"), 20)
    assert second.asked_at == first.asked_at
    assert second.power is Power.OFF, "from before, and it says so"
    driver.apply(a_node("s01"), POWER_ON, 20)
    told = driver.observe(a_node("s01"), 20)
    assert told.power is Power.ON
    assert told.asked_at is not None
    assert first.asked_at is not None
    assert told.asked_at > first.asked_at, "asked for by itself"


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ironic]:
    home = tmp_path_factory.mktemp("thousand") / "home"
    with Ironic(home, deploys_max=CHANGED) as ironic:
        ironic.create(["k0000"])
        ironic.copy("k0000", [f"k{number:04}" for number in range(1, 1_000)])
        yield ironic


def test_a_thousand_nodes_are_observed_by_one_list(
    thousand: Ironic, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = a_driver(thousand, list_max_age_s=5.0)
    nodes = [a_node(f"k{number:04}") for number in range(1_000)]
    driver.observe(nodes[0], 20)
    began = time.monotonic()
    driver._listing._list = None
    driver.observe(nodes[0], 20)
    listed_s = time.monotonic() - began
    began = time.monotonic()
    with ThreadPoolExecutor(32) as executor:
        readings = list(executor.map(lambda node: driver.observe(node, 20), nodes))
    swept_s = time.monotonic() - began
    assert {reading.power for reading in readings} == {Power.OFF}
    assert len({reading.asked_at for reading in readings}) <= 3
    with capsys.disabled():
        print(f"\n1,000 nodes: list {listed_s:.2f} s, all {swept_s:.2f} s")
    assert listed_s < 15
    assert swept_s < 30


def all_through(driver: IronicDriver, operations: dict[str, Operation], until: float) -> None:
    """Go on with every operation, as the engine does, until each is seen to be done."""
    left = dict(operations)

    def step(name: str) -> bool:
        asked, progress = operations[name], None
        with suppress(TemporaryError):  # silence: the next look tells
            reading = driver.observe(a_node(name), 30)
            progress = reading.progress
            if progress is None and reading.template_digest == asked.target.digest:
                return True
            ours = progress is not None and progress.operation_id == asked.id
            if not ours or (progress is not None and progress.phase is Phase.WAITS):
                driver.carry_out(a_node(name), asked, 30)
        failed = progress is not None and progress.phase is Phase.FAILED
        assert not failed, progress
        return False

    with ThreadPoolExecutor(8) as executor:
        while left:
            assert time.monotonic() < until, sorted(left)
            done = list(executor.map(step, left))
            time.sleep(PASS_PAUSE_S)
            left = {
                name: left[name] for name, is_done in zip(left, done, strict=True) if not is_done
            }


def test_of_a_thousand_nodes_fifty_are_deployed_and_ten_of_them_taken_back(
    thousand: Ironic, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = a_driver(thousand, list_max_age_s=2.0)
    names = [f"k{number:04}" for number in range(0, 1_000, 1_000 // CHANGED)]
    back = names[:: CHANGED // TAKEN_BACK]
    took = []
    for number, changed, digest in ((1, names, "a" * 64), (2, back, "b" * 64)):
        began = time.monotonic()
        changes = {name: deploying(name, number, digest=digest) for name in changed}
        all_through(driver, changes, began + PASS_MAX_S)
        took.append(time.monotonic() - began)
    nodes = [a_node(f"k{number:04}") for number in range(1_000)]
    with ThreadPoolExecutor(32) as executor:
        readings = list(executor.map(lambda node: driver.observe(node, 20), nodes))
    found = {node.metadata.name: r.template_digest for node, r in zip(nodes, readings, strict=True)}
    assert {name for name, digest in found.items() if digest} == set(names), "these and no others"
    assert {name for name, digest in found.items() if digest == "b" * 64} == set(back)
    told: dict[str, list[str]] = {}
    for _, name, words in thousand.book("deploy"):
        told.setdefault(name, []).append(words)
    once, again = ["begin", "end"], ["begin", "end", "torn-down", "begin", "end"]
    assert told == {name: again if name in back else once for name in names}, "and nothing twice"
    assert thousand.book("erase") == []
    with capsys.disabled():
        print(f"\n{len(names)} of 1,000 deployed {took[0]:.1f} s, {len(back)} back {took[1]:.1f} s")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ironic]:
    home = tmp_path_factory.mktemp("guarded") / "home"
    with Ironic(home, password="Right-pass-1") as ironic:
        ironic.create(["b01", "b02"])
        yield ironic


def test_a_wrong_password_is_presented_once_for_all_nodes(guarded: Ironic) -> None:
    kept = {
        "METALWRIGHT_SECRET_IRONIC_MAIN_USERNAME": "metalwright",
        "METALWRIGHT_SECRET_IRONIC_MAIN_PASSWORD": "Wrong-pass-2",
    }
    driver = a_driver(guarded, Secrets(None, kept))
    log = guarded.home / "ironic.log"
    for _ in range(3):
        for name in ("b01", "b02"):
            with pytest.raises(CredentialsError):
                driver.observe(a_node(name), 20)
            with pytest.raises(CredentialsError):
                driver.apply(a_node(name), POWER_ON, 20)
    assert refusals(log) == 1
    kept["METALWRIGHT_SECRET_IRONIC_MAIN_PASSWORD"] = "Right-pass-1"
    assert driver.observe(a_node("b01"), 20).power is Power.OFF, "at once with another secret"
    assert refusals(log) == 1


def refusals(log: Path) -> int:
    """How many requests Ironic answered with 401."""
    text = log.read_text(errors="replace")
    return text.count(" 401 ") + text.count("status: 401")


class Keystone(ThreadingHTTPServer):
    """As much of Keystone's API (v3) as a password login takes: a token, and where Ironic is."""

    daemon_threads = True

    def __init__(self, ironic: str, password: str) -> None:
        super().__init__(("127.0.0.1", 0), KeystoneHandler)
        self.ironic, self.password, self.logins = ironic, password, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class KeystoneHandler(BaseHTTPRequestHandler):
    server: Keystone

    def do_GET(self) -> None:
        url = f"http://127.0.0.1:{self.server.server_address[1]}/v3/"
        version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": url}]}
        self._answer(200, {"version": version})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.logins += 1
        user = body["auth"]["identity"]["password"]["user"]
        if user["password"] != self.server.password:
            self._answer(401, {"error": {"code": 401, "message": "no", "title": "Unauthorized"}})
            return
        here = {"interface": "public", "region": "R", "region_id": "R", "url": self.server.ironic}
        token = {
            "methods": ["password"],
            "expires_at": "2099-01-01T00:00:00.000000Z",
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "user": {"id": "u", "name": user["name"], "domain": {"id": "d", "name": "D"}},
            "catalog": [{"id": "c", "type": "baremetal", "name": "ironic", "endpoints": [here]}],
        }
        self._answer(201, {"token": token}, {"X-Subject-Token": "a-token"})

    def _answer(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_words: Any) -> None:
        """Nothing is said of a request."""


def test_a_cloud_of_clouds_yaml_is_logged_into_with_a_secret(
    ironic: Ironic, tmp_path: Path
) -> None:
    ironic.create(["y01"])
    keystone = Keystone(ironic.endpoint, "Right-pass-1")
    clouds = tmp_path / "clouds.yaml"
    url = f"http://127.0.0.1:{keystone.server_address[1]}/v3"
    cloud = {"auth": {"auth_url": url, "user_domain_name": "D"}, "region_name": "R"}
    clouds.write_text(json.dumps({"clouds": {"lab": cloud}}))
    kept = {
        "METALWRIGHT_SECRET_IRONIC_MAIN_USERNAME": "metalwright",
        "METALWRIGHT_SECRET_IRONIC_MAIN_PASSWORD": "Wrong-pass-2",
    }
    driver = IronicDriver(
        Place(cloud="lab", clouds_file=clouds, credentials="ironic/main"),
        Secrets(None, kept),
        lambda: datetime.now(UTC),
    )
    try:
        for _ in range(3):
            with pytest.raises(CredentialsError):
                driver.observe(a_node("y01"), 20)
        assert keystone.logins == 1
        kept["METALWRIGHT_SECRET_IRONIC_MAIN_PASSWORD"] = "Right-pass-1"
        assert driver.observe(a_node("y01"), 20).power is Power.OFF
        driver.apply(a_node("y01"), POWER_ON, 20)
        assert keystone.logins == 2, "one token serves many requests"
    finally:
        driver.close()
        keystone.shutdown()
        keystone.server_close()
