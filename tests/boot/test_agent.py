"""The agent, run by real shells on this very machine: what it reports, and what it is told."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

AGENT = Path(__file__).parents[2] / "src" / "metalwright" / "boot" / "agent" / "mw-agent"


class Service:
    """A real web server that notes what it is told and says what it is told to say."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.reports: list[dict[str, Any]] = []
        self.answers: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.paths.append(self.path)
                self._answer(f"url {outer.base}/b/T\n" if len(outer.paths) > 1 else "")

            def do_POST(self) -> None:
                outer.paths.append(self.path)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.reports.append(json.loads(body))
                self._answer(outer.answers.pop(0) if outer.answers else "ok\n")

            def _answer(self, text: str) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, args=(0.01,))
    thread.start()
    yield service
    service.server.shutdown()
    service.server.server_close()
    thread.join()


SHELLS = [
    shell for shell in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])
]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_running_system_tells_what_it_is(service: Service, shell: list[str]) -> None:
    done = subprocess.run(
        [*shell, str(AGENT), f"{service.base}/b/T"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert service.paths == ["/b/T/report"]
    (report,) = service.reports
    assert report["phase"] == "running"
    assert len(report["boot_id"]) == 36
    facts = report["facts"]
    assert facts["cpus"] == os.cpu_count()
    assert facts["cpu_arch"] == os.uname().machine
    assert abs(facts["memory_mib"] - os.sysconf("SC_PHYS_PAGES") * 4_096 / 2**20) < 64
    for disk in facts["disks"]:
        sectors = Path(f"/sys/block/{disk['name']}/size").read_text()
        assert disk["bytes"] == int(sectors) * 512


def test_the_checks_that_the_service_asks_for_are_made_on_the_machine(service: Service) -> None:
    service.answers = [
        'check good 5 echo "it is" fine\ncheck bad 5 cat; exit 3\ncheck slow 1 sleep 9\n'
    ]
    done = subprocess.run(["sh", str(AGENT), f"{service.base}/b/T"], timeout=60, check=False)
    assert done.returncode == 0
    first, second = service.reports
    assert "checks" not in first
    assert second["checks"] == [
        {"name": "good", "exit_status": 0, "message": "it is fine"},
        {"name": "bad", "exit_status": 3, "message": ""},
        {"name": "slow", "exit_status": 124, "message": ""},
    ]


def test_checks_are_made_again_for_as_long_as_the_service_says_so(service: Service) -> None:
    service.answers = ["check first 5 exit 1\n", "again 1\ncheck first 5 true\n", "again 1\n"]
    done = subprocess.run(["sh", str(AGENT), f"{service.base}/b/T"], timeout=60, check=False)
    assert done.returncode == 0
    told = [[each["exit_status"] for each in one.get("checks", [])] for one in service.reports]
    assert told == [[], [1], [0], []]
    assert all(one["phase"] == "running" and one["facts"]["cpus"] for one in service.reports)


def test_a_system_on_its_own_disk_asks_for_its_address_until_it_is_known(service: Service) -> None:
    environment = os.environ | {"MW_SERVICE": service.base}
    done = subprocess.run(["sh", str(AGENT)], env=environment, timeout=60, check=False)
    assert done.returncode == 0
    assert [path.partition("?")[0] for path in service.paths] == ["/hello", "/hello", "/b/T/report"]


def test_an_agent_that_is_told_of_no_service_does_nothing(service: Service) -> None:
    done = subprocess.run(["sh", str(AGENT)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "neither mw.url nor mw.service is given" in done.stderr
