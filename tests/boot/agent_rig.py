"""The agent's surroundings: a service that it speaks to, and a machine made of files.

The agent runs whole and unchanged but for where the kernel's files and devices are: a disk here is
a file of its size, and what is done to it is done by the real tools.
"""

from __future__ import annotations

import http.server
import json
import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

AGENT = Path(__file__).parents[2] / "src" / "metalwright" / "boot" / "agent" / "mw-agent"
MIB = 1_048_576
RUN_S = 60
PCI = "devices/pci0000:00/0000:00:05.0"

APPLETS = "awk blkdiscard blockdev cat cut dd grep head sed sh sha256sum sleep sync tail timeout tr"
APPLETS += " uname wc wget"

SHELLS = [
    shell for shell in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])
]


class Service:
    """A real web server that notes what it is told and says what it is told to say."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.reports: list[dict[str, Any]] = []
        self.answers: list[str] = []
        self.statuses: list[int] = []
        """What the next requests are answered with, instead of being heard."""
        self.image = b""
        self.breaks: list[int] = []
        """After how many bytes the next downloads of the image break off."""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.paths.append(self.path)
                if self._refuses():
                    return
                if self.path == "/b/T/disk":
                    self._answer(outer.image, outer.breaks.pop(0) if outer.breaks else None)
                    return
                self._answer(f"url {outer.base}/b/T\n" if len(outer.paths) > 1 else "")

            def do_POST(self) -> None:
                outer.paths.append(self.path)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self._refuses():
                    return
                outer.reports.append(json.loads(body))
                self._answer(outer.answers.pop(0) if outer.answers else "ok\n")

            def _refuses(self) -> bool:
                if outer.statuses:
                    self.send_error(outer.statuses.pop(0))
                    return True
                return False

            def _answer(self, body: str | bytes, most: int | None = None) -> None:
                content = body.encode() if isinstance(body, str) else body
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[:most])

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def serving() -> Iterator[Service]:
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield service
    finally:
        service.server.shutdown()
        service.server.server_close()
        thread.join()


@dataclass
class Machine:
    """What Linux shows of a machine, below a directory."""

    root: Path
    tools: dict[str, str] = field(default_factory=dict)
    """Shell scripts that stand before the tools of these names."""
    writable_mib: int | None = None
    """Where writing to a disk fails."""

    def __post_init__(self) -> None:
        for name in ("dev", "bin", "proc/sys/vm", "proc/sys/kernel/random", "sys/block"):
            (self.root / name).mkdir(parents=True)
        (self.root / "sys/class/net").mkdir(parents=True)
        for name in ("cpuinfo", "meminfo", "uptime", "sys/kernel/random/boot_id"):
            shutil.copyfile(f"/proc/{name}", self.root / "proc" / name)

    def disk(
        self, name: str, mib: float, *, bus: str = PCI, node: bool = True, **files: object
    ) -> Path:
        """A disk at that place of the kernel's tree of devices; the file that is its device."""
        size = int(mib * MIB)
        home = self.root / "sys" / bus / "block" / name
        home.mkdir(parents=True)
        given = {"size": size // 512, "removable": 0, "serial": f"serial of {name}"} | files
        for file, text in given.items():
            (home / file).write_text(f"{text}\n")
        (self.root / "sys" / "block" / name).symlink_to(home)
        device = self.root / "dev" / name.replace("!", "/")
        if node:
            device.parent.mkdir(exist_ok=True)
            with device.open("wb") as file:
                file.truncate(size)
        return device

    def write(self, path: str, text: str) -> None:
        """A file of the kernel's."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def card(self, name: str, mac: str) -> None:
        """A network card."""
        home = self.root / "sys" / "class" / "net" / name
        (home / "device").mkdir(parents=True)
        (home / "address").write_text(f"{mac}\n")

    def run(
        self, shell: list[str], arguments: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """The agent, started with these arguments on its kernel's command line."""
        (self.root / "proc" / "cmdline").write_text(f"quiet {arguments}\n")
        agent = self.root / "mw-agent"
        agent.write_text(self._moved(AGENT.read_text()))
        if shell[0] == "busybox":
            # Never one of the tools below: writing it would write to this computer's busybox.
            for name in set(APPLETS.split()) - self.tools.keys():
                (self.root / "bin" / name).symlink_to(shutil.which("busybox") or "busybox")
        path = str(self.root / "bin")
        path += f":{os.environ['PATH']}" if shell[0] != "busybox" else ""
        for name, text in self.tools.items():
            self._tool(name, text)
        return subprocess.run(
            [shutil.which(shell[0]) or shell[0], *shell[1:], str(agent)],
            env=environment | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
            restore_signals=False,  # a write beyond the limit is an error, and ends no process
            preexec_fn=self._limit,
        )

    def start(self, arguments: str) -> str:
        """What `init` says, its commands for mounts, modules and the network stood in for."""
        (self.root / "proc" / "cmdline").write_text(f"quiet {arguments}\n")
        (self.root / "sys" / "devices").mkdir(exist_ok=True)
        tools = {"mount": "", "modprobe": "", "ip": "", "sleep": "", "mw-agent": "echo agent"}
        for name, text in (tools | self.tools).items():
            self._tool(name, text)
        for name in ("cat", "cut", "find", "head", "sed", "sort", "timeout", "tr", "xargs"):
            (self.root / "bin" / name).symlink_to(shutil.which(name) or name)
        init = self._replaced(
            (AGENT.parent / "init").read_text(),
            ("PATH=/bin", f"PATH={self.root}/bin"),
            ("/sys/", f"{self.root}/sys/"),
            ("</proc/", f"<{self.root}/proc/"),
            ("while :; do sleep 3600; done", ""),
        )
        dash = shutil.which("dash") or "sh"
        done = subprocess.run([dash, "-c", init], capture_output=True, text=True, timeout=RUN_S)
        return done.stdout

    def _tool(self, name: str, text: str) -> None:
        tool = self.root / "bin" / name
        assert not tool.is_symlink()
        tool.write_text(f"#!/bin/sh\n{text}\n")
        tool.chmod(0o755)

    def _replaced(self, text: str, *places: tuple[str, str]) -> str:
        for old, new in places:
            assert old in text, old
            text = text.replace(old, new)
        return text

    def _limit(self) -> None:
        if self.writable_mib is not None:
            most = self.writable_mib * MIB
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    def _moved(self, agent: str) -> str:
        """The agent's text with other places; it must not reach for this very computer."""
        agent = self._replaced(
            agent,
            ('echo "/dev/$1"', f'echo "{self.root}/dev/$1"'),
            ("/sys/block", f"{self.root}/sys/block"),
            ("/sys/class", f"{self.root}/sys/class"),
            ("/proc/", f"{self.root}/proc/"),
            (" -b ", " -f "),
            ("reboot -f", "exit 0"),
        )
        left = agent.replace("/dev/null", "").replace("/dev/zero", "")
        left = left.replace(str(self.root), "")
        assert left.count("/dev/") == 1, "the agent names a device by another way than device_of"
        return agent
