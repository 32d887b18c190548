"""What a machine reported of itself, and the evidence of its wipes, for `mw show`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from metalwright.cli.standing import instant
from metalwright.daemon.fleet import Fleet
from metalwright.model.documents import Node
from metalwright.model.facts import differences
from metalwright.model.report import Facts

WIPES_SHOWN: Final = 20


def booted_lines(fleet: Fleet, name: str, node: Node | None) -> Iterator[str]:
    """The latest report, where the hardware differs from git, and a line for each disk wiped."""
    heard = fleet.store.heard([name]).get(name)
    if heard is not None:
        report = heard.report
        words = [f"{report.phase} at {instant(report.at)}"]
        words += [f"template {report.template_digest[:12]}"] if report.template_digest else []
        words += [f"operation {report.operation_id}"] if report.operation_id else []
        words += [report.message] if report.message else []
        words += [] if heard.live else ["that boot is over"]
        yield f"reported  {', '.join(words)}"
        if report.facts is not None:
            yield f"facts     {_facts(report.facts)}"
            for said in differences(node.spec, report.facts) if node is not None else ():
                yield f"differs   {said}"
    for each in fleet.store.wipes(name, WIPES_SHOWN):
        wipe = each.wipe
        found = "verified" if wipe.verified else "NOT CLEAN"
        disk = f"{wipe.name} ({wipe.serial or 'no serial'})"
        did = f"{wipe.method}, {wipe.bytes} bytes, {found}"
        yield f"wiped     {instant(each.at)} {disk}: {did}, operation {each.operation_id}"


def _facts(facts: Facts) -> str:
    disks = [f"{disk.name} {disk.serial or 'no serial'} {disk.bytes} bytes" for disk in facts.disks]
    nics = [f"{nic.name} {nic.mac}" for nic in facts.nics]
    words = [
        f"serial {facts.serial}" if facts.serial else "",
        f"{facts.cpus} CPUs" if facts.cpus is not None else "",
        f"{facts.memory_mib} MiB" if facts.memory_mib is not None else "",
        *disks,
        *nics,
    ]
    return ", ".join(word for word in words if word) or "none"
