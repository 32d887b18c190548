"""What the commands share: options, consoles, how settings and a fleet are opened."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic_core import PydanticCustomError
from rich.console import Console

from metalwright.daemon.clock import system_clock
from metalwright.errors import SettingsError
from metalwright.model.fields import parse_instant
from metalwright.model.inventory import Inventory, attributes
from metalwright.model.selector import SelectorError, parse_selector
from metalwright.settings import Settings, find_file, load_settings

OK, ERROR, USAGE = 0, 1, 64


@cache
def console() -> Console:
    """Standard output as rich sees it: its width, and whether it is a terminal."""
    return Console()


class Format(StrEnum):
    """How a command prints."""

    TEXT = "text"
    JSON = "json"


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings file; else METALWRIGHT_CONFIG, ./metalwright.toml, /etc/metalwright/.",
    ),
]
RepoOption = Annotated[
    str | None,
    typer.Option("--repo", metavar="R", help="Inventory repository: a path or a URL."),
]
FormatOption = Annotated[
    Format, typer.Option("--format", help="text for people, json for programs.")
]
NodeArgument = Annotated[str, typer.Argument(metavar="NODE", help="Name of a node.")]


def settings_from(config: Path | None, **overrides: Any) -> Settings:
    """The settings for one command. Raises SettingsError."""
    path = settings_path(config)
    settings = load_settings(path, **overrides)
    if path is None and settings.repository == "." and not _is_repository(Path()):
        raise SettingsError(
            "no settings file was found, and the current directory is not a git repository: "
            "give --config FILE, or --repo R, or go to the top of the inventory"
        )
    return settings


def _is_repository(directory: Path) -> bool:
    """Whether it looks like the top of a work tree or a bare repository; the opening decides."""
    return (directory / ".git").exists() or (directory / "HEAD").exists()


def settings_path(config: Path | None) -> Path | None:
    """The settings file that `settings_from` reads, if any."""
    return config if config is not None else find_file(os.environ)


def instant_option(text: str | None) -> datetime:
    """The instant of `--at`, now when it was not given. Raises a usage error."""
    if text is None:
        return system_clock()
    try:
        return parse_instant(text)
    except PydanticCustomError as error:
        raise typer.BadParameter(error.message(), param_hint="--at") from error


def select(inventory: Inventory, texts: Iterable[str]) -> frozenset[str]:
    """The names of the nodes that any of these selectors selects.

    Raises:
        typer.BadParameter: one is no selector, or selects no node of the inventory.
    """
    names: set[str] = set()
    for text in texts:
        try:
            selector = parse_selector(text)
        except SelectorError as error:
            raise typer.BadParameter(str(error)) from error
        found = {
            name
            for name, node in inventory.nodes.items()
            if selector.matches(name, attributes(node, inventory.pool_of.get(name)))
        }
        if not found:
            revision = inventory.revision.id[:12]
            raise typer.BadParameter(f"{text!r} selects no node of revision {revision}")
        names |= found
    return frozenset(names)


def print_json(value: Any) -> None:
    """Write one JSON document to standard output, never wrapped or coloured."""
    typer.echo(value if isinstance(value, str) else json.dumps(value, indent=2, sort_keys=True))


def say(text: str) -> None:
    """Write plain text to standard output, never wrapped or coloured."""
    typer.echo(text)


def report(text: str) -> None:
    """Write plain text to standard error, never wrapped or coloured."""
    typer.echo(text, err=True)
