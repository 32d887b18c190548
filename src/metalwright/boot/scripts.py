"""The iPXE scripts that a machine gets. Pure text: https://ipxe.org/scripting.

iPXE expands `${...}` anywhere in a line and takes `||`, `&&` and line ends for its own, so nothing
that came from a template, a machine or a person is put into a script before it was looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

WAIT_S = 30
"""How long a machine that is to wait sleeps before it asks again, in seconds."""

WAITS_MAX = 40
"""How often it asks again before it gives up and its firmware goes on."""

AGAIN_S = 10
"""How long a machine sleeps after something could not be fetched, in seconds."""

AGAINS_MAX = 60
"""How often a machine begins again, from its power-on, before its firmware goes on."""

COMMAND_LINE_MAX = 2_047
"""Bytes of a kernel's command line (x86: COMMAND_LINE_SIZE less its end)."""

CARD = "mw.mac=${netX/mac}"
"""Tells a ramdisk the network card that iPXE came by. It is the only argument that iPXE expands."""

_UNSAFE = re.compile(r"[^\x21-\x7e]|\$\{|^#|^\|\|$|^&&$")
_SAID = re.compile(r"[^A-Za-z0-9 .,:;()/_@+-]")


class ScriptError(ValueError):
    """Something that cannot stand in a script, in words."""


def identify(base: str) -> str:
    """The first script, the same for every machine: it makes iPXE say who it is.

    `base` is the URL of the boot service, without a slash at its end. A DHCP server hands this
    script's address out (see `dnsmasq.py`).
    """
    return _script("goto ask", *_again(base))


def kernel(
    base: str, arguments: Sequence[str], *, initrds: Sequence[str], service: str = ""
) -> str:
    """Boot `{base}/kernel` with `{base}/INITRD` for each of `initrds`. `base` holds the token.

    The initrds are named on the command line too: an EFI kernel finds them by that. What cannot be
    fetched, or breaks off, is asked for anew at `service`, from the script on, since its token may
    be over; without a `service` that is the end of the script.

    Raises:
        ScriptError: an argument that iPXE would take for its own, or all of them too long. It is
            named by its place among `arguments`: its text may hold a secret.
    """
    named = [f"initrd={name}" for name in initrds]
    line = " ".join([*named, *arguments])
    for place, argument in enumerate(arguments, 1):
        if argument != CARD and _UNSAFE.search(argument):
            raise ScriptError(
                f"kernel argument number {place}, as it is rendered, has a space, a character that"
                " is not printable ASCII, or something that iPXE would take for its own"
                " (${, #, ||, &&)"
            )
    if len(line) > COMMAND_LINE_MAX:
        raise ScriptError(
            f"the kernel's command line has {len(line)} bytes; {COMMAND_LINE_MAX} are the most"
        )
    fetched = [f"kernel {base}/kernel {line}".rstrip()]
    fetched += [f"initrd --name {name} {base}/{name}" for name in initrds]
    if not service:
        return _script(*fetched, "boot")
    lines = [f"{command} || goto again" for command in (*fetched, "boot")]
    return _script(*lines, *_again(service))


def local_disk(why: str, platform: str) -> str:
    """Go on with the machine's own disk. `platform` is iPXE's (`pcbios`, `efi`).

    BIOS firmware may come back to the network when iPXE only exits, so the first disk is started.
    """
    said = f"echo Metalwright: {_plain(why)}"
    if platform == "pcbios":
        return _script(said, "sanboot --no-describe --drive 0x80 || exit")
    return _script(said, "exit")


def wait(base: str, why: str, asked: int) -> str:
    """Sleep, then ask again; after `WAITS_MAX` times give up. `asked` is the request's `n`."""
    said = f"echo Metalwright: {_plain(why)}"
    if asked >= WAITS_MAX:
        return _script(said, "exit")
    return _script(said, f"sleep {WAIT_S}", "goto ask", *_again(base, asked + 1))


def _again(service: str, asked: int = 0) -> tuple[str, ...]:
    """`goto ask` asks for a script; `goto again` frees what is loaded, sleeps and does so too.

    iPXE counts, across scripts, since only it knows how often nothing came at all.
    """
    return (
        ":again",
        "inc tries:int32",
        f"iseq ${{tries:int32}} {AGAINS_MAX} && exit ||",
        "imgfree",
        f"echo Metalwright: not to be had, in {AGAIN_S} s once more",
        f"sleep {AGAIN_S}",
        ":ask",
        f"chain --replace --autofree {service}/ipxe?{_WHO}&n={asked} || goto again",
    )


_WHO = (  # a MAC as 52-54-00-...: as text of a URI its bytes would be taken for characters
    "mac=${netX/mac:hexhyp}&uuid=${uuid}&serial=${serial:uristring}&platform=${platform}"
)


def _script(*lines: str) -> str:
    return "\n".join(("#!ipxe", *lines, ""))


def _plain(text: str) -> str:
    """`text` as iPXE may print it: nothing that it would expand, run, or end the line at."""
    return _SAID.sub("?", text)[:200]
