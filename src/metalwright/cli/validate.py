"""`mw validate` and `mw schema`: is this inventory right, and what may be written in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metalwright.cli.common import (
    ERROR,
    ConfigOption,
    Format,
    FormatOption,
    RepoOption,
    print_json,
    say,
    settings_from,
)
from metalwright.daemon.fleet import open_repository
from metalwright.drivers.registry import driver_names
from metalwright.errors import InventoryError
from metalwright.inventory import Loader, check_directory, load_directory
from metalwright.model.finding import Finding
from metalwright.model.inventory import Inventory
from metalwright.model.schema import schemas
from metalwright.plan import plan_schema


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("validate")(validate)
    app.command("schema")(schema)


def validate(
    directory: Annotated[
        Path | None,
        typer.Argument(
            help="A work tree, as it lies on disk; without it, a revision of the repository."
        ),
    ] = None,
    repo: RepoOption = None,
    rev: Annotated[
        str | None, typer.Option("--rev", help="Revision; the branch's newest commit.")
    ] = None,
    config: ConfigOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Check an inventory: every problem, with file and line.

    Example: mw validate .          (before a commit, in CI)
             mw validate --repo /srv/inventory.git --rev feature-x
    """
    inventory: Inventory | None = None
    drivers = driver_names()
    try:
        if directory is not None:
            findings = check_directory(directory, drivers)
            inventory = load_directory(directory, drivers)
        else:
            with open_repository(settings_from(config, repository=repo)) as repository:
                if repository.is_remote:
                    repository.fetch()
                loader = Loader(repository, drivers)
                inventory = loader.load(repository.commit(rev).id if rev else repository.head())
                findings = loader.last_warnings
    except InventoryError as error:
        findings = error.findings
    if output is Format.JSON:
        print_json({"valid": inventory is not None, "findings": [_json(each) for each in findings]})
    else:
        for finding in findings:
            say(str(finding))
        say(_verdict(inventory, findings))
    if inventory is None:
        raise typer.Exit(ERROR)


def schema(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Directory to write to; without it, to the terminal."),
    ] = None,
    kind: Annotated[str, typer.Option("--kind", help="Which schema to print.")] = "metalwright",
) -> None:
    """Write the JSON Schemas of the documents and of the plan.

    Example: mw schema --out schemas/
             mw schema --kind Node
    """
    texts = schemas() | {"plan.json": plan_schema()}
    if out is None:
        name = f"{kind}.json"
        if name not in texts:
            known = ", ".join(sorted(text.removesuffix(".json") for text in texts))
            raise typer.BadParameter(f"{kind!r} is none of {known}", param_hint="--kind")
        say(texts[name].rstrip("\n"))
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8")
    say(f"{len(texts)} schemas written to {out}")


def _verdict(inventory: Inventory | None, findings: tuple[Finding, ...]) -> str:
    if inventory is None:
        return f"refused: {_count(len(findings), 'problem')}"
    counts = {
        "node": len(inventory.nodes),
        "pool": len(inventory.pools),
        "assignment": len(inventory.assignments),
        "template": len(inventory.resolved),
    } | ({"warning": len(findings)} if findings else {})
    return "valid: " + ", ".join(_count(number, what) for what, number in counts.items())


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _json(finding: Finding) -> dict[str, str | int]:
    return {
        "severity": finding.severity.value,
        "code": finding.code,
        "path": finding.path,
        "line": finding.line,
        "column": finding.column,
        "message": finding.message,
        "value": finding.value,
        "hint": finding.hint,
    }
