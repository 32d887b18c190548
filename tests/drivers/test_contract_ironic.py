"""The Ironic driver keeps the driver contract against a real Ironic with fake-hardware."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.drivers.contract import DriverContract
from tests.live.ironic_rig import Ironic

from metalwright.drivers.credentials import Secrets
from metalwright.drivers.ironic import IronicDriver, Place
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import NodeSpec
from metalwright.model.observed import BootDevice, Power

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

PASSWORD = "Right-pass-1"
OTHER_PASSWORD = "Other-pass-2"
NAMES = ("c01", "c02", "c03", "c04")
SETTLE_S = 20.0


class Between(ThreadingHTTPServer):
    """What stands between a driver and Ironic: counts logins, answers late or with garbage."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ironic, self.logins, self.delay_s, self.garbage = port, 0, 0.0, False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Between
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        server = self.server
        server.logins += "Authorization" in self.headers
        time.sleep(server.delay_s)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        if server.garbage:
            self._answer(200, b"<html>\x00 a login page, perhaps </html>")
            return
        connection = HTTPConnection("127.0.0.1", server.ironic, timeout=30)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            self._answer(answer.status, answer.read())
        finally:
            connection.close()

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _pass  # noqa: N815

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: Any) -> None:
        """Nothing is said of a request."""


class IronicRig:
    """Four nodes of a real Ironic, one driver, and what stands between them."""

    timeout_s = 20.0
    patience_s = 3.0

    def __init__(self, ironic: Ironic, home: Path) -> None:
        self.ironic, self.between = ironic, Between(ironic.port)
        self.home = home / "secrets"
        self.give(PASSWORD)
        place = Place(endpoint=self.between.endpoint, credentials="ironic/main")
        self.driver = IronicDriver(
            place, Secrets(self.home, {}), lambda: datetime.now(UTC), list_max_age_s=0
        )
        self.nodes = [
            Node(metadata=Metadata(name=name), spec=NodeSpec(driver="ironic")) for name in NAMES
        ]
        self.secrets = [PASSWORD, OTHER_PASSWORD]
        for name in NAMES:
            self.ironic.sql(
                "UPDATE nodes SET power_state = 'power off', maintenance = 0, fault = NULL,"
                " maintenance_reason = NULL WHERE name = ?",
                name,
            )
        for book in ("power", "boot"):
            (ironic.home / f"{book}.log").unlink(missing_ok=True)

    def give(self, password: str) -> None:
        """The secret that the driver finds."""
        secret = self.home / "ironic" / "main"
        secret.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.home, secret.parent, secret):
            folder.chmod(0o700)
        for part, value in (("username", "metalwright"), ("password", password)):
            (secret / part).unlink(missing_ok=True)
            (secret / part).touch(mode=0o400)
            (secret / part).chmod(0o600)
            (secret / part).write_text(value)

    def power(self, node: Node) -> Power:
        deadline = time.monotonic() + SETTLE_S
        while True:
            found = self.ironic.node(node.metadata.name)
            if found["reservation"] is None and found["target_power_state"] is None:
                return Power.ON if found["power_state"] == "power on" else Power.OFF
            assert time.monotonic() < deadline, found
            time.sleep(0.05)

    def set_power(self, node: Node, power: Power) -> None:
        self.ironic.sql(
            "UPDATE nodes SET power_state = ? WHERE name = ?", f"power {power}", node.metadata.name
        )

    def boot_device(self, node: Node) -> BootDevice | None:
        named = [words for _, name, words in self.ironic.book("boot") if name == node.metadata.name]
        return BootDevice(named[-1]) if named else None

    def power_commands(self, node: Node) -> int:
        return sum(name == node.metadata.name for _, name, _ in self.ironic.book("power"))

    def login_attempts(self, node: Node) -> int:
        return self.between.logins

    def silence(self, node: Node) -> None:
        """Ironic has lost the BMC: it says so of the node, and of no other."""
        self.ironic.sql(
            "UPDATE nodes SET maintenance = 1, fault = 'power failure',"
            " maintenance_reason = 'it does not answer' WHERE name = ?",
            node.metadata.name,
        )

    def slow(self, node: Node) -> None:
        self.between.delay_s = 0.5

    def garbage(self, node: Node) -> None:
        self.between.garbage = True

    def wrong_password(self, node: Node) -> None:
        self.give(OTHER_PASSWORD)

    def heal(self, node: Node) -> None:
        self.between.delay_s, self.between.garbage = 0.0, False
        self.give(PASSWORD)
        self.ironic.sql(
            "UPDATE nodes SET maintenance = 0, fault = NULL WHERE name = ?", node.metadata.name
        )

    def close(self) -> None:
        self.driver.close()
        self.between.shutdown()
        self.between.server_close()


@pytest.fixture(scope="module")
def ironic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ironic]:
    with Ironic(tmp_path_factory.mktemp("ironic") / "home", password=PASSWORD) as ironic:
        ironic.create(NAMES)
        yield ironic


class TestIronicDriver(DriverContract):
    @pytest.fixture
    def rig(self, ironic: Ironic, tmp_path: Path) -> Iterator[IronicRig]:
        rig = IronicRig(ironic, tmp_path)
        yield rig
        rig.close()
