"""What counts as a wipe at Ironic: only one whose end its history tells; and what becomes of an
order to wipe that Ironic refuses after it has touched the node.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from metalwright.drivers.credentials import Secrets
from metalwright.drivers.ironic import IronicDriver, Place
from metalwright.drivers.ironic_history import Proof, proof_of
from metalwright.errors import NotBegunError
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import NodeSpec
from metalwright.model.observed import Phase
from metalwright.model.operation import Effect, EffectKind

NODE = Node(metadata=Metadata(name="n1"), spec=NodeSpec(driver="ironic"))
WIPE = Effect(kind=EffectKind.WIPE, argument="full", operation_id="o1")
PATIENCE_S = 60.0
"""The first call imports openstacksdk."""

SINCE = "2026-11-20T08:00:00+00:00"


def at(minute: int) -> str:
    return f"2026-11-20T08:{minute:02}:00+00:00"


def entry(kind: str, event: str, minute: int = 5, severity: str = "INFO") -> dict[str, str]:
    return {"event_type": kind, "event": event, "created_at": at(minute), "severity": severity}


def ended(minute: int = 5) -> dict[str, str]:
    said = "Manual Cleaning completed successfully with steps=[]"
    return entry("manual_cleaning_end", said, minute)


def began(step: str, minute: int) -> dict[str, str]:
    said = f"Starting manual cleaning with steps=[{{'interface': 'deploy', 'step': '{step}'}}]"
    return entry("manual_cleaning_start", said, minute)


ERROR = entry("cleaning", "a stuck disk", severity="ERROR")
BY_ITSELF = entry("automated_cleaning_end", "Automated Cleaning completed successfully with steps=")


@pytest.mark.parametrize(
    ("oldest_first", "proof"),
    [
        ([], Proof.NONE),
        ([ended()], Proof.WIPED),
        ([began("erase_devices", 4), ended()], Proof.WIPED),
        ([began("erase_devices", 4)], Proof.NONE),
        ([began("erase_devices_metadata", 4), ended()], Proof.NONE),
        ([began("raid", 1), ended(2), began("erase_devices", 4), ended()], Proof.WIPED),
        ([began("erase_devices", 4), ERROR], Proof.FAILED),
        ([ended(), ERROR], Proof.FAILED),
        ([entry("provisioning", "before", 0, "ERROR"), ended()], Proof.FAILED),
        ([ended(0)], Proof.NONE),
        ([BY_ITSELF], Proof.NONE),
    ],
)
def test_a_wipe_is_proven_by_the_end_of_a_cleaning_of_its_step_alone(
    oldest_first: list[dict[str, str]], proof: Proof
) -> None:
    assert proof_of({"history": oldest_first[::-1]}, SINCE, "erase_devices") is proof


@pytest.mark.parametrize(
    "broken",
    [None, [], {}, {"history": 1}, {"history": [1]}, {"history": [{"severity": "INFO"}]}],
)
def test_a_history_that_cannot_be_read_is_no_proof(broken: object) -> None:
    assert proof_of(broken, SINCE, "erase_devices") is Proof.NONE
    assert proof_of({"history": [ended()]}, "not a time", "erase_devices") is Proof.NONE


class Double(ThreadingHTTPServer):
    """One manageable node of Ironic's API and its history; `refusal` answers orders."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.node: dict[str, Any] = {
            "uuid": "u1",
            "name": "n1",
            "provision_state": "manageable",
            "power_state": "power off",
            "provision_updated_at": SINCE,
            "automated_clean": False,
            "extra": {},
            "instance_info": {},
        }
        self.history: list[dict[str, str]] = []
        self.refusal = 0
        self.orders = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Double

    def do_GET(self) -> None:
        if self.path.startswith("/v1/ports"):
            body: Any = {"ports": []}
        elif "/history" in self.path:
            assert "sort_dir=desc" in self.path
            body = {"history": self.server.history[::-1]}
        else:
            alone = self.path.startswith("/v1/nodes/")
            body = self.server.node if alone else {"nodes": [self.server.node]}
        self._answer(200, body)

    def do_PATCH(self) -> None:
        for each in json.loads(self._body()):
            *_, kind, key = each["path"].split("/")
            (self.server.node[kind] if kind else self.server.node)[key] = each["value"]
        self._answer(200, self.server.node)

    def do_PUT(self) -> None:
        """Ironic saves `cleaning`, and `manageable` once more where it has nobody to do it."""
        self._body()
        self.server.orders += 1
        self.server.node["provision_updated_at"] = at(3)
        words = json.dumps({"faultstring": "No free conductor workers available"})
        self._answer(self.server.refusal or 202, {"error_message": words})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _answer(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_words: Any) -> None:
        """Nothing is said of a request."""


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


def test_a_wipe_that_ironic_had_no_worker_for_is_no_wipe_and_is_asked_for_again(
    ironic: Double, driver: IronicDriver
) -> None:
    ironic.refusal = 503
    with pytest.raises(NotBegunError, match="No free conductor workers"):
        driver.apply(NODE, WIPE, PATIENCE_S)
    assert ironic.node["extra"]["metalwright_wipe"] == {}
    reading = driver.observe(NODE, PATIENCE_S)
    assert reading.last_wipe is None
    assert reading.progress is not None
    assert reading.progress.phase is Phase.WAITS
    ironic.refusal = 0
    driver.apply(NODE, WIPE, PATIENCE_S)
    assert ironic.orders == 2


def test_a_node_that_came_back_without_a_word_of_its_cleaning_is_dirty_and_says_what_to_switch_on(
    ironic: Double, driver: IronicDriver
) -> None:
    driver.apply(NODE, WIPE, PATIENCE_S)
    reading = driver.observe(NODE, PATIENCE_S)
    assert reading.last_wipe is None
    assert reading.progress is not None
    assert reading.progress.phase is Phase.FAILED
    assert "record_step_flows_in_history" in reading.progress.message
    ironic.history = [began("erase_devices", 4), ended()]
    assert driver.observe(NODE, PATIENCE_S).last_wipe == "o1"
    driver.apply(NODE, WIPE, PATIENCE_S)
    assert ironic.orders == 1, "what is done is not done twice"
    ironic.history.append(ERROR)
    reading = driver.observe(NODE, PATIENCE_S)
    assert reading.last_wipe is None
    assert reading.progress is not None
    assert reading.progress.phase is Phase.WAITS
