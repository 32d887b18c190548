"""No secret shows: canaries are planted everywhere, and everything that is written is searched.

A real daemon runs on simulated and on real BMCs, with secrets of every provider; passwords are
right, wrong, rotated, in settings, in files that are broken. Then its log, its store with every
file beside it, plans, the output of each command and the environment of its workers are searched
for each canary as it is and as base64, hexadecimal, URL-encoded, reversed and JSON text.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyrage
import pytest
from tests.drivers.vault_server import VaultServer

from .bmc_farm import BmcFarm
from .lab import SETTINGS, Lab, document

pytestmark = pytest.mark.live

USER = "cnry-user"
CANARIES = {
    "directory": "cnryDir+/=1a",
    "environment": "cnryEnv&?;2b",
    "age": "cnryAge<>&3c",
    "vault": "cnryVlt%204d",
    "rotated": "cnryRot'$(x)5e",
    "vault token": "hvs.cnryTokn6f6f6f",
    "broken": "cnryBrk:{7g",
    "value": "cnryVal=8h8h",
    "remote": "cnryUrl9i9i",
}


def forms(canary: str) -> set[bytes]:
    """How a secret may come out: as it is, or in one of the forms in which programs write bytes."""
    raw = canary.encode()
    found = {
        raw,
        raw[::-1],
        raw.hex().encode(),
        raw.hex().upper().encode(),
        repr(raw)[2:-1].encode(),
    }
    found |= {json.dumps(canary)[1:-1].encode(), repr(canary)[1:-1].encode()}
    found |= {
        urllib.parse.quote(canary, safe="").encode(),
        urllib.parse.quote_plus(canary).encode(),
    }
    for shift in range(3):  # base64 of it anywhere within something longer
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(b"x" * shift + raw + b"y" * 3)
            begin, end = (shift * 8 + 5) // 6, (shift + len(raw)) * 8 // 6
            found.add(whole[begin:end])
    return {form for form in found if len(form) >= 8}


def leaks(name: str, content: bytes) -> list[str]:
    return [
        f"{name}: the canary of {whose}"
        for whose, canary in CANARIES.items()
        if any(form in content for form in forms(canary))
    ]


def test_the_search_finds_every_form() -> None:
    for whose, canary in CANARIES.items():
        for form in forms(canary):
            assert leaks("x", b"..." + form + b"...") == [f"x: the canary of {whose}"]
        told = base64.b64encode(f"{USER}:{canary}".encode())
        assert leaks("x", told), whose
    assert leaks("x", b"nothing here") == []


class Nest:
    """A lab of five BMCs whose passwords are the canaries of the four providers, and one that no
    provider has right; and a simulated node.
    """

    def __init__(self, home: Path, farm: BmcFarm, vault: VaultServer) -> None:
        self.vault, self.farm = vault, farm
        self.identity = pyrage.x25519.Identity.generate()
        for name, text in (("token", CANARIES["vault token"]), ("key", str(self.identity))):
            path = home / "keys" / name
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            path.write_text(text)
        secrets = f"""
[secrets]
providers = ["directory", "environment", "age", "vault"]
age = {{identity_file = "keys/key"}}
vault = {{address = "{vault.address}", token_file = "keys/token", cache_s = 1}}
"""
        self.lab = Lab(home, farm, settings=SETTINGS + secrets)
        vault.tokens[CANARIES["vault token"]] = None
        vault.put("bmc/vault", username=USER, password=CANARIES["vault"])
        farm.write_secrets(home / "secrets", CANARIES["directory"])
        os.environ["METALWRIGHT_SECRET_BMC_ENV_USERNAME"] = USER
        os.environ["METALWRIGHT_SECRET_BMC_ENV_PASSWORD"] = CANARIES["environment"]
        os.environ["METALWRIGHT_SECRET_OS_TOKEN_VALUE"] = CANARIES["value"]
        self.seal("bmc/age", CANARIES["age"])
        for index, reference in enumerate(
            ("bmc/farm", "bmc/env", "age:bmc/age", "vault:bmc/vault", "bmc/farm")
        ):
            farm.set_password(index, list(CANARIES.values())[min(index, 4)])
            self.refer(index, reference)
        self.lab.commit("Secrets of every provider")

    def seal(self, reference: str, password: str) -> None:
        text = json.dumps({reference: {"username": USER, "password": password}})
        sealed = pyrage.encrypt(text.encode(), [self.identity.to_public()])
        path = self.lab.inventory / "secrets" / "bmc.age"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(sealed)

    def refer(self, index: int, reference: str) -> None:
        node = self.farm.node(index).spec.bmc
        assert node is not None
        bmc = {"address": node.address, "port": node.port, "credentials": reference}
        name = self.lab.name(index)
        self.lab.write(f"nodes/{name}.yaml", document("Node", name, {"driver": "ipmi", "bmc": bmc}))


@pytest.fixture
def nest(tmp_path: Path) -> Iterator[Nest]:
    kept = dict(os.environ)
    with BmcFarm(5, tmp_path / "farm", username=USER) as farm, VaultServer() as vault:
        made = Nest(tmp_path / "lab", farm, vault)
        try:
            yield made
        finally:
            made.lab.close()
            os.environ.clear()
            os.environ.update(kept)


def outputs(lab: Lab, nodes: Iterable[int]) -> dict[str, bytes]:
    """What every command says, on both streams; those of one node, of these."""
    commands = [
        ("status",),
        ("status", "--format", "json"),
        ("plan",),
        ("plan", "--format", "json"),
    ]
    commands += [("queue",), ("history",), ("validate", str(lab.inventory))]
    for index in nodes:
        commands += [("show", lab.name(index)), ("explain", lab.name(index), "--format", "json")]
    told = {}
    for words in commands:
        options = () if words[0] == "validate" else ("--config", str(lab.config))
        done = subprocess.run(
            [sys.executable, "-m", "metalwright", *words, *options],
            capture_output=True,
            timeout=90,
            check=False,
        )
        told[" ".join(words)] = done.stdout + done.stderr
    return told


def test_no_secret_shows_anywhere(nest: Nest) -> None:
    lab, farm = nest.lab, nest.farm
    assert lab.mw("adopt", "n[01-05]").returncode == 0
    lab.assign("five", "n[01-05]")
    lab.start()
    lab.wait(lambda: {"n01", "n02", "n03", "n04"} <= lab.on(), 90, "the nodes of every provider on")
    found = {f"1 {name}": told for name, told in outputs(lab, [0]).items()}

    # everything goes wrong: refused passwords, a file of secrets and a token that are broken
    for index in range(4):
        farm.set_password(index, "no-canary-0")
    nest.vault.put("bmc/vault", username=USER, password=CANARIES["rotated"])
    farm.write_secrets(lab.home / "secrets", CANARIES["rotated"])
    lab.wait(lambda: lab.log().count("were refused by") >= 1, 60, "an alert")
    text = f"bmc/age: [{CANARIES['broken']}"
    sealed = pyrage.encrypt(text.encode(), [nest.identity.to_public()])
    (lab.inventory / "secrets" / "bmc.age").write_bytes(sealed)
    lab.commit("A broken file of secrets")
    (lab.home / "keys" / "token").write_text(CANARIES["vault token"] + "x")
    assert lab.daemon is not None
    lab.daemon.send_signal(signal.SIGHUP)
    lab.wait(lambda: "is not YAML" in lab.mw("status").stdout, 60, "the broken file is told")
    status = lab.mw("status").stdout
    assert "alert     credentials " in status, status
    assert "bmc/farm" in status
    found |= {f"2 {name}": told for name, told in outputs(lab, farm).items()}
    for pid in children(lab.daemon.pid):
        found[f"worker {pid}"] = b"".join(
            Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline")
        )
    lab.end()
    found["log"] = lab.log().encode()
    for path in (lab.home / "state").rglob("*"):
        if path.is_file():
            found[str(path)] = path.read_bytes()
    assert len(found) > 28
    assert sum(len(content) for content in found.values()) > 100_000
    problems = [leak for name, content in found.items() for leak in leaks(name, content)]
    assert not problems, problems
    assert not [name for name, content in found.items() if USER.encode() in content]


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(each) for each in (task / "children").read_text().split()]
    return found


def test_errors_of_settings_and_repositories_show_no_secret(nest: Nest) -> None:
    lab, canary = nest.lab, CANARIES["remote"]
    told = []
    for line in (
        f'repository = "https://user:{canary}@127.0.0.1:9/inventory.git"\nfetch_timeout_s = 5',
        f'[secrets.vault]\naddress = "https://u:{canary}@h"\n[secrets]\nproviders = ["vault"]',
        f'METALWRIGHT_SECRET_X = "{canary}"',
    ):
        config = lab.home / "other.toml"
        config.write_text(f'state_dir = "other"\n{line}\n')
        for command in ("status", "plan"):
            done = subprocess.run(
                [sys.executable, "-m", "metalwright", command, "--config", str(config)],
                capture_output=True,
                timeout=60,
                check=False,
            )
            assert done.returncode != 0
            told.append(done.stdout + done.stderr)
    problems = [leak for content in told for leak in leaks("output", content)]
    assert not problems, told
