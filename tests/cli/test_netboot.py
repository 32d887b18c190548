"""`mw dnsmasq` and `mw ramdisk`, as somebody calls them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from typer.testing import CliRunner

from metalwright.cli import app
from metalwright.errors import MetalwrightError

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


def inventory(where: Path, boot: str) -> Path:
    (where / "inventory").mkdir()
    (where / "inventory" / "nodes.yaml").write_text(NODES)
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


def test_without_a_boot_service_there_is_nothing_to_print(tmp_path: Path) -> None:
    config = inventory(tmp_path, "")
    assert "boot.listen is missing" in run("dnsmasq", "--config", str(config), "--range", "::,::1")


def test_a_ramdisk_needs_a_kernel(tmp_path: Path) -> None:
    said = run("ramdisk", str(tmp_path / "initrd"), "--root", str(tmp_path))
    assert said.startswith(f"no kernel with its modules is below {tmp_path}")
    said = run("ramdisk", str(tmp_path / "initrd"), "--root", str(tmp_path), "--kernel", "6.1")
    assert said == f"{tmp_path}/boot/vmlinuz-6.1 is not there"
