"""A commit decides what a machine boots, through a real Ironic: API, conductor, its hardware type
`redfish`, its iPXE; and the system that comes up says itself what it is.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from metalwright.model.report import Phase

from .ironic_machines import Hardware, IronicMachinesLab, enroll
from .ironic_rig import Ironic, environment
from .machines import Systems

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

BOOT_S = 240.0
"""For one machine, from the commit to its report; on a quiet computer it is a tenth of that."""

NODE = "n01"


@pytest.fixture
def lab(tmp_path: Path, systems: Systems) -> Iterator[IronicMachinesLab]:
    environment()
    with (
        Hardware(1, tmp_path / "hardware", tmp_path / "ironic") as hardware,
        Ironic(tmp_path / "ironic", http_url=hardware.http_url) as ironic,
    ):
        enroll(ironic, hardware, hardware.start_bmcs(ironic))
        lab = IronicMachinesLab(tmp_path / "lab", ironic, hardware, systems)
        try:
            done = lab.mw("adopt", "*")
            assert done.returncode == 0, done.stderr
            lab.start()
            yield lab
        finally:
            lab.close()


def test_a_commit_decides_what_a_machine_of_ironic_boots(lab: IronicMachinesLab) -> None:
    digests = []
    for template in ("red", "blue"):
        digests.append(booted(lab, template, lab.wants(template, NODE)))
        assert lab.console(0)[-2:] == ["red", "blue"][: len(digests)]
    switched = [(NODE, "on"), (NODE, "off"), (NODE, "on")]
    assert lab.hardware.switched == switched
    assert lab.plan()[0] == 0

    lab.git("revert", "--no-edit", "HEAD")
    lab.wait(lambda: lab.ironic.states([NODE]) == {NODE: "deploying"}, BOOT_S, "a deployment")
    lab.ironic.kill()
    lab.ironic.start()
    digests.append(booted(lab, "red", lab.git("rev-parse", "HEAD")))
    assert digests[0] == digests[2] != digests[1]
    assert set(lab.console(0)[2:]) == {"red"}, "what was begun before the kill was red too"
    told = [entry.detail for entry in lab.journal() if entry.event == "retry"]
    assert any("can't be resumed by conductor" in words for words in told), told
    assert lab.plan()[0] == 0


def booted(lab: IronicMachinesLab, template: str, commit: str) -> str:
    """Wait until the machine runs what this commit says; the digest that it reported."""
    lab.wait(lambda: lab.runs(template, NODE), BOOT_S, f"{template} on {NODE}")
    applied, heard = lab.applied(NODE), lab.heard()[NODE]
    assert applied is not None
    assert applied.target.template is not None
    assert applied.revision == commit
    assert lab.console(0)[-1] == template
    assert heard.report.phase is Phase.RUNNING
    assert heard.report.template_digest == applied.target.template.digest
    assert_handed_over(lab)
    return heard.report.template_digest


def assert_handed_over(lab: IronicMachinesLab) -> None:
    """Ironic was told rendered arguments, and to fetch from the boot service, which checks."""
    info = lab.ironic.node(NODE)["instance_info"]
    arguments = info["kernel_append_params"].split()
    assert f"called={NODE}" in arguments
    (url,) = [each.removeprefix("mw.url=") for each in arguments if each.startswith("mw.url=")]
    token = url.rpartition("/")[2]
    here = f"http://127.0.0.1:{lab.port}/b/{token}"
    assert (info["kernel"], info["ramdisk"]) == (f"{here}/kernel", f"{here}/initrd")
    assert "configdrive" not in info
    assert f"ds=nocloud;s={url}/" in arguments
    with urllib.request.urlopen(f"{here}/user-data", timeout=20) as answer:
        assert answer.read().decode() == f"#cloud-config\nhostname: {NODE}\nphone: {url}\n"
    assert token not in lab.log() + lab.mw("show", NODE).stdout + lab.mw("log", NODE).stdout
