"""The command line: `metalwright`, or `mw` for short.

Command names and exit codes are a contract with scripts. 0 is success; `plan` and `apply` tell more
(see `metalwright.plan.exit_code`); 1 is an error, told in one line; 64 is a wrong call, so that it
is never taken for a plan with changes.
"""

from __future__ import annotations

import sys
from inspect import getdoc
from typing import Annotated

import typer

from metalwright import __version__
from metalwright.cli import (
    adopt,
    apply,
    brakes,
    daemon,
    demo,
    inspect,
    lab,
    media,
    netboot,
    node,
    plan,
    queue,
    validate,
)
from metalwright.cli.common import ERROR, USAGE, report, say
from metalwright.errors import InventoryError, MetalwrightError

app = typer.Typer(
    name="metalwright",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        say(f"metalwright {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Keep a fleet of physical machines equal to a git repository."""


for room in (validate, plan, apply, daemon, inspect, queue, node, adopt, brakes, demo):
    room.register(app)
netboot.register(app)
media.register(app)
lab.register(app)

for command in app.registered_commands:
    # Without this mark the examples of a docstring would be filled into one paragraph.
    if command.callback is not None:
        command.help = (getdoc(command.callback) or "").replace("Example:", "\b\nExample:")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    try:
        code = app(arguments, standalone_mode=False)
    except InventoryError as error:
        for finding in error.findings:
            report(str(finding))
        report(f"error: {error}")
        code = ERROR
    except MetalwrightError as error:
        report(f"error: {error}")
        code = ERROR
    except typer.Exit as error:
        code = error.exit_code
    except typer.TyperException as error:
        said = error.format_message()
        report(said if said.startswith("Usage:") else f"error: {said}")  # `mw` alone: its help
        code = USAGE
    except (KeyboardInterrupt, typer.Abort):
        report("stopped")
        code = 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe went away: nothing is left to say
        code = 141
    except OSError as error:  # a file that the caller named, or a full disk
        report(f"error: {error.filename or 'a file'}: {error.strerror or error}")
        code = ERROR
    sys.exit(code if isinstance(code, int) else 0)
