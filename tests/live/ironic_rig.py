"""A real Ironic on loopback: API and conductor in one process, SQLite, nodes of fake-hardware.

It lives in an environment of its own (ironic_environment.sh). It can be started, stopped, killed,
halted, and started again under the same host name, as a service is.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

HERE = Path(__file__).parent
MICROVERSION = "1.78"
BARE = "1.10"
"""The microversion in which a new node is `available` at once."""

START_TIMEOUT_S = 90.0
CONFIG = """\
[DEFAULT]
auth_strategy = {auth}
http_basic_auth_user_file = {home}/htpasswd
rpc_transport = none
host = the-conductor
my_ip = 127.0.0.1
log_file = {home}/ironic.log
state_path = {home}
tempdir = {home}
enabled_hardware_types = fake-hardware,redfish
enabled_bios_interfaces = fake,no-bios
enabled_boot_interfaces = fake,ipxe,redfish-virtual-media
enabled_console_interfaces = fake,no-console
enabled_deploy_interfaces = fake,rig,ramdisk
enabled_firmware_interfaces = fake,no-firmware
enabled_inspect_interfaces = fake,redfish,no-inspect
enabled_management_interfaces = fake,rig,redfish
enabled_network_interfaces = noop
enabled_power_interfaces = fake,rig,redfish
enabled_raid_interfaces = fake,no-raid
enabled_rescue_interfaces = fake,no-rescue
enabled_storage_interfaces = fake,noop
enabled_vendor_interfaces = fake,no-vendor
[api]
host_ip = 127.0.0.1
port = {port}
[conductor]
automated_clean = true
sync_power_state_interval = 0
max_concurrent_deploy = {deploys_max}
max_concurrent_clean = {deploys_max}
[database]
connection = sqlite:///{home}/ironic.sqlite
[deploy]
ramdisk_image_download_source = http
http_url = {http_url}
http_root = {home}/httpboot
default_boot_mode = bios
[pxe]
tftp_root = {home}/tftpboot
tftp_master_path = {home}/tftpboot/master
images_path = {home}/images
instance_master_path = {home}/images/master
[dhcp]
dhcp_provider = none
[redfish]
connection_attempts = 1
[fake]
power_delay = 0
deploy_delay = {deploy_delay}
management_delay = 0
"""
INTERFACES = "power", "management", "deploy"
CLASSES = {"power": "RigPower", "management": "RigManagement", "deploy": "RigDeploy"}


def environment() -> Path:
    """Where Ironic is installed; skips the test where it is not, fails where CI promises it."""
    digest = hashlib.sha256((HERE / "ironic-requirements.txt").read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    home = cache / "metalwright" / f"ironic-{digest}-{version}"
    if not (home / ".complete").exists():
        said = "Ironic is not installed: tests/live/ironic_environment.sh python3"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(said)
    return home


class Ironic:
    """One Ironic. `node` names are its nodes' names. Nothing is started before `start`."""

    def __init__(
        self,
        home: Path,
        *,
        deploys_max: int = 50,
        deploy_delay: str = "0",
        password: str = "",
        http_url: str = "http://127.0.0.1",
    ) -> None:
        self.home, self.password = home, password
        self.environment = environment()
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None
        (home / "faults").mkdir(parents=True)
        self.http_root.mkdir()
        self._write_plugin()
        text = CONFIG.format(
            home=home,
            port=self.port,
            deploys_max=deploys_max,
            deploy_delay=deploy_delay,
            auth="http_basic" if password else "noauth",
            http_url=http_url,
        )
        (home / "ironic.conf").write_text(text)
        if password:
            self.set_password(password)
        self._run("ironic-dbsync", "create_schema")
        with contextlib.closing(sqlite3.connect(home / "ironic.sqlite")) as database:
            database.execute("PRAGMA journal_mode=WAL")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def http_root(self) -> Path:
        """What machines that boot by iPXE fetch, at `http_url`; somebody else serves it."""
        return self.home / "httpboot"

    def set_password(self, password: str) -> None:
        """The only user is `metalwright`. Ironic reads the file anew for every request."""
        code = (
            "import bcrypt,sys;"
            "print(bcrypt.hashpw(sys.argv[1].encode(), bcrypt.gensalt(5)).decode())"
        )
        done = subprocess.run(
            [self.environment / "bin/python", "-c", code, password],
            capture_output=True,
            text=True,
            check=True,
        )
        (self.home / "htpasswd").write_text(f"metalwright:{done.stdout.strip()}\n")
        self.password = password

    # the process

    def start(self) -> None:
        """Start it, and wait until its API answers."""
        log = (self.home / "stdout.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [self.environment / "bin/ironic", "--config-file", self.home / "ironic.conf"],
                env=self._variables(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            said = (self.home / "stdout.log").read_text()[-3_000:]
            assert self.process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether the API answers, and there is a conductor behind it."""
        try:
            return bool(self.call("GET", "/v1/drivers", timeout_s=2).get("drivers"))
        except (OSError, http.client.HTTPException, AssertionError):
            return False

    def kill(self) -> None:
        """As `kill -9`, of both of its processes at once."""
        self._signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(timeout=30)
            self.process = None

    def halt(self) -> None:
        """It answers nothing any more, and its ports stay open."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After `halt`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    # its nodes

    def create(
        self, names: Sequence[str], interface: str = "rig", macs: Sequence[str] = ()
    ) -> dict[str, str]:
        """Make nodes that are `available` and off; their UUIDs."""
        found = {}
        for index, name in enumerate(names):
            made = self.call(
                "POST", "/v1/nodes", {"driver": "fake-hardware", "name": name}, version=BARE
            )
            found[name] = ident = made["uuid"]
            if interface != "fake":
                patch = [
                    {"op": "add", "path": f"/{kind}_interface", "value": interface}
                    for kind in INTERFACES
                ]
                self.call("PATCH", f"/v1/nodes/{ident}", patch)
            if macs:
                self.call("POST", "/v1/ports", {"node_uuid": ident, "address": macs[index]})
        self.sql("UPDATE nodes SET power_state = 'power off' WHERE power_state IS NULL")
        return found

    def copy(self, name: str, names: Sequence[str]) -> None:
        """Make nodes like this one, but for name and UUID: the API would make six a second."""
        columns = [row[1] for row in self.sql("PRAGMA table_info(nodes)")]
        others = [each for each in columns if each not in ("id", "uuid", "name")]
        kept = ", ".join(others)
        self.sql(
            f"INSERT INTO nodes (uuid, name, {kept})"
            f" SELECT json_extract(made.value, '$[0]'), json_extract(made.value, '$[1]'), {kept}"
            " FROM nodes, json_each(?) AS made WHERE nodes.name = ?",
            json.dumps([[str(uuid.uuid4()), each] for each in names]),
            name,
        )

    def node(self, name: str) -> dict[str, Any]:
        """A node as the API shows it."""
        found: dict[str, Any] = self.call("GET", f"/v1/nodes/{name}")
        return found

    def states(self, names: Iterable[str]) -> dict[str, str]:
        """The provision state of each."""
        listed = self.call("GET", "/v1/nodes?fields=name,provision_state&limit=1000")["nodes"]
        wanted = set(names)
        return {n["name"]: n["provision_state"] for n in listed if n["name"] in wanted}

    def fail(self, name: str, what: str, words: str = "a broken fan") -> None:
        """Let every `deploy` or `clean` of this node fail; or be `busy` until it is healed."""
        (self.home / "faults" / f"{name}.{what}").write_text(words)

    def heal(self, name: str) -> None:
        """Undo `fail`."""
        for fault in (self.home / "faults").glob(f"{name}.*"):
            fault.unlink()

    def book(self, name: str) -> list[list[str]]:
        """What the machines wrote down: time, node, what was done."""
        path = self.home / f"{name}.log"
        return (
            [line.split(" ", 2) for line in path.read_text().splitlines()] if path.exists() else []
        )

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Look into the database, or change behind Ironic's back what hardware would show."""
        with contextlib.closing(sqlite3.connect(self.home / "ironic.sqlite", timeout=20)) as base:
            found = base.execute(statement, values).fetchall()
            base.commit()
            return found

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        version: str = MICROVERSION,
        timeout_s: float = 60.0,
    ) -> Any:
        """Ask the API as an operator would; a refusal is an AssertionError."""
        import base64

        headers = {"X-OpenStack-Ironic-API-Version": version, "Content-Type": "application/json"}
        if self.password:
            login = base64.b64encode(f"metalwright:{self.password}".encode()).decode()
            headers["Authorization"] = f"Basic {login}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        with contextlib.closing(connection):
            connection.request(
                method, path, json.dumps(body) if body is not None else None, headers
            )
            answer = connection.getresponse()
            text = answer.read().decode()
        assert answer.status < 300, f"{method} {path}: {answer.status} {text[:500]}"
        return json.loads(text) if text else None

    # how it is made

    def _variables(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        return {**kept, "PYTHONPATH": str(self.home / "plugin"), "IRONIC_RIG": str(self.home)}

    def _write_plugin(self) -> None:
        plugin = self.home / "plugin"
        about = plugin / "ironic_rig_interfaces-1.dist-info"
        about.mkdir(parents=True)
        shutil.copy(HERE / "ironic_interfaces.py", plugin / "ironic_interfaces.py")
        (about / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: ironic-rig-interfaces\nVersion: 1\n"
        )
        lines = [
            f"[ironic.hardware.interfaces.{kind}]\nrig = ironic_interfaces:{CLASSES[kind]}"
            for kind in INTERFACES
        ]
        (about / "entry_points.txt").write_text("\n".join(lines) + "\n")

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [
                self.environment / "bin" / program,
                "--config-file",
                self.home / "ironic.conf",
                *words,
            ],
            env=self._variables(),
            check=True,
            capture_output=True,
            timeout=120,
        )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
