"""What the boot service needs from outside, and nothing more of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from metalwright.model.boots import IssuedBoot, Noted
from metalwright.model.operation import Memory, Operation
from metalwright.model.report import DiskFact, Phase, Report
from metalwright.model.template import Artifact


class Records(Protocol):
    """The durable record. See `metalwright.store.Store`, which is one."""

    def batch(self) -> AbstractContextManager[None]:
        """Let nobody of this process write between what is read and what is written within."""

    def memory(self) -> Memory:
        """What is remembered of the fleet."""

    def operation(self, operation_id: str) -> Operation | None:
        """One operation, ended or not."""

    def issue_boot(self, boot: IssuedBoot, detail: str) -> None:
        """Keep a new boot; the earlier ones of its node end."""

    def boot(self, token_sha256: str) -> IssuedBoot | None:
        """The boot of a token."""

    def use_boot(self, token_sha256: str, at: datetime) -> None:
        """Note that a token was used."""

    def report(
        self,
        report: Report,
        token_sha256: str,
        detail: str | None = None,
        disks: tuple[DiskFact, ...] | None = None,
        *,
        wiped: bool = False,
    ) -> None:
        """Keep a report, its evidence, and what the machine was told."""

    def said(self, node: str, operation_id: str, attempt: int) -> Phase | None:
        """The furthest that was reported in this attempt."""

    def note(self, lines: Sequence[Noted], at: datetime) -> None:
        """Write lines to the journal."""


class Images(Protocol):
    """The checked artifacts. See `metalwright.boot.images.ImageCache`."""

    def get(self, artifact: Artifact) -> Path:
        """The file, fetched when it is not there. Raises ImageError."""

    def at_hand(self, artifact: Artifact) -> Path | None:
        """The file where it is here and checked; never waits."""

    def holds(self, sha256: str) -> bool:
        """Whether it is there."""


class Texts(Protocol):
    """Templates made into text. See `metalwright.boot.render.Renderer`."""

    def render(self, what: str, text: str, context: Mapping[str, Any]) -> str:
        """`text` with `context`. Raises RenderError."""
