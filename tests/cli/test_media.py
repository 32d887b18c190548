"""`mw boot-media`, as somebody calls it."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from metalwright.cli import app
from metalwright.errors import MetalwrightError


def run(config: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["boot-media", *words, "--config", str(config)])
    if isinstance(done.exception, MetalwrightError):
        return str(done.exception)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_without_a_boot_service_it_would_lead_nowhere(tmp_path: Path) -> None:
    config = tmp_path / "metalwright.toml"
    config.write_text('repository = "inventory"\n')
    assert "boot.listen is missing" in run(config, str(tmp_path / "boot.iso"))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    config = tmp_path / "metalwright.toml"
    config.write_text('repository = "inventory"\n[boot]\nlisten = "127.0.0.1:8800"\n')
    said = run(config, str(tmp_path / "boot.iso"), "--ipxe", str(tmp_path))
    assert "on Debian: apt-get install" in said
    assert not (tmp_path / "boot.iso").exists()
