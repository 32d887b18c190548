"""Secrets that are in the inventory's own repository, encrypted with age for this daemon alone.

Each file `secrets/*.age` is a YAML mapping of references to a user name and a password, or to one
value; the identity that opens them is a private file of this machine. What is read is the revision
in force, handed over by whoever reads git: never a work tree. So a secret is rotated, and rolled
back, by a commit. Deciphered secrets are kept in memory until the next revision, and nowhere else.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from metalwright.drivers.secrets_files import read_key
from metalwright.drivers.secrets_values import (
    LOGIN,
    VALUE,
    SecretError,
    SecretsDownError,
    checked,
)

IDENTITY_BYTES_MAX: Final = 65_536
SECRETS_MAX: Final = 20_000
"""Of all files together."""

_Secret = Mapping[str, str]


class AgeSecrets:
    """The provider `age`. It has nothing until `take` was called."""

    name = "age"

    def __init__(self, identity_file: Path, path: str = "secrets") -> None:
        """`path` is where the files are in the repository: a directory, or one file."""
        self.path = path
        self._identity_file = identity_file
        self._lock = threading.Lock()
        self._files: Mapping[str, bytes] | None = None
        self._opened: tuple[bytes, dict[str, _Secret], tuple[str, ...]] | None = None

    def take(self, files: Mapping[str, bytes]) -> None:
        """From now on the secrets are those in these files, by path, of the revision in force."""
        with self._lock:
            self._files, self._opened = dict(files), None

    def find(self, ref: str, parts: tuple[str, ...]) -> tuple[str, ...] | None:
        """The parts of a secret of the revision in force; see `Provider.find`."""
        with self._lock:
            known, troubles = self._secrets()
        secret = known.get(ref)
        if secret is None:
            if troubles:
                raise SecretError("; ".join(troubles))
            return None
        missing = [part for part in parts if part not in secret]
        if missing:
            raise SecretError(f"it has no {missing[0]} in {self.place(ref, parts)}")
        return tuple(
            checked(secret[part].encode(errors="surrogatepass"), part, f"its {part}")
            for part in parts
        )

    peek = find

    def place(self, ref: str, parts: tuple[str, ...]) -> str:
        """The files."""
        del ref, parts
        what = self.path if self.path.endswith(".age") else f"{self.path}/*.age"
        return f"an entry in {what} of the revision in force"

    def _secrets(self) -> tuple[dict[str, _Secret], tuple[str, ...]]:
        """Every secret by reference, and what is wrong with the files that could not be read."""
        if self._files is None:
            raise SecretsDownError("no revision of the inventory is in force yet")
        raw = read_key(self._identity_file, "the age identity", IDENTITY_BYTES_MAX)
        key = hashlib.sha256(raw).digest()
        if self._opened is None or self._opened[0] != key:
            self._opened = (key, *_open_all(self._files, raw))
        return self._opened[1], self._opened[2]


def _open_all(
    files: Mapping[str, bytes], identity: bytes
) -> tuple[dict[str, _Secret], tuple[str, ...]]:
    identities = _identities(identity)
    found: dict[str, _Secret] = {}
    troubles: list[str] = []
    for path, content in sorted(files.items()):
        try:
            entries = _entries(path, _deciphered(path, content, identities))
        except SecretError as error:
            troubles.append(str(error))
            continue
        twice = sorted(found.keys() & entries.keys())
        if twice:
            troubles.append(f"{path} has {twice[0]} again, which another file has already")
            continue
        found |= entries
        if len(found) > SECRETS_MAX:
            raise SecretError(f"there are more than {SECRETS_MAX} secrets in the files")
    return found, tuple(troubles)


def _identities(raw: bytes) -> list[Any]:
    """The identities in a file of age-keygen's, or the one in an SSH key without a passphrase."""
    pyrage = _pyrage()
    try:
        if raw.lstrip().startswith(b"-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(raw)]
        lines = [line.strip() for line in raw.decode("ascii").splitlines()]
        keys = [line for line in lines if line and not line.startswith("#")]
        found = [pyrage.x25519.Identity.from_str(key) for key in keys]
    except (pyrage.IdentityError, UnicodeDecodeError):
        found = []  # no cause: it could carry the key
    if not found:
        raise SecretError(
            "the age identity: the file should have AGE-SECRET-KEY lines, as age-keygen writes"
            " them, or an SSH key without a passphrase"
        )
    return found


def _deciphered(path: str, content: bytes, identities: list[Any]) -> bytes:
    pyrage = _pyrage()
    try:
        return bytes(pyrage.decrypt(content, identities))
    except pyrage.DecryptError as error:
        why = "it is not for our identity" if "matching keys" in str(error) else "it is damaged"
        raise SecretError(f"{path} cannot be deciphered: {why}") from None


def _entries(path: str, text: bytes) -> dict[str, _Secret]:
    """The secrets in a deciphered file. Scalars are taken as they are written: `0123` and `on` are
    passwords, never a number or a truth value.
    """
    import yaml

    trouble: str
    try:
        document = yaml.compose(text.decode(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return _mapping(path, document)
    except UnicodeDecodeError:
        trouble = "is not UTF-8 text"
    except RecursionError:
        trouble = "is nested too deeply"
    except yaml.MarkedYAMLError as error:
        # its line only: the text of the error quotes the file
        mark = error.problem_mark or error.context_mark
        trouble = f"is not YAML{f' (line {mark.line + 1})' if mark is not None else ''}"
    except yaml.YAMLError:
        trouble = "is not YAML"
    raise SecretError(f"{path} {trouble}")


def _mapping(path: str, document: Any) -> dict[str, _Secret]:
    found: dict[str, _Secret] = {}
    for ref, value in _pairs(path, document):
        if value.id == "scalar":
            secret = {VALUE[0]: value.value}
        else:
            secret = {}
            for part, inner in _pairs(path, value):
                if inner.id != "scalar" or part not in (*LOGIN, *VALUE) or part in secret:
                    raise _shape(path, inner)
                secret[part] = inner.value
        if ref in found:
            raise SecretError(f"{path} has two entries of one name (line {_line(value)})")
        found[ref] = secret
    return found


def _pairs(path: str, node: Any) -> list[tuple[str, Any]]:
    if node is None or node.id != "mapping":
        raise _shape(path, node)
    if any(key.id != "scalar" for key, _value in node.value):
        raise _shape(path, node)
    return [(key.value, value) for key, value in node.value]


def _shape(path: str, node: Any) -> SecretError:
    return SecretError(
        f"{path} should map each reference to a username and a password, or to a value"
        f" (line {_line(node)})"
    )


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1 if node is not None else 1


def _pyrage() -> Any:
    try:
        import pyrage
    except ImportError:
        raise SecretError("pyrage is missing: pip install 'metalwright[age]'") from None
    return pyrage
