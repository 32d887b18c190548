"""A machine that boots over the network: its script, its images, its data, its report."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from metalwright.boot.limits import BootLimits
from metalwright.model.operation import Stage
from metalwright.model.report import Phase
from metalwright.model.template import Method

from .boot_world import BOOT_ID, FACTS, MAC, SECRET, UUID, World, a_node, world


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made
        assert made.trouble == []


def test_the_first_script_makes_a_machine_say_who_it_is(lab: World) -> None:
    text = lab.client.get("/boot.ipxe").text
    assert text.startswith("#!ipxe\n")
    assert f"{lab.url}/ipxe?mac=${{netX/mac:hexhyp}}" in text
    assert lab.client.get("/healthz").text == "ok\n"
    assert lab.client.get("/agent").text.startswith("#!/bin/sh")


def test_the_boot_that_an_operation_asked_for(lab: World) -> None:
    lab.adopt()
    operation = lab.operate(lab.template())
    text = lab.script()
    path = lab.boot()
    assert f"kernel {lab.url}/b/" in text
    assert " quiet name=n1 mw.url=" in text
    assert "ds=nocloud;s=" in text
    kernel = lab.client.get(f"{path}/kernel")
    assert kernel.content == b"KERNEL" * 100
    assert lab.client.head(f"{path}/initrd").headers["content-length"] == "600"
    part = lab.client.get(f"{path}/rootfs", headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    assert lab.client.get(f"{path}/disk").status_code == 404
    answer = lab.report(path, "running", facts=FACTS)
    assert answer.text == "check disk 10 test -b /dev/vda\nok\n"
    heard = lab.store.heard()["n1"]
    assert heard.report.phase is Phase.RUNNING
    assert (heard.report.operation_id, heard.report.attempt) == (operation.id, operation.fence)
    assert heard.report.template_digest == "d" * 64
    assert heard.report.facts is not None
    assert heard.report.facts.disks[0].serial == "DISK1"
    assert lab.told == ["n1"] * 3
    assert lab.events("reported") == ["running"]
    assert lab.events("served")[0].startswith("netboot ci: operation o1 asked for it; asked as mac")


def test_cloud_init_gets_its_data_and_an_installer_its_files(lab: World) -> None:
    lab.adopt()
    lab.operate(lab.template())
    path = lab.boot()
    assert lab.client.get(f"{path}/meta-data").json() == {
        "instance-id": "n1-o1",
        "local-hostname": "n1",
    }
    data = lab.client.get(f"{path}/user-data").text
    assert data == f"#cloud-config\nhostname: n1\n{SECRET}\n"
    assert lab.client.get(f"{path}/vendor-data").text == ""
    assert lab.client.get(f"{path}/network-config").status_code == 404
    assert lab.client.get(f"{path}/files/ks.cfg").text == "text for a1"
    assert lab.client.get(f"{path}/files/other.cfg").status_code == 404


def test_a_token_lives_on_when_its_operation_ended_well_and_no_longer_else(lab: World) -> None:
    lab.adopt()
    template = lab.template()
    operation = lab.operate(template)
    path = lab.boot()
    lab.report(path, "running", facts=FACTS)
    active = lab.move(operation, stage=Stage.BOOT)
    lab.adopt_after(active, template)
    assert lab.client.get(f"{path}/user-data").status_code == 200
    issued, lab.now = lab.now, lab.now + timedelta(seconds=BootLimits().token_life_s + 1)
    assert lab.client.get(f"{path}/user-data").status_code == 403
    lab.now = issued
    assert lab.client.get(f"{path}/user-data").status_code == 200
    lab.store.end_boots("n1", lab.now)
    refused = lab.client.get(f"{path}/user-data")
    assert (refused.status_code, refused.text) == (403, "refused\n")


def test_a_machine_that_reboots_by_itself_gets_what_it_ran_before(lab: World) -> None:
    lab.adopt(lab.template())
    path = lab.boot()
    assert lab.client.get(f"{path}/kernel").status_code == 200
    assert lab.report(path, "running", facts=FACTS).status_code == 200
    assert lab.store.heard()["n1"].report.operation_id == ""
    assert "no operation asked" in lab.events("served")[0]


def test_what_a_template_needs_and_cannot_have_makes_the_machine_wait(lab: World) -> None:
    lab.adopt()
    lab.operate(lab.template(kernel_args=("{{ node.colour }}",)))
    text = lab.script()
    assert "sleep" in text
    assert "kernel arguments of template ci" in lab.events("refused")[0]


def test_a_kernel_argument_that_cannot_be_told_is_refused_without_its_secret(lab: World) -> None:
    lab.adopt()
    lab.operate(lab.template(kernel_args=("quiet", "inst.rootpw={{ secret('app/token') }}")))
    text, (refused,) = lab.script(), lab.events("refused")
    assert "sleep" in text
    assert "kernel argument number 2" in refused
    for word in SECRET.split():
        assert word not in text + refused


def test_user_data_that_cannot_be_made_is_refused_without_its_secrets(lab: World) -> None:
    lab.adopt()
    lab.operate(lab.template(user_data="{{ secret('app/token') | int / 0 }}"))
    answer = lab.client.get(f"{lab.boot()}/user-data")
    assert answer.status_code == 503
    assert SECRET not in answer.text + "".join(lab.events("refused"))


def test_who_is_not_known_gets_its_own_disk_and_nothing_of_us(lab: World) -> None:
    lab.adopt()
    lab.operate(lab.template())
    text = lab.script(mac="52-54-00-00-00-99", serial="X", uuid=UUID.replace("1", "9"))
    assert "sanboot" in text
    assert "n1" not in text
    assert lab.events("refused")[0].startswith("from 127.0.0.1: mac=52:54:00:00:00:99")
    # The right MAC in another machine: its serial number tells.
    assert "sanboot" in lab.script(serial="SN2")


@pytest.mark.parametrize("gone", ["retired", "broken", "observed"])
def test_nothing_is_served_to_a_node_that_is_not_managed(lab: World, gone: str) -> None:
    lab.adopt(lab.template())
    lab.follow(a_node(lifecycle=gone))
    assert "sanboot" in lab.script()


def test_a_later_boot_ends_the_earlier_token(lab: World) -> None:
    lab.adopt()
    lab.operate(lab.template())
    first, second = lab.boot(), lab.boot()
    assert lab.client.get(f"{first}/kernel").status_code == 403
    assert lab.client.get(f"{second}/kernel").status_code == 200
    assert "a token of a boot that is over" in lab.events("refused")[0]


def test_a_system_on_its_own_disk_asks_for_its_address(lab: World) -> None:
    lab.adopt()
    operation = lab.operate(lab.template(Method.DISK), stages=(Stage.BOOT,))
    answer = lab.client.get("/hello", params={"mac": MAC, "serial": "SN1"}).text
    path = answer.removeprefix("url ").strip().removeprefix(lab.url)
    assert lab.report(path, "running", facts=FACTS).status_code == 200
    assert lab.store.heard()["n1"].report.template_digest == operation.target.digest
    assert lab.client.get(f"{path}/user-data").status_code == 404
    assert lab.client.get("/hello", params={"mac": "52:54:00:00:00:99"}).status_code == 404


def test_the_wrong_machine_fails_its_attempt_in_words(lab: World) -> None:
    lab.adopt()
    lab.operate(lab.template())
    path = lab.boot(serial="", uuid="")
    answer = lab.report(path, "running", facts=FACTS | {"serial": "SN9"})
    assert answer.text.startswith("stop this is another machine: the serial is SN9")
    report = lab.store.heard()["n1"].report
    assert report.phase is Phase.FAILED
    assert report.boot_id == BOOT_ID
    assert "sleep" in lab.script()


def test_before_the_first_revision_nobody_is_refused_for_good(tmp_path: Path) -> None:
    with world(tmp_path, follow=False) as lab:
        body = {"phase": "running", "boot_id": "b"}
        assert lab.client.post("/b/T/report", json=body).status_code == 503
        assert lab.client.get("/hello", params={"mac": MAC}).status_code == 503
        assert lab.client.get("/b/T/kernel").status_code == 503
        assert lab.store.journal(None, 9) == ()
        lab.follow()
        assert lab.client.post("/b/T/report", json=body).status_code == 403
