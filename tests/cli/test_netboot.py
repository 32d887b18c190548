"""`mw dnsmasq` and `mw ramdisk`, as somebody calls them."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from typer.testing import CliRunner

from metalwright.cli import app
from metalwright.cli.common import settings_from
from metalwright.errors import MetalwrightError
from metalwright.model.boots import IssuedBoot, Served
from metalwright.model.report import Phase, Report
from metalwright.store import Store

NODES = """\
apiVersion: metalwright/v1
kind: Node
metadata: {name: n1}
spec:
  driver: fake
  nics: [{mac: "52:54:00:00:00:01", boot: true}]
"""


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    if isinstance(done.exception, MetalwrightError):
        return str(done.exception)
    assert done.exit_code == 0, done.output
    return done.stdout


def inventory(where: Path, boot: str, nodes: str = NODES) -> Path:
    (where / "inventory").mkdir()
    (where / "inventory" / "nodes.yaml").write_text(nodes)
    config = where / "metalwright.toml"
    config.write_text(f'repository = "inventory"\nstate_dir = "state"\n{boot}')
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@lab.example"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=where / "inventory", check=True)
    return config


def test_a_configuration_is_printed_for_what_the_branch_declares(tmp_path: Path) -> None:
    config = inventory(tmp_path, '[boot]\nurl = "http://boot.lab:8800"\n')
    shown = run("dnsmasq", "--config", str(config), "--range", "10.20.0.100,10.20.0.200")
    assert "dhcp-host=52:54:00:00:00:01,n1\n" in shown
    assert "dhcp-boot=tag:ipxe,http://boot.lab:8800/boot.ipxe\n" in shown


def test_a_look_of_its_own_takes_what_the_machine_reported_into_account(tmp_path: Path) -> None:
    config = inventory(
        tmp_path, '[boot]\nlisten = "127.0.0.1:8800"\n', NODES.replace("fake", "wol")
    )
    now = datetime.now(UTC)
    boot = IssuedBoot(
        token_sha256="1" * 64,
        node="n1",
        mode=Served.NETBOOT,
        issued_at=now,
        operation_id="",
        attempt=0,
        template_digest="d" * 64,
        claimed="mac=1",
    )
    assert power_of("n1", config) == "unknown"
    with Store.open(settings_from(config).store) as store:
        store.claim("the test", now)
        store.issue_boot(boot, "a test")
        report = Report(
            node="n1", at=now, boot_id="b", phase=Phase.RUNNING, template_digest="d" * 64
        )
        store.report(report, "1" * 64)
    assert power_of("n1", config) == "on"


def power_of(node: str, config: Path) -> str:
    status = json.loads(run("status", "--config", str(config), "--format", "json"))
    power: str = status["observed"]["nodes"][node]["reading"]["power"]
    return power


def test_without_a_boot_service_there_is_nothing_to_print(tmp_path: Path) -> None:
    config = inventory(tmp_path, "")
    assert "boot.listen is missing" in run("dnsmasq", "--config", str(config), "--range", "::,::1")


def test_a_ramdisk_needs_a_kernel(tmp_path: Path) -> None:
    said = run("ramdisk", str(tmp_path / "initrd"), "--root", str(tmp_path))
    assert said.startswith(f"no kernel with its modules is below {tmp_path}")
    said = run("ramdisk", str(tmp_path / "initrd"), "--root", str(tmp_path), "--kernel", "6.1")
    assert said == f"{tmp_path}/boot/vmlinuz-6.1 is not there"
