from __future__ import annotations

import pytest

from metalwright.boot import texts
from metalwright.boot.scripts import (
    AGAIN_S,
    AGAINS_MAX,
    COMMAND_LINE_MAX,
    WAITS_MAX,
    ScriptError,
    identify,
    kernel,
    local_disk,
    wait,
)
from metalwright.model.boot import Served

BASE = "http://10.0.0.1:8800"


ASK = f"chain --replace --autofree {BASE}/ipxe?mac=${{netX/mac:hexhyp}}&"


def again(asked: int = 0) -> list[str]:
    """The end of every script that something is fetched by."""
    who = "uuid=${uuid}&serial=${serial:uristring}&platform=${platform}"
    return [
        ":again",
        "inc tries:int32",
        f"iseq ${{tries:int32}} {AGAINS_MAX} && exit ||",
        "imgfree",
        f"echo Metalwright: not to be had, in {AGAIN_S} s once more",
        f"sleep {AGAIN_S}",
        ":ask",
        f"{ASK}{who}&n={asked} || goto again",
    ]


def test_the_first_script_makes_the_machine_say_who_it_is() -> None:
    assert identify(BASE).splitlines() == ["#!ipxe", "goto ask", *again()]


def test_a_kernel_gets_its_arguments_and_an_efi_kernel_finds_its_initrds() -> None:
    base, arguments = f"{BASE}/b/T", ("console=ttyS0", "ip=dhcp")
    text = kernel(base, arguments, initrds=("initrd", "rootfs"), service=BASE)
    assert text.splitlines() == [
        "#!ipxe",
        f"kernel {BASE}/b/T/kernel initrd=initrd initrd=rootfs console=ttyS0 ip=dhcp || goto again",
        f"initrd --name initrd {BASE}/b/T/initrd || goto again",
        f"initrd --name rootfs {BASE}/b/T/rootfs || goto again",
        "boot || goto again",
        *again(),
    ]


def test_a_ramdisk_is_told_the_card_that_ipxe_came_by() -> None:
    for mode in (Served.WIPE, Served.INSTALL):
        arguments = texts.arguments(None, mode, f"{BASE}/b/T")
        line = kernel(f"{BASE}/b/T", arguments, initrds=("initrd",), service=BASE).splitlines()[1]
        assert " mw.mac=${netX/mac} || goto again" in line
    assert "mw.mac" not in " ".join(texts.arguments(None, Served.NETBOOT, f"{BASE}/b/T"))


@pytest.mark.parametrize(
    "argument", ["a b", "a\nshell", "x=${net0/mac}", "||", "&&", "#x", "\x1b[2J", "grün"]
)
def test_an_argument_that_ipxe_would_run_is_refused(argument: str) -> None:
    with pytest.raises(ScriptError, match="kernel argument number 2"):
        kernel(BASE, ("quiet", argument), initrds=("initrd",), service=BASE)


def test_a_command_line_longer_than_a_kernel_takes_is_refused() -> None:
    fits = "x" * (COMMAND_LINE_MAX - len("initrd=initrd "))
    assert fits in kernel(BASE, (fits,), initrds=("initrd",), service=BASE)
    with pytest.raises(ScriptError, match="2048 bytes; 2047 are the most"):
        kernel(BASE, (fits + "x",), initrds=("initrd",), service=BASE)


def test_the_local_disk_is_started_as_the_firmware_needs_it() -> None:
    assert "sanboot --no-describe --drive 0x80 || exit" in local_disk("why", "pcbios")
    assert local_disk("why", "efi") == "#!ipxe\necho Metalwright: why\nexit\n"


def test_a_machine_waits_a_number_of_times_and_then_goes_on() -> None:
    lines = wait(BASE, "later", 0).splitlines()
    assert lines == ["#!ipxe", "echo Metalwright: later", "sleep 30", "goto ask", *again(1)]
    assert wait(BASE, "later", WAITS_MAX) == "#!ipxe\necho Metalwright: later\nexit\n"


def test_a_reason_never_becomes_a_command() -> None:
    text = local_disk("it says ${netX/mac}\nshell || reboot", "efi")
    assert text.splitlines() == [
        "#!ipxe",
        "echo Metalwright: it says ??netX/mac??shell ?? reboot",
        "exit",
    ]
