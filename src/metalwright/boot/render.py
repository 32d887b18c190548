"""Templates of user data, kernel arguments and installer files, made into text for one node.

They are written by whoever may open a pull request, so they are rendered in a process of their own
(`render_worker.py`), within limits of memory, length and time. What a template may see is what the
caller gives it, and the secrets that it names.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

from metalwright.boot.render_worker import serve
from metalwright.errors import MetalwrightError, TemporaryError

RENDER_TIMEOUT_S = 5.0
"""How long one template may take."""

START_TIMEOUT_S = 30.0
"""How long the process may take to be there."""


class RenderError(MetalwrightError):
    """A template that gives no text, and why; never with a secret."""


class RenderLaterError(RenderError):
    """One that gives no text now: what has its secrets cannot be asked. Worth another try."""


class Renderer:
    """One process that renders, started when it is needed, and anew after it had to be killed.

    Safe to call from many threads; they wait for each other.
    """

    def __init__(self, secret: Callable[[str], str]) -> None:
        """`secret` looks a reference up; it raises TemporaryError where it cannot ask now, another
        MetalwrightError where there is none.
        """
        self._secret = secret
        self._lock = threading.Lock()
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def render(self, what: str, text: str, context: Mapping[str, Any]) -> str:
        """`text` with `context`; `what` names it in errors (`user data of template ci`).

        Raises:
            RenderError: a mistake in the template, a name that is not there, a secret that is not
                there, or more memory, time or text than there is for one.
        """
        if "{" not in text:
            return text
        with self._lock:
            secrets: dict[str, str] = {}
            if "secret" in text:
                for reference in self._ask(what, "secrets", text, {}):
                    try:
                        secrets[reference] = self._secret(reference)
                    except TemporaryError as error:
                        raise RenderLaterError(f"{what}: {error}") from error
                    except MetalwrightError as error:
                        raise RenderError(f"{what}: {error}") from error
            return str(self._ask(what, "render", text, {**context, "secrets": secrets}))

    def close(self) -> None:
        """End the process. A later call starts another."""
        with self._lock:
            self._kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, what: str, kind: str, text: str, context: Mapping[str, Any]) -> Any:
        connection = self._started()
        try:
            connection.send((kind, text, context))
            if not connection.poll(RENDER_TIMEOUT_S):
                self._kill()
                raise RenderError(f"{what}: takes longer than {RENDER_TIMEOUT_S:g} s")
            outcome, value = connection.recv()
        except (EOFError, OSError) as error:
            self._kill()
            raise RenderError(f"{what}: ended the process that rendered it") from error
        if outcome == "error":
            raise RenderError(f"{what}: {value}")
        return value

    def _started(self) -> Connection:
        if self._connection is not None:
            return self._connection
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=serve, args=(theirs,), name="render", daemon=True)
        process.start()
        theirs.close()
        self._process, self._connection = process, ours
        # The first answer takes as long as the interpreter does to start.
        ours.send(("secrets", "", {}))
        if not ours.poll(START_TIMEOUT_S):
            self._kill()
            raise RenderError(f"the renderer did not start within {START_TIMEOUT_S:g} s")
        try:
            ours.recv()
        except (EOFError, OSError) as error:
            self._kill()
            raise RenderError("the renderer ended when it started") from error
        return ours

    def _kill(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        self._connection = self._process = None
