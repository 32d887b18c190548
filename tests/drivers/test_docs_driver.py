"""The driver of docs/drivers.md, built from the page as it stands, installed, and put to work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "drivers.md"
POOL = """
apiVersion: metalwright/v1
kind: Pool
metadata: {name: shelf}
spec: {owner: lab, nodes: [board-3], resting: {power: "on"}}
"""


@dataclass
class Example:
    """What the page says."""

    files: dict[str, str]
    settings: str
    node: str


@pytest.fixture(scope="module")
def example() -> Example:
    text = PAGE.read_text(encoding="utf-8")
    files = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert set(files) == {"pyproject.toml", "metalwright_boards.py"}
    [settings] = re.findall(
        r"^```toml\n(\[drivers\.boards\].*?)^```", text, re.MULTILINE | re.DOTALL
    )
    [node] = [
        each
        for each in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        if "driver: boards" in each
    ]
    return Example(files, settings, node)


@pytest.fixture(scope="module")
def site(example: Example, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package installed in it, by its wheel."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name, text in example.files.items():
        (source / name).write_text(text, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=source,
        check=True,
        capture_output=True,
    )
    [wheel] = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(target)
    return target


class Shelf(ThreadingHTTPServer):
    """The controller, which counts what it is told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Boards)
        self.boards: dict[str, dict[str, Any]] = {"3": {"power": "off", "serial": "B-0003"}}
        self.told: list[Any] = []


class _Boards(BaseHTTPRequestHandler):
    server: Shelf

    def _serve(self) -> None:
        board = self.server.boards.get(self.path.rpartition("/")[2])
        if board is not None and self.command == "PUT":
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.told.append(body)
            board["power"] = body["power"]
        content = json.dumps(board or {}).encode()
        self.send_response(404 if board is None else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = _serve  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        """Silence."""


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    server = Shelf()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class Installation:
    """A repository and settings, and `mw` with or without the package beside it."""

    def __init__(self, home: Path, example: Example, url: str) -> None:
        self.home, inventory = home, home / "inventory"
        inventory.mkdir()
        (inventory / "fleet.yaml").write_text(f"{example.node}---{POOL}", encoding="utf-8")
        settings = example.settings.replace("http://127.0.0.1:8080", url)
        (home / "metalwright.toml").write_text(
            f'repository = "inventory"\nstate_dir = "state"\ncycle_interval_s = 1\n{settings}'
        )
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@lab.example"]
        for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "Shelf"]):
            subprocess.run(["git", *identity, *words], cwd=inventory, check=True)

    def mw(self, *words: str, site: Path | None) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        if site is not None:
            environment["PYTHONPATH"] = str(site)
        return subprocess.run(
            [sys.executable, "-m", "metalwright", *words],
            cwd=self.home,
            env={**environment, "NO_COLOR": "1", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def test_the_daemon_drives_machines_through_it(
    tmp_path: Path, example: Example, site: Path, shelf: Shelf
) -> None:
    lab = Installation(tmp_path, example, f"http://127.0.0.1:{shelf.server_address[1]}")
    valid = lab.mw("validate", site=site)
    assert valid.returncode == 0, valid.stdout + valid.stderr
    adopted = lab.mw("adopt", "--rebuild", "board-3", site=site)
    assert adopted.returncode == 0, adopted.stdout + adopted.stderr
    applied = lab.mw("apply", site=site)
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert shelf.boards["3"]["power"] == "on"
    assert shelf.told == [{"power": "on"}], "told once, and with the words of the driver"
    explained = lab.mw("explain", "board-3", site=site)
    assert "power on" in explained.stdout


def test_without_it_the_inventory_is_refused_and_so_is_its_table(
    tmp_path: Path, example: Example
) -> None:
    lab = Installation(tmp_path, example, "http://127.0.0.1:9")
    refused = lab.mw("validate", site=None)
    assert refused.returncode != 0
    assert "fleet.yaml:" in refused.stdout
    assert "node/unknown-driver" in refused.stdout
    assert "boards" in refused.stdout
    stopped = lab.mw("apply", site=None)
    assert stopped.returncode != 0
    assert "drivers.boards: there is no driver of this name" in stopped.stdout + stopped.stderr


def test_one_that_cannot_be_imported_leaves_its_nodes_unobserved_and_the_daemon_alive(
    tmp_path: Path, example: Example, site: Path
) -> None:
    lab = Installation(tmp_path, example, "http://127.0.0.1:9")
    broken = tmp_path / "broken"
    for file in site.rglob("*"):
        if file.is_file():
            (broken / file.relative_to(site)).parent.mkdir(parents=True, exist_ok=True)
            (broken / file.relative_to(site)).write_bytes(file.read_bytes())
    (broken / "metalwright_boards.py").write_text("import no_such_library\n")
    lab.mw("adopt", "--rebuild", "board-3", site=broken)
    planned = lab.mw("plan", site=broken)
    shown = planned.stdout + planned.stderr
    assert "metalwright-boards cannot be opened" in shown, shown
    assert "no_such_library is missing" in shown


def test_its_settings_can_come_from_the_environment(
    tmp_path: Path, example: Example, site: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Installation(tmp_path, example, "http://127.0.0.1:9")
    url = f"http://127.0.0.1:{shelf.server_address[1]}"
    monkeypatch.setenv("METALWRIGHT_DRIVERS__BOARDS__URL", url)
    shown = lab.mw("plan", site=site)
    assert "no answer" not in shown.stdout + shown.stderr
    assert "NOT_ADOPTED" in shown.stdout, "it was read, and is not ours yet"
