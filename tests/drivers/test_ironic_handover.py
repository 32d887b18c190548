"""What of a template reaches Ironic, and when: never before it is text, and with its token."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.drivers.test_ironic_steps import DIGEST, NODE, OLD, operation, record

from metalwright.drivers.credentials import Secrets
from metalwright.drivers.ironic import UNCHECKED_KEPT, IronicDriver, Place
from metalwright.drivers.ironic_deploy import Interfaces
from metalwright.drivers.ironic_record import (
    Mark,
    reading_of,
    record_of,
    unreported,
    without_tokens,
)
from metalwright.drivers.ironic_steps import Step, boot_step, deploys
from metalwright.errors import NotBegunError, PermanentError
from metalwright.model.documents import Node
from metalwright.model.handover import Handover
from metalwright.model.inventory import ResolvedTemplate
from metalwright.model.observed import BootProgress, Phase
from metalwright.model.operation import Effect, EffectKind, Operation, Verb
from metalwright.model.template import Method

TOKEN = "abcdefghijklmnopqrstuv"
BASE = f"http://boot.example:8800/b/{TOKEN}"
SERVED = Handover(
    kernel_args=("console=ttyS0", f"mw.url={BASE}"),
    user_data="#cloud-config\n",
    kernel=f"{BASE}/kernel",
    ramdisk=f"{BASE}/initrd",
    data_source=f"ds=nocloud;s={BASE}/",
    attempt=1,
    reports=True,
)
ASKED = operation(fence=1)
PATIENCE_S = 60.0
"""The first call imports openstacksdk."""


def told(step: Step) -> dict[str, Any]:
    return next(each["value"] for each in step.patch if each["path"] == "/instance_info")


def deploy(handover: Handover, asked: Operation = ASKED, **node: Any) -> Step:
    return boot_step(record("available", **node), asked, NODE, Interfaces(), handover)


def test_what_the_service_serves_is_fetched_from_it() -> None:
    step = deploy(SERVED, boot_interface="ipxe")
    info = told(step)
    assert (info["kernel"], info["ramdisk"]) == (f"{BASE}/kernel", f"{BASE}/initrd")
    assert info["kernel_append_params"] == f"console=ttyS0 mw.url={BASE} ds=nocloud;s={BASE}/"
    assert (info["metalwright"]["attempt"], info["metalwright"]["reports"]) == (1, True)
    assert step.body == {"target": "active"}, "the data come from the service, not from a drive"


def test_virtual_media_carry_the_data_by_a_drive() -> None:
    step = deploy(SERVED, boot_interface="redfish-virtual-media")
    assert "nocloud" not in told(step)["kernel_append_params"]
    assert step.body is not None
    assert step.body["configdrive"]["user_data"] == "#cloud-config\n"


@pytest.mark.parametrize("interface", ["pxe", "ipxe", "http", "http-ipxe"])
def test_data_that_would_not_reach_the_machine_are_refused(interface: str) -> None:
    alone = Handover(kernel_args=("quiet",), user_data="#cloud-config\n")
    with pytest.raises(PermanentError, match=r"boot\.listen"):
        deploy(alone, boot_interface=interface)
    assert told(deploy(replace(alone, user_data=None), boot_interface=interface))


@pytest.mark.parametrize(
    ("verb", "deployed", "served", "expected"),
    [
        (Verb.DEPLOY, Mark(operation="o1", wished=DIGEST, attempt=1), True, False),
        (Verb.DEPLOY, Mark(operation="o1", wished=DIGEST, attempt=0), True, True),
        (Verb.DEPLOY, Mark(operation="o1", wished=DIGEST), True, True),
        (Verb.DEPLOY, Mark(operation="o1", wished=DIGEST), False, False),
        (Verb.POWER_ON, Mark(operation="o0", wished=DIGEST, attempt=1), True, True),
        (Verb.POWER_ON, Mark(operation="o0", wished=DIGEST), False, False),
        (Verb.POWER_ON, Mark(), True, False),
        (Verb.REBOOT, Mark(operation="o0", wished=OLD, attempt=1), True, True),
    ],
)
def test_every_start_of_what_is_served_has_a_token_of_its_own(
    verb: Verb, deployed: Mark, *, served: bool, expected: bool
) -> None:
    found = record("active", deployed=deployed)
    assert deploys(found, operation(verb, fence=1), served=served) is expected


def test_local_templates_and_mere_power_are_handed_nothing() -> None:
    assert not deploys(record("manageable"), operation(method=Method.LOCAL), served=False)
    bare = operation()
    bare = replace(bare, target=replace(bare.target, template=None))
    assert not deploys(record("available"), bare, served=False)


def a_node(**changes: Any) -> dict[str, Any]:
    mark = {"operation": "o1", "template_digest": DIGEST, "attempt": 1, "reports": True}
    found = {
        "uuid": "u1",
        "name": "n1",
        "provision_state": "active",
        "power_state": "power on",
        "boot_interface": "ipxe",
        "instance_info": {"metalwright": mark},
        "extra": {"metalwright": {"operation": "o1", "effect": "boot"}},
    }
    return found | changes


def test_what_ironic_deployed_does_not_run_before_it_reports() -> None:
    found = record_of(a_node())
    assert found.deployed == Mark(operation="o1", wished=DIGEST, attempt=1, reports=True)
    reading = reading_of(found, (), datetime.now(UTC))
    assert (reading.boot_progress, reading.template_digest) == (BootProgress.OS_RUNNING, DIGEST)
    silent = unreported(reading, found, "")
    assert (silent.boot_progress, silent.template_digest) == (BootProgress.OS_BOOT_STARTED, None)
    assert silent.progress is None
    failed = unreported(reading, found, "no network")
    assert failed.progress is not None
    assert (failed.progress.phase, failed.progress.operation_id) == (Phase.FAILED, "o1")
    assert "no network" in failed.progress.message


def test_no_token_is_repeated_from_ironics_words() -> None:
    words = without_tokens(f"Image {BASE}/kernel could not be found")
    assert TOKEN not in words
    assert "/b/***/kernel could not" in words


class Double(ThreadingHTTPServer):
    """One node of Ironic's API; it keeps what it was told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.node = a_node(provision_state="available", power_state="power off", instance_info={})
        self.orders: list[tuple[str, str, Any]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Double

    def do_GET(self) -> None:
        if "/ports" in self.path:
            body: Any = {"ports": []}
        elif "/nodes/" in self.path:
            body = self.server.node
        else:
            body = {"nodes": [self.server.node]}
        self._answer(body)

    def do_PUT(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        body = json.loads(self.rfile.read(length))
        self.server.orders.append((self.command, self.path, body))
        self._answer({})

    do_PATCH = do_PUT  # noqa: N815

    def _answer(self, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_words: Any) -> None:
        """Nothing is said of a request."""


class Giver:
    """Hands over what it has, or why not; notes how it was asked."""

    def __init__(self, gives: Handover | Exception, said: str | None = None) -> None:
        self.gives, self.said = gives, said
        self.asked: list[bool] = []

    def serves(self, template: ResolvedTemplate) -> bool:
        return template.method is Method.NETBOOT

    def hand_over(
        self, node: Node, operation: Operation, timeout_s: float, *, issue: bool
    ) -> Handover:
        assert timeout_s > 0
        self.asked.append(issue)
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives

    def awaited(self, node: str, operation_id: str, attempt: int) -> str | None:
        assert (node, operation_id, attempt) == ("n1", "o1", 1)
        return self.said


@pytest.fixture
def ironic() -> Iterator[Double]:
    double = Double()
    yield double
    double.shutdown()
    double.server_close()


@pytest.fixture
def driver(ironic: Double) -> Iterator[IronicDriver]:
    place = Place(endpoint=f"http://127.0.0.1:{ironic.server_address[1]}")
    driver = IronicDriver(place, Secrets(None, {}), lambda: datetime.now(UTC), list_max_age_s=0)
    yield driver
    driver.close()


def intended(asked: Operation) -> Operation:
    intent = Effect(kind=EffectKind.POWER_ON, operation_id=asked.id)
    return replace(asked, intent=intent, intent_at=asked.created_at)


@pytest.mark.parametrize("error", [PermanentError("no such name"), NotBegunError("on its way")])
@pytest.mark.parametrize("state", ["active", "manageable", "available"])
def test_ironic_is_told_nothing_of_what_cannot_be_handed_over(
    ironic: Double, driver: IronicDriver, state: str, error: Exception
) -> None:
    ironic.node["provision_state"] = state
    giver = Giver(error)
    driver.boot_by(giver)
    with pytest.raises(type(error), match=str(error)):
        driver.carry_out(NODE, intended(ASKED), PATIENCE_S)
    assert giver.asked == [state == "available"], "a token only when it is to be deployed"
    assert ironic.orders == []


def test_what_was_handed_over_is_what_ironic_is_told(ironic: Double, driver: IronicDriver) -> None:
    driver.boot_by(Giver(SERVED))
    driver.carry_out(NODE, intended(ASKED), PATIENCE_S)
    patch, order = ironic.orders
    assert patch[0] == "PATCH"
    assert f"{BASE}/kernel" in json.dumps(patch[2])
    assert (order[0], order[2]) == ("PUT", {"target": "active"})


def test_a_node_alone_is_asked_for_what_is_awaited(ironic: Double, driver: IronicDriver) -> None:
    ironic.node = a_node()
    driver.boot_by(Giver(SERVED, said=""))
    assert driver.observe(NODE, PATIENCE_S).boot_progress is BootProgress.OS_BOOT_STARTED
    driver.boot_by(Giver(SERVED, said=None))
    assert driver.observe(NODE, PATIENCE_S).template_digest == DIGEST


def test_without_anybody_to_render_a_text_that_needs_it_is_refused(
    ironic: Double, driver: IronicDriver
) -> None:
    asked = intended(ASKED)
    template = asked.target.template
    assert template is not None
    raw = replace(asked.target, template=replace(template, user_data="{{ node.name }}"))
    with pytest.raises(PermanentError, match="metalwright\\[boot\\]"):
        driver.carry_out(NODE, replace(asked, target=raw), PATIENCE_S)
    assert ironic.orders == []


def test_a_kernel_that_nobody_checked_is_an_alert(ironic: Double, driver: IronicDriver) -> None:
    mark = {"operation": "o1", "template_digest": DIGEST}
    ironic.node = a_node(deploy_interface="ramdisk", instance_info={"metalwright": mark})
    driver.observe(NODE, PATIENCE_S)
    (alert,) = driver.alerts()
    assert "n1" in alert
    assert "boot.listen" in alert
    ironic.node = a_node(deploy_interface="ramdisk")
    driver.boot_by(Giver(SERVED))
    driver.observe(NODE, PATIENCE_S)
    assert driver.alerts() == ()
    driver.rearm()


def test_a_node_that_is_not_observed_any_more_leaves_the_alert(ironic: Double) -> None:
    mark = {"operation": "o1", "template_digest": DIGEST}
    ironic.node = a_node(deploy_interface="ramdisk", instance_info={"metalwright": mark})
    now = [datetime(2026, 11, 20, tzinfo=UTC)]
    place = Place(endpoint=f"http://127.0.0.1:{ironic.server_address[1]}")
    driver = IronicDriver(place, Secrets(None, {}), lambda: now[0], list_max_age_s=0)
    driver.observe(NODE, PATIENCE_S)
    now[0] += UNCHECKED_KEPT
    assert len(driver.alerts()) == 1
    now[0] += timedelta(seconds=1)
    assert driver.alerts() == (), "it has left git"
    driver.close()
