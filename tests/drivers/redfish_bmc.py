"""A small Redfish service, for what the emulator never does: sessions, ETags, tasks, refusals,
hangs, nonsense, and certificates. It speaks HTTP on a real socket and knows one system or several.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

USERNAME, PASSWORD = "root-ada", "Session-pass-1"
SYSTEMS = "/redfish/v1/Systems"
SESSIONS = "/redfish/v1/SessionService/Sessions"
ERROR = "error"


@dataclass
class Answer:
    """A status, a body, headers."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    """What came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


Rule = Callable[[Request], Answer | None]
"""What answers instead of the service; `None` for what it leaves to it."""


def refusal(status: int, text: str, code: str = "Base.1.0.GeneralError") -> Answer:
    """An error as DSP0266 wants it."""
    return Answer(status, {"error": {"code": code, "message": text}})


class RedfishBmc:
    """One service; as a context manager it runs. `rules` come first, `requests` is what it got."""

    def __init__(self, *names: str, certificate: tuple[Path, Path] | None = None) -> None:
        self.systems = {name: system(name) for name in names or ("1",)}
        self.password, self.has_sessions = PASSWORD, True
        self.tokens: dict[str, str] = {}
        self.requests: list[Request] = []
        self.rules: list[Rule] = []
        self.raw: bytes | None = None
        self.trickle_s = 0.0
        self.etags: dict[str, int] = {}
        self.connections = self.connections_most = 0
        self.lock = threading.Lock()
        self._made = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )

    def __enter__(self) -> RedfishBmc:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def count(self, method: str, path: str = "") -> int:
        """How many requests of a method came for paths that end like this."""
        return sum(each.method == method and each.path.endswith(path) for each in self.requests)

    @property
    def logins(self) -> int:
        """How often a user name was presented."""
        basic = sum("Authorization" in each.headers for each in self.requests)
        return basic + self.count("POST", "/Sessions")

    def answer(self, request: Request) -> Answer:
        """What the service says."""
        self.requests.append(request)
        for rule in self.rules:
            found = rule(request)
            if found is not None:
                return found
        path = request.path.rstrip("/")
        if path == "/redfish/v1":
            return Answer(body=self._root())
        if path == SESSIONS and request.method == "POST":
            return self._log_in(request)
        if not self._knows(request):
            return refusal(401, "no valid session")
        if path.startswith(SESSIONS) and request.method == "DELETE":
            return Answer(204 if self.tokens.pop(path, None) else 404)
        if path == SYSTEMS:
            return Answer(body={"Members": [{"@odata.id": f"{SYSTEMS}/{n}"} for n in self.systems]})
        return self._of_system(request, path)

    def _root(self) -> dict[str, Any]:
        links = {"Sessions": {"@odata.id": SESSIONS}} if self.has_sessions else {}
        return {"Id": "RootService", "Systems": {"@odata.id": SYSTEMS}, "Links": links}

    def _log_in(self, request: Request) -> Answer:
        if not self.has_sessions:
            return refusal(404, "there is no such thing")
        if request.body != {"UserName": USERNAME, "Password": self.password}:
            return refusal(401, f"not {request.body}")
        with self.lock:
            self._made += 1
            place, token = f"{SESSIONS}/{self._made}", f"token-{self._made}"
            self.tokens[place] = token
        headers = {"X-Auth-Token": token, "Location": f"https://10.9.9.9{place}"}
        return Answer(201, {"Id": str(self._made)}, headers)

    def _knows(self, request: Request) -> bool:
        if request.headers.get("X-Auth-Token") in self.tokens.values():
            return True
        import base64

        expected = base64.b64encode(f"{USERNAME}:{self.password}".encode()).decode()
        return request.headers.get("Authorization") == f"Basic {expected}"

    def _of_system(self, request: Request, path: str) -> Answer:
        name, _, part = path.removeprefix(f"{SYSTEMS}/").partition("/")
        found = self.systems.get(name)
        if found is None:
            return refusal(404, "there is no such thing")
        if part == "Actions/ComputerSystem.Reset":
            on = request.body["ResetType"] in ("On", "ForceOn")
            found["PowerState"] = "On" if on else "Off"
            return Answer(204)
        if part:
            return self._of_part(found, part)
        etag = f'"{self.etags.setdefault(name, 1)}"'
        if request.method == "GET":
            return Answer(body=found, headers={"ETag": etag})
        if request.headers.get("If-Match") not in (None, etag):
            return refusal(412, "it is another one by now")
        found["Boot"] |= request.body["Boot"]
        self.etags[name] += 1
        return Answer(204)

    def _of_part(self, found: dict[str, Any], part: str) -> Answer:
        parts: dict[str, Any] = found["_parts"]
        return Answer(body=parts[part]) if part in parts else refusal(404, "no such part")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        bmc = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                with bmc.lock:
                    bmc.connections += 1
                    bmc.connections_most = max(bmc.connections_most, bmc.connections)

            def finish(self) -> None:
                with bmc.lock:
                    bmc.connections -= 1
                super().finish()

            def serve(self) -> None:
                text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.loads(text) if text else None
                answer = bmc.answer(Request(self.command, self.path, dict(self.headers), body))
                if bmc.raw is not None:
                    self.wfile.write(bmc.raw)
                    self.close_connection = True
                    return
                shown = answer.body
                if isinstance(shown, dict):
                    shown = {k: v for k, v in shown.items() if not k.startswith("_")}
                content = b"" if shown is None else json.dumps(shown).encode()
                self.send_response_only(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                for byte in content if bmc.trickle_s else b"":
                    self.wfile.write(bytes((byte,)))
                    time.sleep(bmc.trickle_s)
                if not bmc.trickle_s:
                    self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = serve  # noqa: N815

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    return  # the other side has hung up

            def log_message(self, *arguments: object) -> None:
                """Silence."""

        return Handler


def system(name: str) -> dict[str, Any]:
    """A ComputerSystem that is off; what begins with `_` is not shown."""
    path = f"{SYSTEMS}/{name}"
    nic = f"{path}/EthernetInterfaces"
    return {
        "@odata.id": path,
        "Id": name,
        "SerialNumber": f"SN-{name}",
        "UUID": f"00000000-0000-4000-8000-{sum(name.encode()):012d}",
        "PowerState": "Off",
        "Status": {"Health": "OK", "HealthRollup": "Warning"},
        "Boot": {
            "BootSourceOverrideEnabled": "Disabled",
            "BootSourceOverrideTarget": "None",
            "BootSourceOverrideMode": "UEFI",
            "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Pxe", "Hdd", "Cd"],
        },
        "EthernetInterfaces": {"@odata.id": nic},
        "Actions": {
            "#ComputerSystem.Reset": {
                "target": f"{path}/Actions/ComputerSystem.Reset",
                "ResetType@Redfish.AllowableValues": [
                    *("On", "ForceOff", "GracefulShutdown", "PushPowerButton", "ForceRestart")
                ],
            }
        },
        "_parts": {
            "EthernetInterfaces": {"Members": [{"@odata.id": f"{nic}/{n}"} for n in "ab"]},
            "EthernetInterfaces/a": {"Id": "a", "MACAddress": "52:54:00:AA:00:01"},
            "EthernetInterfaces/b": {"Id": "b", "PermanentMACAddress": "52-54-00-AA-00-02"},
        },
    }


def make_certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, which is its own authority, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(days=1))
    builder = builder.not_valid_after(now + dt.timedelta(days=2))
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = builder.add_extension(alternative, critical=False).sign(key, hashes.SHA256())
    certificate, secret = directory / f"{name}.pem", directory / f"{name}.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, secret
