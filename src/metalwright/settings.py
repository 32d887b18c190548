"""Settings of one installation: where the inventory, state and secrets are, how hard to work.

They come from `metalwright.toml`, each overridable by an environment variable
(`METALWRIGHT_BRANCH`, `METALWRIGHT_OBSERVE__INTERVAL_S`). Nothing about a machine is here: what a
machine should be is in git alone. A secret is never here either, only the directory that holds
them.

`RELOADABLE` lists the settings that a running daemon takes over at SIGHUP or when the file changes;
for the others it says that a restart is needed.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as SourceError

from metalwright.errors import SettingsError
from metalwright.settings_boot import BootSettings
from metalwright.settings_drivers import DriverSettings
from metalwright.settings_secrets import SecretsSettings

ENV_PREFIX = "METALWRIGHT_"
_SECRET = re.compile(r"secret|token|password|url|repository", re.IGNORECASE)
_NO_SETTINGS = frozenset({"METALWRIGHT_CONFIG", "METALWRIGHT_REWRITE_GOLDEN"})
"""Variables that are no settings: which file to read, and one of the tests'."""

_OTHERS = re.compile(
    r"METALWRIGHT_(SECRET_.+_(USERNAME|PASSWORD|VALUE)"
    r"|([A-Z0-9]+_)*(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_.+)?)?))"
)
"""Credentials, which the drivers read, and what Kubernetes tells every container about services
that happen to be called `metalwright` or `metalwright-...` (its "service links").
"""

FILE_NAMES = (Path("metalwright.toml"), Path("/etc/metalwright/metalwright.toml"))

RELOADABLE = frozenset(
    {"observe", "log", "poll_interval_s", "cycle_interval_s", "history_keep_days"}
)

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Workers = Annotated[int, Field(ge=1, le=512)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ObserveSettings(_Section):
    """How often and how patiently the hardware is asked; seconds."""

    interval_s: Seconds = 15.0
    busy_interval_s: Seconds = 2.0
    timeout_s: Seconds = 8.0
    backoff_min_s: Seconds = 5.0
    backoff_max_s: Seconds = 300.0
    credentials_retry_s: Seconds = 300.0
    in_flight_max: Workers = 32


class ExecuteSettings(_Section):
    """How many calls to the hardware run at once, and how long one may take; seconds."""

    effects_in_flight_max: Workers = 32
    effect_timeout_s: Seconds = 20.0
    drain_timeout_s: Seconds = 30.0


class LogSettings(_Section):
    """How the daemon speaks: text for people, JSON for a collector."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


def _default_state_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/metalwright")
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "metalwright"


class Settings(BaseSettings):
    """One installation. `repository` is a local path, or an https, ssh or file URL."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    repository: str = "."
    branch: str = "main"
    state_dir: Path = Field(default_factory=_default_state_dir)
    store_url: str | None = None
    secrets_dir: Path | None = None
    secrets: SecretsSettings = SecretsSettings()
    fetch_timeout_s: Seconds = 60.0
    poll_interval_s: Seconds = 30.0
    cycle_interval_s: Seconds = 15.0
    history_keep_days: Annotated[int, Field(ge=1, le=36_500)] = 730
    observe: ObserveSettings = ObserveSettings()
    execute: ExecuteSettings = ExecuteSettings()
    boot: BootSettings = BootSettings()
    drivers: DriverSettings = DriverSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load_settings` gives: it merges file, environment and overrides itself."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @property
    def store(self) -> str:
        """The SQLAlchemy URL of the store: `store_url`, or SQLite in `state_dir`."""
        return self.store_url or f"sqlite:///{self.state_dir / 'metalwright.sqlite'}"


def find_file(environment: Mapping[str, str]) -> Path | None:
    """The settings file when none is named: `METALWRIGHT_CONFIG`, else the first that exists."""
    named = environment.get(f"{ENV_PREFIX}CONFIG")
    if named:
        return Path(named)
    return next((path for path in FILE_NAMES if path.is_file()), None)


def load_settings(path: Path | None, **overrides: Any) -> Settings:
    """The settings of a file (or the defaults), under the environment, under `overrides`.

    Relative paths in the file are relative to the file, so that the daemon may start anywhere.

    Raises:
        SettingsError: the file cannot be read, is not TOML, or has a wrong or unknown setting, or
            the environment has an unknown one; every problem is named at once.
    """
    strangers = unknown_variables(os.environ)
    if strangers:
        raise SettingsError("\n".join(strangers))
    content = _read(path) if path is not None else {}
    base = path.resolve().parent if path is not None else Path.cwd()
    _make_absolute(content, Settings, base)
    repository = content.get("repository")
    if isinstance(repository, str) and "://" not in repository and ":" not in repository:
        content["repository"] = str(base / repository)
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        merged = _merge(_merge(content, EnvSettingsSource(Settings)()), given)
        return Settings(**merged)
    except (ValidationError, SourceError) as error:
        where = str(path) if path is not None else "settings"
        raise SettingsError(_explain(where, error)) from error


def _make_absolute(section: dict[str, Any], kind: type[BaseModel], base: Path) -> None:
    """Relative paths become those below `base`: of every setting that is a path."""
    for name, field in kind.model_fields.items():
        value, within = section.get(name), field.annotation
        if isinstance(value, str) and (within is Path or Path in get_args(within)):
            section[name] = str(base / value)
        elif isinstance(value, dict) and isinstance(within, type) and issubclass(within, BaseModel):
            _make_absolute(value, within, base)


def unknown_variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    """A line for each variable that looks like one of ours and is none; no line has a value.

    A misspelt setting would otherwise be as if it were not there, and nobody told.
    """
    known = {name.upper() for name in _variables(ENV_PREFIX, Settings)} | _NO_SETTINGS
    lines: list[str] = []
    for name in sorted(environment):
        ours = name.upper().startswith(ENV_PREFIX) and name.upper() not in known
        if not ours or _OTHERS.fullmatch(name) or _of_other_driver(name):
            continue
        nearest = difflib.get_close_matches(name.upper(), sorted(known), n=1, cutoff=0.0)
        lines.append(f"{name}: there is no such setting; the nearest one is {nearest[0]}")
    return tuple(lines)


def _of_other_driver(name: str) -> bool:
    """Whether a variable is a setting of a driver that does not come with Metalwright."""
    found = re.fullmatch(rf"{ENV_PREFIX}DRIVERS__(.+?)__(.+)", name.upper())
    return found is not None and found[1].lower() not in DriverSettings.model_fields


def _variables(prefix: str, section: type[BaseModel]) -> Iterator[str]:
    """The variables of every setting of a section, and of the sections within it."""
    for name, field in section.model_fields.items():
        yield f"{prefix}{name}"
        within = field.annotation
        if isinstance(within, type) and issubclass(within, BaseModel):
            yield from _variables(f"{prefix}{name}__", within)


def changes(old: Settings, new: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(taken over at once, need a restart): the names of the top-level settings that differ."""
    differing = [name for name in Settings.model_fields if getattr(old, name) != getattr(new, name)]
    return (
        tuple(name for name in differing if name in RELOADABLE),
        tuple(name for name in differing if name not in RELOADABLE),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not TOML: {error}") from error


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid upon `under`, section by section."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(below, value) if both and below is not None else value
    return merged


def _explain(where: str, error: ValidationError | SourceError) -> str:
    if isinstance(error, SourceError):
        return f"{where}: {error}"
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        got = problem.get("input")
        plain = isinstance(got, str | int | float | bool) and not _SECRET.search(name)
        shown = f" (got {got!r})" if plain else ""
        message = problem["msg"]
        if problem["type"] == "extra_forbidden":
            message = "there is no such setting"
            shown = ""  # it may be a secret that was written to where it does not belong
        lines.append(f"{where}: {name}: {message}{shown}")
    return "\n".join(lines)
