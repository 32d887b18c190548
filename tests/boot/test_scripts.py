from __future__ import annotations

import pytest

from metalwright.boot.scripts import (
    COMMAND_LINE_MAX,
    WAITS_MAX,
    ScriptError,
    identify,
    kernel,
    local_disk,
    wait,
)

BASE = "http://10.0.0.1:8800"


def test_the_first_script_makes_the_machine_say_who_it_is() -> None:
    first, second = identify(BASE).splitlines()
    assert first == "#!ipxe"
    assert second.startswith(f"chain --replace --autofree {BASE}/ipxe?mac=${{netX/mac:hexhyp}}&")
    assert "serial=${serial:uristring}" in second


def test_a_kernel_gets_its_arguments_and_an_efi_kernel_finds_its_initrds() -> None:
    text = kernel(f"{BASE}/b/T", ("console=ttyS0", "ip=dhcp"), initrds=("initrd", "rootfs"))
    assert text == (
        "#!ipxe\n"
        f"kernel {BASE}/b/T/kernel initrd=initrd initrd=rootfs console=ttyS0 ip=dhcp\n"
        f"initrd --name initrd {BASE}/b/T/initrd\n"
        f"initrd --name rootfs {BASE}/b/T/rootfs\n"
        "boot\n"
    )


@pytest.mark.parametrize(
    "argument", ["a b", "a\nshell", "x=${net0/mac}", "||", "&&", "#x", "\x1b[2J", "grün"]
)
def test_an_argument_that_ipxe_would_run_is_refused(argument: str) -> None:
    with pytest.raises(ScriptError, match="kernel argument"):
        kernel(BASE, ("quiet", argument), initrds=("initrd",))


def test_a_command_line_longer_than_a_kernel_takes_is_refused() -> None:
    fits = "x" * (COMMAND_LINE_MAX - len("initrd=initrd "))
    assert fits in kernel(BASE, (fits,), initrds=("initrd",))
    with pytest.raises(ScriptError, match="2048 bytes; 2047 are the most"):
        kernel(BASE, (fits + "x",), initrds=("initrd",))


def test_the_local_disk_is_started_as_the_firmware_needs_it() -> None:
    assert "sanboot --no-describe --drive 0x80 || exit" in local_disk("why", "pcbios")
    assert local_disk("why", "efi") == "#!ipxe\necho Metalwright: why\nexit\n"


def test_a_machine_waits_a_number_of_times_and_then_goes_on() -> None:
    assert f"sleep 30\nchain --replace --autofree {BASE}/ipxe?" in wait(BASE, "later", 0)
    assert "&n=1 || exit" in wait(BASE, "later", 0)
    assert wait(BASE, "later", WAITS_MAX) == "#!ipxe\necho Metalwright: later\nexit\n"


def test_a_reason_never_becomes_a_command() -> None:
    text = local_disk("it says ${netX/mac}\nshell || reboot", "efi")
    assert text.splitlines() == [
        "#!ipxe",
        "echo Metalwright: it says ??netX/mac??shell ?? reboot",
        "exit",
    ]
