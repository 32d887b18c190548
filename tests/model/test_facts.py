from __future__ import annotations

from dataclasses import replace

import pytest

from metalwright.model.facts import differences, disk_to_install, disks_to_wipe
from metalwright.model.hardware import Disk, Nic, NodeSpec, Properties
from metalwright.model.report import DiskFact, Facts, NicFact

MAC = "52:54:00:00:00:01"
SIZE = 1_000_204_886_016
A = DiskFact(name="sda", serial="A1", bytes=SIZE, rotational=True, transport="local")
B = DiskFact(name="nvme0n1", serial="B2", bytes=SIZE, rotational=False, transport="local")


def declared(*disks: Disk, **words: object) -> NodeSpec:
    return NodeSpec(
        driver="fake",
        serial="S1",
        nics=(Nic(mac=MAC, boot=True),),
        properties=Properties(disks=disks, **words),  # type: ignore[arg-type]
    )


def found(*disks: DiskFact, serial: str = "S1", **words: object) -> Facts:
    nics = (NicFact(name="eth0", mac=MAC),)
    return Facts(serial=serial, nics=nics, disks=disks, **words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "facts", "said"),
    [
        (declared(), found(), ""),
        (declared(vendor="Dell", cpus=4), found(), ""),
        (declared(cpus=4), found(cpus=2), "number of CPUs is 2, git declares 4"),
        (declared(vendor="Dell"), found(vendor="HPE"), "vendor is HPE, git declares Dell"),
        (declared(memory_gib=2), found(memory_mib=1_990), ""),
        (declared(memory_gib=2), found(memory_mib=1_024), "1024 MiB of memory"),
        (declared(), found(serial="S2"), "the serial is S2, git declares S1"),
        (declared(Disk(serial="A1")), found(B), "no disk with serial A1"),
        (declared(Disk(serial="A1")), found(A, B), "does not declare: nvme0n1 (B2)"),
        (declared(Disk(size_gb=1_000, rotational=True), Disk(serial="B2")), found(B, A), ""),
    ],
)
def test_what_differs_from_git_is_said(spec: NodeSpec, facts: Facts, said: str) -> None:
    text = "; ".join(differences(spec, facts))
    assert said in text
    assert bool(said) is bool(text)


@pytest.mark.parametrize(
    ("spec", "facts", "refused"),
    [
        (declared(), found(), "reports no disk"),
        (declared(), found(A, serial="S2"), "the serial is S2"),
        (NodeSpec(driver="fake"), found(A), "git declares no serial"),
        (declared(Disk(serial="A1")), found(B), "no disk with serial A1"),
        (declared(Disk(serial="A1")), found(A, B), "does not declare"),
        (declared(Disk(serial="A1"), Disk(serial="B2")), found(A), "it has none"),
        (declared(Disk(size_gb=2_000)), found(A), "no disk of 2000 GB"),
    ],
)
def test_a_machine_that_is_not_the_declared_one_loses_no_disk(
    spec: NodeSpec, facts: Facts, refused: str
) -> None:
    for choose in (disks_to_wipe, disk_to_install):
        disks = choose(spec, facts)
        assert disks.found == ()
        assert refused in disks.refused


def test_the_declared_machine_loses_all_its_disks_and_is_installed_on_the_first() -> None:
    spec = declared(Disk(serial="B2"), Disk(serial="A1"))
    assert disks_to_wipe(spec, found(A, B)).found == (A, B)
    assert disk_to_install(spec, found(A, B)).found == (B,)
    assert disk_to_install(declared(), found(A)).found == (A,)


def test_an_installation_never_chooses_between_disks_that_look_alike() -> None:
    assert "git declares none" in disk_to_install(declared(), found(A, B)).refused
    twins = declared(Disk(size_gb=1_000), Disk(size_gb=1_000))
    assert "2 disks are like the first" in disk_to_install(twins, found(A, B)).refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"vendor": "Dell", "model": "R640"}, {"vendor": "Dell Inc.", "model": "PowerEdge R640"}),
        ({"vendor": "lenovo"}, {"vendor": "LENOVO"}),
        ({"model": "ProLiant DL380 Gen10"}, {"model": "ProLiant DL380  Gen10"}),
        ({}, {"cpu_arch": "aarch64"}),
        ({"cpu_arch": "arm64"}, {"cpu_arch": "aarch64"}),
        ({"cpu_arch": "amd64"}, {"cpu_arch": "x86_64"}),
        ({"memory_gib": 3}, {"memory_mib": 4_000}),  # as `free -g` shows 3.9
        ({"memory_gib": 512}, {"memory_mib": 515_600}),
    ],
)
def test_what_is_only_spelt_otherwise_is_no_difference(
    words: dict[str, object], said: dict[str, object]
) -> None:
    assert differences(declared(**words), found(A, **said)) == ()
    assert disks_to_wipe(declared(**words), found(A, **said)).found == (A,)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"vendor": "Dell"}, {"vendor": "HPE"}),
        ({"model": "R640"}, {"model": "PowerEdge R6400"}),
        ({"cpu_arch": "x86_64"}, {"cpu_arch": "aarch64"}),
        ({"cpus": 64}, {"cpus": 8}),
        ({"memory_gib": 2}, {"memory_mib": 4_000}),
        ({"memory_gib": 512}, {"memory_mib": 256_000}),
    ],
)
def test_a_machine_that_differs_in_anything_loses_no_disk(
    words: dict[str, object], said: dict[str, object]
) -> None:
    (difference,) = differences(declared(**words), found(A, **said))
    for choose in (disks_to_wipe, disk_to_install):
        assert choose(declared(**words), found(A, **said)).refused == difference


def test_a_machine_without_one_of_the_declared_cards_loses_no_disk() -> None:
    spec = replace(declared(), nics=(Nic(mac=MAC, boot=True), Nic(mac="52:54:00:00:00:02")))
    refused = disks_to_wipe(spec, found(A)).refused
    assert refused == "it has no interface with MAC 52:54:00:00:00:02"


@pytest.mark.parametrize(
    ("transport", "why"),
    [("fc", "sdb (L7) is reached by fc"), ("usb", "by usb"), (None, "sdb (L7) may be anybody's")],
)
def test_disks_that_may_be_of_others_are_touched_only_where_git_declares_them(
    transport: str | None, why: str
) -> None:
    far = DiskFact(name="sdb", serial="L7", bytes=SIZE, transport=transport)
    for choose, facts in ((disks_to_wipe, found(A, far)), (disk_to_install, found(far))):
        refused = choose(declared(), facts).refused
        assert refused.startswith("git declares no disks, and ")
        assert why in refused
    own = declared(Disk(serial="A1"), Disk(serial="L7"))
    assert disks_to_wipe(own, found(A, far)).found == (A, far)
    assert differences(declared(), found(A, far)) == ()
