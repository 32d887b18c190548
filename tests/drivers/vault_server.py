"""A small HTTP server that speaks the part of Vault's documented API that Metalwright uses: reading
secrets of a key/value store of version 2, and logging in with an AppRole.

It is no Vault: it was written from Vault's API documentation, and checks what Vault checks (token,
namespace, path, deleted versions, lease). Its status codes and bodies are those of the manual.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class VaultServer:
    """`put` secrets, read `requests` and `logins`; a context manager, on a port of its own."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.secrets: dict[str, dict[str, Any] | None] = {}
        self.tokens: dict[str, float | None] = {}
        self.role = ("role-1", "canary-secret-id")
        self.lease_s = 3_600
        self.namespace: str | None = None
        self.sealed = False
        self.answer: tuple[int, bytes, dict[str, str]] | None = None  # instead of any other
        self.delay_s = 0.0
        self.requests: list[str] = []
        self.logins = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if certificate is None else "https"
        self.address = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> VaultServer:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def put(self, path: str, **values: Any) -> None:
        """Write a secret of the mount `secret`; without values, delete its newest version."""
        self.secrets[path] = values or None

    def answered(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        """Status and JSON of one request."""
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if headers.get("X-Vault-Namespace") != self.namespace:
            return 404, {"errors": []}
        if (method, path) == ("POST", "/v1/auth/approle/login"):
            return self._login(json.loads(body))
        token = headers.get("X-Vault-Token", "")
        if token not in self.tokens or (self.tokens[token] or 1e18) < time.monotonic():
            return 403, {"errors": [f"permission denied: {token}"]}
        name = path.removeprefix("/v1/secret/data/")
        if method != "GET" or name == path or name not in self.secrets:
            return 404, {"errors": []}
        data = self.secrets[name]
        body_of = {"data": {"data": data, "metadata": {"version": 1, "destroyed": False}}}
        return (404 if data is None else 200), body_of

    def _login(self, asked: dict[str, str]) -> tuple[int, Any]:
        self.logins += 1
        if (asked.get("role_id"), asked.get("secret_id")) != self.role:
            return 400, {"errors": [f"invalid secret id: {asked.get('secret_id')}"]}
        token = f"hvs.canary-{self.logins}"
        self.tokens[token] = time.monotonic() + self.lease_s if self.lease_s else None
        auth = {"client_token": token, "lease_duration": self.lease_s, "renewable": True}
        return 200, {"auth": auth}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        vault = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet, or the client waits for 40 ms

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                vault.requests.append(f"{self.command} {self.path}")
                time.sleep(vault.delay_s)
                if vault.answer is not None:
                    status, raw, headers = vault.answer
                else:
                    status, value = vault.answered(self.command, self.path, self.headers, body)
                    raw, headers = json.dumps(value).encode(), {"Content-Type": "application/json"}
                self.send_response(status)
                for name, each in headers.items():
                    self.send_header(name, each)
                self.send_header("Content-Length", str(len(raw)))
                with contextlib.suppress(OSError):  # who asked has left
                    self.end_headers()
                    self.wfile.write(raw)

            do_GET = do_POST = _serve  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        return Handler
