"""`mw daemon`: reconcile until told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metalwright.daemon import Service
from metalwright.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("daemon")(daemon)


def daemon(
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="Settings file, watched for changes.")
    ],
) -> None:
    """Reconcile until stopped. SIGTERM finishes the running step, SIGHUP reloads the settings.

    Example: mw daemon --config /etc/metalwright/metalwright.toml
    """
    service = Service(load_settings(config), config)
    service.install_signals()
    service.run()
