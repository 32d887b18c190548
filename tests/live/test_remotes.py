"""A remote inventory is mirrored over https and ssh from real servers, and never lost."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from metalwright.errors import RepositoryError
from metalwright.inventory import Loader, Repository
from metalwright.inventory.authoring import commit_all, create_repository

from .git_servers import https_server, ssh_server, write_certificate

pytestmark = pytest.mark.live

EXAMPLE = Path(__file__).parents[2] / "inventory-example"


class Upstream:
    """A bare repository below `root`, and the work tree that is pushed to it."""

    def __init__(self, home: Path) -> None:
        self.root, self.work = home / "srv", home / "work"
        self.root.mkdir()
        self.head = create_repository(self.work, EXAMPLE, "The example")
        bare = self.root / "inventory.git"
        command = ["git", "clone", "--quiet", "--bare", str(self.work), str(bare)]
        subprocess.run(command, check=True, capture_output=True)

    def push(self) -> str:
        """Another commit, pushed."""
        (self.work / "remark.yaml").write_text(f"# after {self.head}\n")
        self.head = commit_all(self.work, "A remark")
        command = ["git", "push", "--quiet", str(self.root / "inventory.git"), "main"]
        subprocess.run(command, cwd=self.work, check=True, capture_output=True)
        return self.head


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path)


def follow(url: str, upstream: Upstream, mirror: Path) -> None:
    """Fetch, load, fetch again after a push."""
    with Repository(f"{url}/inventory.git", "main", mirror=mirror) as repository:
        assert repository.is_remote
        repository.fetch()
        first = repository.head()
        assert first == upstream.head
        assert len(Loader(repository).load(first).nodes) == 48
        second = upstream.push()
        assert repository.head() == first
        repository.fetch()
        assert repository.head() == second
        assert repository.is_ancestor(first, second)


def test_over_https(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = write_certificate(tmp_path)
    mirror = tmp_path / "mirror.git"
    with https_server(upstream.root, certificate) as url:
        with (
            Repository(f"{url}/inventory.git", "main", mirror=mirror) as repository,
            pytest.raises(RepositoryError, match="certificate"),
        ):
            repository.fetch()
        monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate[0]))
        follow(url, upstream, mirror)
        with (
            Repository(f"{url}/absent.git", "main", mirror=tmp_path / "other.git") as repository,
            pytest.raises(RepositoryError, match=r"absent\.git"),
        ):
            repository.fetch()
    with Repository(f"{url}/inventory.git", "main", mirror=mirror) as repository:
        with pytest.raises(RepositoryError):
            repository.fetch()
        assert repository.head() == upstream.head, "the mirror keeps what it had"


def test_over_https_nobody_is_asked_for_a_password(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = write_certificate(tmp_path)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate[0]))
    with https_server(upstream.root, certificate, password="wanted") as url:
        location = f"{url}/inventory.git"
        with (
            Repository(location, "main", mirror=tmp_path / "a.git", fetch_timeout_s=20) as bare,
            pytest.raises(RepositoryError),
        ):
            bare.fetch()
        token = location.replace("https://", "https://git:Canary-7@")
        with Repository(token, "main", mirror=tmp_path / "b.git") as repository:
            repository.fetch()
            assert repository.head() == upstream.head
            assert "Canary-7" not in repository.name


def test_over_ssh(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ssh_server(tmp_path) as (url, login):
        monkeypatch.setenv("GIT_SSH_COMMAND", login)
        follow(f"{url}{upstream.root}", upstream, tmp_path / "mirror.git")
        monkeypatch.setenv("GIT_SSH_COMMAND", login.replace("/user", "/host"))
        location = f"{url}{upstream.root}/inventory.git"
        with (
            Repository(location, "main", mirror=tmp_path / "other.git") as repository,
            pytest.raises(RepositoryError, match="Permission denied"),
        ):
            repository.fetch()
