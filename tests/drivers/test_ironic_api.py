"""What the answers of Ironic's API mean, from a server of the test's own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from metalwright.drivers.credentials import Credentials, Secrets, SecretsDownError
from metalwright.drivers.ironic_api import IronicApi, Place
from metalwright.errors import DriverError, NotBegunError, NotSupportedError, PermanentError

NO_BUTTON = "The driver wol does not support the power state, soft power off"


@contextmanager
def answering(status: int, words: str) -> Iterator[Callable[[], None]]:
    """An Ironic that says this to every PUT; what is given asks for a soft power-off."""
    body = json.dumps({"error_message": {"faultstring": words}}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            """Nothing: the output is pytest's."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    api = IronicApi(Place(endpoint=f"http://127.0.0.1:{server.server_port}"), Secrets(None, {}))
    try:
        yield lambda: api.send(
            "PUT", "/nodes/n1/states/power", {"target": "soft power off"}, time.monotonic() + 20
        )
    finally:
        api.close()
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (400, NO_BUTTON, NotSupportedError),
        (400, "Missing the keys for the BMC: password", PermanentError),
        (404, NO_BUTTON, PermanentError),
        (409, "Node n1 is locked by host c1", NotBegunError),
    ],
)
def test_only_a_power_interface_without_it_does_not_support_a_soft_power_off(
    status: int, words: str, kind: type
) -> None:
    with answering(status, words) as ask, pytest.raises(DriverError) as caught:
        ask()
    assert type(caught.value) is kind


def test_credentials_that_cannot_be_had_now_may_be_had_later() -> None:
    class Down:
        def get(self, ref: str) -> Credentials:
            raise SecretsDownError(f"credentials {ref} (vault): it cannot be asked")

    api = IronicApi(Place(endpoint="http://127.0.0.1:1", credentials="ironic/main"), Down())
    with pytest.raises(NotBegunError, match="it cannot be asked"):
        api.get("/nodes", time.monotonic() + 2)
