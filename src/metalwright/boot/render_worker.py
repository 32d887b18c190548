"""The process in which templates of strangers are rendered: Jinja2's sandbox within hard limits.

A sandbox keeps a template from reaching Python; it does not keep it from asking for two gigabytes,
or for ever. So the process has no more memory than `MEMORY_BYTES_MAX` above what it starts with,
may write no file and start no other process, and is killed by its parent when time is up.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY_BYTES_MAX = 128 * 1024 * 1024
TEXT_CHARACTERS_MAX = 1_000_000
"""The longest text that comes out of one template."""

ERROR_CHARACTERS_MAX = 400
"""The most of an error that is told."""


def serve(connection: Connection) -> None:
    """Answer requests `(kind, text, context)` with `("ok", value)` or `("error", words)`; no secret
    is in the words.

    `kind` is `render` (the value is the text) or `secrets` (the references that the template asks
    for, as literal text, sorted).
    """
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True
    )
    # What is compiled at the first template is there before the limits are.
    environment.from_string("{% for a in b %}{{ a | join(',') }}{% endfor %}").render(b=[])
    _limit()
    while True:
        try:
            kind, text, context = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer: tuple[str, Any] = ("ok", _ANSWERS[kind](environment, text, context))
        except MemoryError:
            answer = ("error", f"needs more than {MEMORY_BYTES_MAX // 1024 // 1024} MiB of memory")
        except (TemplateError, SecurityError) as error:
            answer = ("error", _words(error, context))
        except RecursionError:
            answer = ("error", "is nested too deeply")
        except Exception as error:  # noqa: BLE001  a template may divide by zero; it is its author's
            answer = ("error", f"{type(error).__name__}: {_said(error, context)}")
        connection.send(answer)


def _limit() -> None:
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123
        used = int(statm.read().split()[0]) * resource.getpagesize()
    most = used + MEMORY_BYTES_MAX
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _render(
    environment: ImmutableSandboxedEnvironment, text: str, context: Mapping[str, Any]
) -> str:
    secrets: Mapping[str, str] = context["secrets"]

    def secret(reference: str) -> str:
        if reference not in secrets:
            raise SecurityError("secret() takes a reference as literal text, such as 'app/token'")
        return secrets[reference]

    parts: list[str] = []
    length = 0
    values = {key: value for key, value in context.items() if key != "secrets"}
    for part in environment.from_string(text).generate(**values, secret=secret):
        length += len(part)
        if length > TEXT_CHARACTERS_MAX:
            raise TemplateError(f"gives more than {TEXT_CHARACTERS_MAX} characters")
        parts.append(part)
    return "".join(parts)


def _secrets(
    environment: ImmutableSandboxedEnvironment, text: str, _context: Mapping[str, Any]
) -> list[str]:
    found = set()
    for call in environment.parse(text).find_all(nodes.Call):
        named = isinstance(call.node, nodes.Name) and call.node.name == "secret"
        if named and len(call.args) == 1 and isinstance(call.args[0], nodes.Const):
            found.add(str(call.args[0].value))
    return sorted(found)


_ANSWERS: Mapping[str, Callable[..., Any]] = {"render": _render, "secrets": _secrets}


def _words(error: TemplateError, context: Mapping[str, Any]) -> str:
    line = f"line {error.lineno}: " if isinstance(error, TemplateSyntaxError) else ""
    return f"{line}{_said(error, context)}"


def _said(error: Exception, context: Mapping[str, Any]) -> str:
    """What an error says, without secrets. They are taken out before it is cut, since a part of one
    would not be found, and as Python shows them too: Jinja quotes a name that is not there.
    """
    words = str(error)
    values = [value for value in context.get("secrets", {}).values() if value]
    for value in sorted({*values, *(repr(value)[1:-1] for value in values)}, key=len, reverse=True):
        words = words.replace(value, "***")
    return words[:ERROR_CHARACTERS_MAX]
