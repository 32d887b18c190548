"""Every call of git: with fixed switches, a bounded time, and errors in one vocabulary.

GitPython runs the small commands (references, revisions, log, fetch); this module adds what its
README asks of the caller: arguments are fixed vectors, never keyword arguments from outside; every
call has a time-out; the environment cannot point git elsewhere; and nothing that a repository's own
configuration says is run (hooks, pagers, signature programs, file system monitors, remote helpers).

It never writes into a repository and knows nothing of branches or inventories.
"""

from __future__ import annotations

import configparser
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from metalwright.errors import RepositoryError
from metalwright.inventory.location import without_secrets

if TYPE_CHECKING:
    import git

READ_TIMEOUT_S: Final = 60.0
ERROR_TEXT_MAX: Final = 600

_SWITCHES: Final = tuple(
    part
    for setting in (
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "core.quotePath=false",
        "core.warnAmbiguousRefs=false",
        "core.alternateRefsCommand=false",
        "core.useReplaceRefs=false",
        "color.ui=false",
        "advice.graftFileDeprecated=false",
        "fetch.fsckObjects=true",
        "transfer.fsckObjects=true",
        "fetch.recurseSubmodules=false",
        "submodule.recurse=false",
        "fetch.writeCommitGraph=false",
        "gc.auto=0",
        "maintenance.auto=false",
        "i18n.logOutputEncoding=UTF-8",
        "log.showSignature=false",
        "log.showRoot=true",
        "log.mailmap=false",
        "protocol.allow=never",
        "protocol.file.allow=always",
        "protocol.https.allow=always",
        "protocol.ssh.allow=always",
    )
    for part in ("-c", setting)
)
_BATCH_SSH: Final = "ssh -oBatchMode=yes -oConnectTimeout=20"
_SIGNAL = re.compile(r"^(fatal|error|warning|hint): ?", re.MULTILINE)


def environment(git_dir: Path, common_dir: Path, protocols: Sequence[str]) -> dict[str, str]:
    """What git is to see in its environment, over the process's own.

    Each variable that could point git at another repository is set (a hook that calls us has them
    set). `GIT_ALLOW_PROTOCOL` outranks every `protocol.*` of a repository's own configuration; a
    local read allows none, so that a partial clone's missing blob starts no network call.
    """
    return {
        "GIT_DIR": str(git_dir),
        "GIT_COMMON_DIR": str(common_dir),
        "GIT_OBJECT_DIRECTORY": str(common_dir / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": "",
        "GIT_NAMESPACE": "",
        "GIT_PREFIX": "",
        "GIT_GRAFT_FILE": os.devnull,
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_ALLOW_PROTOCOL": ":".join(protocols) or "none",
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "SSH_ASKPASS_REQUIRE": "never",
        "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", _BATCH_SSH),
        "GIT_SSH_VARIANT": "ssh",
        "GIT_PAGER": "cat",
        "GIT_EDITOR": "false",
    }


def gitpython() -> type[git.Git]:
    """GitPython's command class.

    Raises:
        RepositoryError: the git program is missing (GitPython fails at import then).
    """
    try:
        import git
    except ImportError as error:
        raise RepositoryError("the program git is not installed, or not on PATH") from error
    return git.Git


class GitCommands:
    """git in one repository. One per thread; it holds no process between calls."""

    def __init__(self, git_dir: Path, common_dir: Path, protocols: Sequence[str]) -> None:
        self._environment = environment(git_dir, common_dir, protocols)
        self._git = gitpython()(str(common_dir))

    def run(
        self,
        arguments: Sequence[str],
        *,
        stdin: IO[bytes] | None = None,
        timeout_s: float = READ_TIMEOUT_S,
    ) -> tuple[int, str, str]:
        """(exit status, output, errors without credentials) of one command.

        Raises:
            RepositoryError: git is missing or did not end in time.
        """
        import git

        try:
            result: Any = self._git.execute(
                ["git", *_SWITCHES, *arguments],
                istream=stdin,  # type: ignore[arg-type]
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                kill_after_timeout=timeout_s,
                env=self._environment,
                start_new_session=True,
            )
        except git.GitCommandNotFound as error:
            raise RepositoryError("the program git is not installed, or not on PATH") from error
        except OSError as error:
            raise RepositoryError(f"git could not be started: {error}") from error
        status, out, errors = int(result[0]), bytes(result[1] or b""), clean(str(result[2]))
        if status == -signal.SIGKILL:
            raise RepositoryError(f"git {arguments[0]} did not end within {timeout_s:g} s")
        return status, out.decode("utf-8", "replace"), errors

    def output(
        self,
        arguments: Sequence[str],
        *,
        stdin: IO[bytes] | None = None,
        timeout_s: float = READ_TIMEOUT_S,
    ) -> str:
        """The output of a command that must succeed.

        Raises:
            RepositoryError: it did not, or not in time; the message is git's, without credentials.
        """
        status, out, err = self.run(arguments, stdin=stdin, timeout_s=timeout_s)
        if status != 0:
            raise RepositoryError(f"git {arguments[0]} failed: {err or f'exit status {status}'}")
        return out

    def stream(self, arguments: Sequence[str], stdin: IO[bytes] | None) -> subprocess.Popen[bytes]:
        """A process for a bulk read; the caller reads its output and ends it."""
        return subprocess.Popen(
            ["git", *_SWITCHES, *arguments],
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_full(self._environment),
            start_new_session=True,
        )


def open_repository(directory: Path) -> tuple[Path, Path]:
    """(git directory, common directory) of a work tree, a linked work tree or a bare repository.

    Raises:
        RepositoryError: it is none of them.
    """
    gitpython()
    import git

    try:
        with git.Repo(directory.absolute(), expand_vars=False) as repo:
            return Path(repo.git_dir).absolute(), Path(repo.common_dir).absolute()
    except git.NoSuchPathError:
        raise RepositoryError(f"{directory} does not exist") from None
    except git.InvalidGitRepositoryError:
        raise RepositoryError(
            f"{directory} is not the top of a git repository (a work tree or a bare repository)"
        ) from None
    except (git.GitError, configparser.Error, OSError, ValueError) as error:
        raise RepositoryError(
            f"{directory} cannot be opened as a git repository: {error}"
        ) from error


def _full(overrides: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "LANGUAGE": "C", "LC_ALL": "C", **overrides}


def clean(text: str) -> str:
    """An error text of git on one line, without credentials and without its own prefixes."""
    flat = " ".join(_SIGNAL.sub("", without_secrets(text)).split())
    return flat if len(flat) <= ERROR_TEXT_MAX else flat[: ERROR_TEXT_MAX - 3] + "..."
