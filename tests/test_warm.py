"""The forked `mw` of the tests is the real one, and leaves nothing to the next."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from .warm import Warm

TIMEOUT_S = 60


def test_a_forked_command_answers_like_a_started_one(warm: Warm, tmp_path: Path) -> None:
    environment = os.environ | {"COLUMNS": "70"}
    for words in (["plan", "--help"], ["plan"], ["nonsense"], ["schema", "Node"]):
        done = subprocess.run(
            [Path(sys.executable).with_name("mw"), *words],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert warm.run(words, tmp_path, environment, TIMEOUT_S) == (done.returncode, done.stdout)


def test_each_command_has_its_own_environment_and_directory(warm: Warm, tmp_path: Path) -> None:
    (tmp_path / "metalwright.toml").write_text('repository = "absent"\n')
    code, told = warm.run(["plan"], tmp_path, os.environ, TIMEOUT_S)
    assert code == 1
    assert f"{tmp_path}/absent" in told
    named = os.environ | {"METALWRIGHT_REPOSITORY": str(tmp_path / "elsewhere")}
    assert f"{tmp_path}/elsewhere" in warm.run(["plan"], tmp_path, named, TIMEOUT_S)[1]
    assert f"{tmp_path}/absent" in warm.run(["plan"], tmp_path, os.environ, TIMEOUT_S)[1]


def test_a_command_can_be_ended(warm: Warm, tmp_path: Path) -> None:
    (tmp_path / "metalwright.toml").write_text('repository = "inventory"\nstate_dir = "state"\n')
    subprocess.run(["git", "init", "--quiet", "inventory"], cwd=tmp_path, check=True)
    with tempfile.TemporaryFile() as out:
        command = warm.start(["daemon", "--config", "metalwright.toml"], tmp_path, os.environ, out)
        assert command.poll() is None
        command.terminate()
        assert command.wait(TIMEOUT_S) in (0, -15)
        assert command.poll() == command.returncode
