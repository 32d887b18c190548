"""The repository: read safely, fetched without losing anything, one kind of error."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metalwright.errors import RepositoryError
from metalwright.inventory import Loader, Repository
from metalwright.inventory.location import parse_location, without_secrets

from .git_repository import ENVIRONMENT, GitRepository, git
from .samples import fleet


def refs(path: Path) -> list[str]:
    return git(path, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()


@pytest.fixture
def worktree(origin: GitRepository, tmp_path: Path) -> Path:
    origin.commit({"a.yaml": "a: 1\n"}, subject="first")
    path = tmp_path / "checkout"
    git(tmp_path, "clone", "--quiet", str(origin.path), str(path))
    return path


def test_a_work_tree_a_linked_one_and_a_bare_repository_are_read(
    origin: GitRepository, worktree: Path, tmp_path: Path
) -> None:
    linked = tmp_path / "linked"
    git(worktree, "worktree", "add", "--quiet", "-b", "side", str(linked))
    (linked / "b.yaml").write_text("b: 1\n")
    git(linked, "add", "b.yaml")
    git(linked, "commit", "--quiet", "-m", "on the side")
    for location, branch, subject in (
        (origin.path, "main", "first"),
        (worktree, "main", "first"),
        (worktree / ".git", "main", "first"),
        (linked, "side", "on the side"),
        (linked, "main", "first"),
    ):
        with Repository(str(location), branch, mirror=None) as repository:
            assert repository.commit(repository.head()).subject == subject
            assert not repository.is_remote
            repository.fetch()


def test_what_is_not_committed_is_not_seen(worktree: Path) -> None:
    with Repository(str(worktree), "main", mirror=None) as repository:
        (worktree / "a.yaml").write_text("a: 2\n")
        (worktree / "new.yaml").write_text("b: 1\n")
        git(worktree, "add", "-A")
        entries = repository.files(repository.head())
        assert [entry.path for entry in entries] == [b"a.yaml"]
        assert dict(repository.blobs([entries[0].id])) == {entries[0].id: b"a: 1\n"}
        assert repository.sizes([entries[0].id]) == {entries[0].id: 5}


def test_commits_have_author_subject_and_time(origin: GitRepository) -> None:
    first = origin.commit({"a": "1"}, subject="first: é ☃\n\nmore text")
    second = origin.commit({"a": "2"}, subject="second")
    with Repository(str(origin.path), "main", mirror=None) as repository:
        assert [commit.id for commit in repository.commits("main", 10)] == [second, first]
        assert len(repository.commits("main", 1)) == 1
        assert repository.commits("main", 0) == ()
        found = repository.commit("main~1")
        assert found.subject == "first: é ☃"
        assert found.author == "Ada Lab <ada@lab.example>"
        assert found.at == datetime.fromtimestamp(1_800_000_001, UTC)


def test_a_commit_of_any_size_costs_little(origin: GitRepository) -> None:
    origin.commit({"a": "1"}, subject="x" * 3_000_000)
    with Repository(str(origin.path), "main", mirror=None) as repository:
        assert len(repository.commit("main").subject) <= 400


@pytest.mark.parametrize("moment", ["99999999999999999999 +0000", "-5 +0000", "0 -9999"])
def test_a_commit_outside_of_the_calendar_is_still_a_commit(
    origin: GitRepository, moment: str
) -> None:
    tree = git(origin.path, "mktree")
    text = f"tree {tree}\nauthor A <a@b> {moment}\ncommitter A <a@b> {moment}\n\nodd\n"
    identity = git(
        origin.path, "hash-object", "-t", "commit", "-w", "--stdin", "--literally",
        stdin=text.encode(),
    )  # fmt: skip
    with Repository(str(origin.path), "main", mirror=None) as repository:
        assert repository.commit(identity).subject == "odd"


@pytest.mark.parametrize(
    "revision",
    [
        *("", "nope", "--output=evil", "-n1", "^main", ":/first", ":a.yaml", "main:a.yaml"),
        *("main..main", "main^{tree}", "HEAD~99", "@{upstream}", "f" * 40, "main\nmain", "main\0"),
        *("x" * 300, "refs/heads/", "--all", "main --output=evil", "HEAD^{/never}", "\udcff"),
    ],
)
def test_a_revision_that_is_no_commit_is_refused(
    origin: GitRepository, tmp_path: Path, revision: str
) -> None:
    origin.commit({"a.yaml": "1"}, subject="first")
    with Repository(str(origin.path), "main", mirror=None) as repository:
        with pytest.raises(RepositoryError):
            repository.commit(revision)
        with pytest.raises(RepositoryError):
            repository.latest_commit(revision, ["a.yaml"])
    assert not list(tmp_path.rglob("evil*"))


def test_ancestry_shows_a_rewritten_history(origin: GitRepository) -> None:
    first = origin.commit({"a": "1"})
    second = origin.commit({"a": "2"})
    rewritten = origin.commits([("other", {"a": "3"})])[0]
    with Repository(str(origin.path), "main", mirror=None) as repository:
        assert repository.is_ancestor(first, second)
        assert repository.is_ancestor(second, second)
        assert not repository.is_ancestor(second, first)
        assert not repository.is_ancestor(second, rewritten)
        assert not repository.is_ancestor("1" * 40, second)
        for old, new in ((first, "1" * 40), ("main", second), (first, "--all")):
            with pytest.raises(RepositoryError):
                repository.is_ancestor(old, new)


def test_what_git_said_of_a_commit_is_not_asked_again(origin: GitRepository) -> None:
    first = origin.commit({"a.yaml": "a: 1\n"}, subject="first")
    second = origin.commit({"a.yaml": "a: 2\n"}, subject="second")
    with Repository(str(origin.path), "main", mirror=None) as repository:
        assert repository.is_ancestor(first, second)
        shutil.rmtree(origin.path / "objects")
        assert repository.is_ancestor(first, second)
        assert repository.resolve(second) == second
        with pytest.raises(RepositoryError):
            repository.resolve(first)


def test_the_latest_commit_of_paths(origin: GitRepository) -> None:
    first = origin.commit({"a": "1", "d/b": "1"}, subject="first")
    second = origin.commit({"a": "2"}, subject="second")
    third = origin.commit({"*": "3"}, subject="third")
    with Repository(str(origin.path), "main", mirror=None) as repository:

        def latest(*paths: str, since: str | None = None, of: str = "main") -> str | None:
            found = repository.latest_commit(of, paths, since=since)
            return None if found is None else found.id

        assert latest("a") == second
        assert latest("d/b") == first
        assert latest("d") == first
        assert latest("a", "d/b") == second
        assert latest("*") == third, "a path is taken literally"
        assert latest("nothing") is None
        assert latest() == third
        assert latest("a", of=first) == first
        assert latest("a", since=first) == second
        assert latest("d/b", since=second) == first, "falls back to the whole history"
        assert latest("--output=evil", "-n") is None
        assert latest(*(f"none/{number}" for number in range(20_000)), "a") == second
        with pytest.raises(RepositoryError):
            latest("a\nb")


def test_a_merge_is_not_taken_for_the_change_that_it_merged(
    origin: GitRepository, worktree: Path
) -> None:
    git(worktree, "checkout", "--quiet", "-b", "side")
    (worktree / "s.yaml").write_text("s: 1\n")
    git(worktree, "add", "-A")
    git(worktree, "commit", "--quiet", "-m", "side")
    git(worktree, "checkout", "--quiet", "main")
    git(worktree, "merge", "--quiet", "--no-ff", "-m", "merge", "side")
    with Repository(str(worktree), "main", mirror=None) as repository:
        found = repository.latest_commit("main", ["s.yaml"], since="main~1")
        assert found is not None
        assert found.subject == "side"


def test_one_call_tells_the_latest_commits_of_all_files_of_a_line(origin: GitRepository) -> None:
    made = [origin.commit({f"f{number}": "1"}, subject=f"s{number}") for number in range(40)]
    made.append(origin.commit({"f39": None, "new\nline": "x"}, subject="removed"))
    with Repository(str(origin.path), "main", mirror=None) as repository:
        newest = repository.latest_commit("main", ["f39"])
        assert newest is not None
        assert (newest.id, newest.subject) == (made[-1], "removed")
        too_far_back = repository.latest_commit("main", ["f3"])
        assert too_far_back is not None
        assert too_far_back.id == made[3]
        shutil.rmtree(origin.path / "objects")
        for number in (38, 37, 12):
            found = repository.latest_commit(made[-1], [f"f{number}", "none"])
            assert found is not None
            assert found.id == made[number], "read off the list that git gave before"


# --- what a repository can be instead of one -------------------------------------------------


def test_locations_that_are_no_repository(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / ".git").write_text("gitdir: /nowhere\n")
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / ".git").write_bytes(b"\xff\0\xfe")
    for name in ("missing", "file", "empty", "broken", "garbage", "$HOME", "~nobody-here"):
        with pytest.raises(RepositoryError, match=r"exist|repository|opened"):
            Repository(str(tmp_path / name), "main", mirror=None)


@pytest.mark.parametrize(
    "location",
    [
        *("ext::sh -c 'touch evil'", "git://host/x", "http://host/x", "ftp://host/x", "fd::17"),
        *(
            "-oProxyCommand=x",
            "ssh://-oProxyCommand=x/y",
            "ssh://-x@host/y",
            "https://",
            "ssh:///x",
        ),
        *("file://host/x", "https://host", "https://[::1/x", "", "a\nb", "\0", "x" * 3_000),
        *("EXT::x", "https://host:port:1/", "file:relative::x"),
    ],
)
def test_locations_that_git_must_never_see(location: str, tmp_path: Path) -> None:
    with pytest.raises(RepositoryError):
        Repository(location, "main", mirror=tmp_path / "mirror")
    assert not (tmp_path / "mirror").exists()


@pytest.mark.parametrize(
    "branch",
    [
        *("", "-x", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "/a", "a/", ".a"),
        *("a.", "a.lock", "a/.b", "a//b", "a@{b", "@", "a\nb", "a\0b", "x" * 300, "a.lock/b"),
    ],
)
def test_names_that_no_branch_has(branch: str, origin: GitRepository) -> None:
    with pytest.raises(RepositoryError, match="branch"):
        Repository(str(origin.path), branch, mirror=None)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://user:pass@host/x.git", "https://***@host/x.git"),
        ("https://token@host/x.git", "https://***@host/x.git"),
        ("ssh://git@host:22/x.git", "ssh://***@host:22/x.git"),
        ("git@host:team/x.git", "git@host:team/x.git"),
        ("file:///srv/x.git", "file:///srv/x.git"),
    ],
)
def test_credentials_of_a_url_are_never_shown(location: str, shown: str) -> None:
    found = parse_location(location)
    assert (found.shown, found.url, found.directory) == (shown, location, None)


def test_a_path_with_a_colon_is_a_path_where_it_exists(tmp_path: Path) -> None:
    odd = GitRepository(tmp_path / "lab:inventory")
    odd.commit({"a": "1"})
    with Repository(str(odd.path), "main", mirror=None) as repository:
        assert len(repository.head()) == 40


def test_errors_of_git_are_shown_without_credentials(tmp_path: Path) -> None:
    location = "https://user:hunter2@localhost:1/inventory.git"
    with (
        Repository(location, "main", mirror=tmp_path / "m", fetch_timeout_s=20) as repository,
        pytest.raises(RepositoryError) as caught,
    ):
        repository.fetch()
    assert "hunter2" not in str(caught.value)
    assert "localhost" in str(caught.value)
    assert without_secrets("fatal: 'https://a:b@h/x' and ssh://c@h") == (
        "fatal: 'https://***@h/x' and ssh://***@h"
    )


def test_a_repository_without_a_commit_or_without_the_branch(origin: GitRepository) -> None:
    with Repository(str(origin.path), "main", mirror=None) as repository:
        with pytest.raises(RepositoryError, match="no commit on any branch yet"):
            repository.head()
        with pytest.raises(RepositoryError):
            Loader(repository).load("main")
        origin.commit({"a": "1"})
        assert len(repository.head()) == 40
        git(origin.path, "branch", "-m", "main", "trunk")
        with pytest.raises(RepositoryError, match="no branch 'main'; it has trunk"):
            repository.head()


def test_a_damaged_repository_is_an_error_not_an_empty_one(origin: GitRepository) -> None:
    origin.commit(dict(fleet()))
    git(origin.path, "unpack-objects", stdin=b"PACK\0\0\0\2\0\0\0\0" + bytes.fromhex(
        "029d08823bd8a8eab510ad6ac75c823cfd3ed31e"))  # fmt: skip
    blob = git(origin.path, "rev-parse", "main:nodes.yaml")
    tree = git(origin.path, "rev-parse", "main^{tree}")
    for lost in (blob, tree):
        copy = origin.path.parent / f"damaged-{lost[:6]}.git"
        shutil.copytree(origin.path, copy)
        loosen(copy)
        (copy / "objects" / lost[:2] / lost[2:]).unlink()
        with (
            Repository(str(copy), "main", mirror=None) as repository,
            pytest.raises(RepositoryError),
        ):
            Loader(repository).load("main")


def loosen(path: Path) -> None:
    """Unpacks every pack of a repository into single objects."""
    for pack in (path / "objects" / "pack").glob("*.pack"):
        data = pack.read_bytes()
        pack.unlink()
        for other in pack.parent.glob(f"{pack.stem}.*"):
            other.unlink()
        git(path, "unpack-objects", "-q", stdin=data)


def test_a_repository_that_is_gone_or_closed(origin: GitRepository, tmp_path: Path) -> None:
    origin.commit({"a": "1"})
    repository = Repository(str(origin.path), "main", mirror=None)
    shutil.move(origin.path, tmp_path / "elsewhere")
    with pytest.raises(RepositoryError):
        repository.head()
    repository.close()
    repository.close()
    with pytest.raises(RepositoryError):
        repository.head()


def test_a_repository_cannot_make_us_run_its_programs(origin: GitRepository) -> None:
    origin.commit(dict(fleet()))
    evil = origin.path / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {origin.path}/ran\n")
    evil.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "core.editor", "gpg.program", "core.sshCommand",
                "diff.external", "core.alternateRefsCommand", "uploadpack.packObjectsHook",
                "alias.log", "core.askPass", "core.hooksPath"):  # fmt: skip
        git(origin.path, "config", key, str(evil))
    git(origin.path, "config", "log.showSignature", "true")
    git(origin.path, "config", "protocol.ext.allow", "always")
    git(origin.path, "config", "remote.origin.url", f"ext::{evil}")
    git(origin.path, "config", "remote.origin.promisor", "true")
    git(origin.path, "config", "extensions.partialClone", "origin")
    with Repository(str(origin.path), "main", mirror=None) as repository:
        inventory = Loader(repository).load("main")
        repository.latest_commit("main", ["nodes.yaml"])
        repository.commits("main", 10)
        with pytest.raises(RepositoryError):
            list(repository.blobs(["1" * 40]))  # a partial clone would fetch it, with ext::
    assert len(inventory.nodes) == 3
    assert not (origin.path / "ran").exists()


def test_attributes_and_replacements_of_a_repository_change_nothing(origin: GitRepository) -> None:
    files = fleet() | {".gitattributes": "*.yaml export-ignore export-subst text eol=crlf ident\n"}
    origin.commit(dict(files))
    first = git(origin.path, "rev-parse", "main:nodes.yaml")
    other = git(origin.path, "hash-object", "-w", "--stdin", stdin=b"kind: Nothing\n")
    git(origin.path, "replace", first, other)
    with Repository(str(origin.path), "main", mirror=None) as repository:
        assert len(Loader(repository).load("main").nodes) == 3


def test_the_environment_of_a_hook_does_not_lead_elsewhere(
    origin: GitRepository, tmp_path: Path
) -> None:
    origin.commit(dict(fleet()))
    other = GitRepository(tmp_path / "other.git")
    other.commit({"a": "1"}, subject="other")
    script = (
        "from metalwright.inventory import Loader, Repository\n"
        f"with Repository({str(origin.path)!r}, 'main', mirror=None) as repository:\n"
        "    print(len(Loader(repository).load('main').nodes))\n"
        f"with Repository('file://{origin.path}', 'main', mirror=__import__('pathlib')"
        f".Path({str(tmp_path / 'm.git')!r})) as repository:\n"
        "    repository.fetch()\n"
        "    print(len(Loader(repository).load('main').nodes))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=ENVIRONMENT
        | {
            "GIT_DIR": str(other.path),
            "GIT_OBJECT_DIRECTORY": str(other.path / "objects"),
            "GIT_INDEX_FILE": str(other.path / "index"),
            "GIT_WORK_TREE": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["3", "3"], done.stderr
    assert refs(other.path) == [f"refs/heads/main {git(other.path, 'rev-parse', 'main')}"]


def test_threads_with_a_repository_each_read_the_same(origin: GitRepository) -> None:
    origin.commit({f"f{number}.yaml": f"a: {number}\n" for number in range(200)})
    answers: list[dict[str, bytes]] = []

    def read() -> None:
        with Repository(str(origin.path), "main", mirror=None) as repository:
            for _ in range(3):
                ids = [entry.id for entry in repository.files(repository.head())]
                answers.append(dict(repository.blobs(ids)))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 12
    assert all(answer == answers[0] for answer in answers)
    assert len(answers[0]) == 200


# --- the mirror ------------------------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    return tmp_path / "state" / "mirror.git"


def url(origin: GitRepository) -> str:
    return f"file://{origin.path}"


def test_a_url_is_fetched_into_a_bare_mirror(origin: GitRepository, mirror: Path) -> None:
    first = origin.commit(dict(fleet()), subject="first")
    with Repository(url(origin), "main", mirror=mirror) as repository:
        assert repository.is_remote
        with pytest.raises(RepositoryError, match="not been fetched"):
            repository.head()
        repository.fetch()
        assert repository.head() == first == repository.commit("HEAD").id
        assert len(Loader(repository).load("main").nodes) == 3
        second = origin.commit({"x": "1"})
        assert repository.head() == first
        repository.fetch()
        repository.fetch()
        assert repository.head() == second
        assert repository.is_ancestor(first, second)
    assert not [ref for ref in refs(mirror) if "/seen/" in ref]
    assert git(mirror, "rev-parse", "--is-bare-repository") == "true"
    assert sorted(path.name for path in mirror.parent.iterdir()) == ["mirror.git"]
    with Repository(url(origin), "main", mirror=mirror) as again:
        assert again.head() == second, "what was fetched is there without another fetch"


def test_a_forced_push_is_seen_and_nothing_old_is_lost(origin: GitRepository, mirror: Path) -> None:
    with Repository(url(origin), "main", mirror=mirror) as repository:
        heads = []
        for number in range(3):
            git(origin.path, "update-ref", "-d", "refs/heads/main")
            heads.append(origin.commit({"a": str(number)}, subject=f"history {number}"))
            repository.fetch()
        git(mirror, "reflog", "expire", "--expire=now", "--all")
        git(mirror, "gc", "--quiet", "--prune=now")
        assert repository.head() == heads[2]
        assert not repository.is_ancestor(heads[0], heads[1])
        assert not repository.is_ancestor(heads[1], heads[2])
        assert [repository.commit(head).subject for head in heads] == [
            "history 0",
            "history 1",
            "history 2",
        ]
    assert git(origin.path, "for-each-ref", "refs/metalwright") == "", "only the mirror is written"


def test_a_failed_fetch_leaves_the_last_good_state(
    origin: GitRepository, mirror: Path, tmp_path: Path
) -> None:
    first = origin.commit(dict(fleet()))
    with Repository(url(origin), "main", mirror=mirror) as repository:
        repository.fetch()
        before = refs(mirror)
        git(origin.path, "branch", "-m", "main", "gone")
        with pytest.raises(RepositoryError, match="no branch 'main'"):
            repository.fetch()
        git(origin.path, "branch", "-m", "gone", "main")
        second = origin.commit({"x.yaml": "a lot\n" * 1_000})
        loosen(origin.path)
        blob = git(origin.path, "rev-parse", f"{second}:x.yaml")
        (origin.path / "objects" / blob[:2] / blob[2:]).unlink()
        with pytest.raises(RepositoryError, match="could not be fetched"):
            repository.fetch()
        origin.path.rename(tmp_path / "away.git")
        with pytest.raises(RepositoryError, match="could not be fetched"):
            repository.fetch()
        assert refs(mirror) == before
        assert repository.head() == first
        assert len(Loader(repository).load("main").nodes) == 3


def test_an_empty_remote_is_an_error(origin: GitRepository, mirror: Path) -> None:
    with Repository(url(origin), "main", mirror=mirror) as repository:
        with pytest.raises(RepositoryError, match="empty, or the branch was deleted"):
            repository.fetch()
        with pytest.raises(RepositoryError):
            repository.head()


def test_what_git_should_not_accept_is_not_fetched(origin: GitRepository, mirror: Path) -> None:
    """`transfer.fsckObjects`: a tree with a `.git` in it is an attack on whoever checks it out."""
    blob = git(origin.path, "hash-object", "-w", "--stdin", stdin=b"x")
    raw = b"100644 .git\0" + bytes.fromhex(blob)
    tree = git(origin.path, "hash-object", "-t", "tree", "-w", "--stdin", "--literally", stdin=raw)
    commit = git(origin.path, "commit-tree", "-m", "evil", tree)
    git(origin.path, "update-ref", "refs/heads/main", commit)
    with (
        Repository(url(origin), "main", mirror=mirror) as repository,
        pytest.raises(RepositoryError, match="could not be fetched"),
    ):
        repository.fetch()


def test_a_remote_that_hangs_is_given_up_and_leaves_no_process(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "slow-ssh"
    slow.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nsleep 60\n")
    slow.chmod(slow.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(slow))
    begin = time.monotonic()
    with (
        Repository("ssh://host/x.git", "main", mirror=mirror, fetch_timeout_s=1.0) as repository,
        pytest.raises(RepositoryError, match="within"),
    ):
        repository.fetch()
    assert time.monotonic() - begin < 15
    pid = (tmp_path / "pid").read_text().strip()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def test_two_fetches_at_once_do_not_meet(origin: GitRepository, mirror: Path) -> None:
    origin.commit({"a": "1"})
    errors: list[Exception] = []

    def fetch() -> None:
        try:
            with Repository(url(origin), "main", mirror=mirror) as repository:
                for _ in range(3):
                    repository.fetch()
        except RepositoryError as error:
            errors.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []


def test_a_mirror_that_is_something_else_is_refused(origin: GitRepository, tmp_path: Path) -> None:
    origin.commit({"a": "1"})
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    (tmp_path / "plain").write_text("mine")
    for name in ("taken", "plain", "plain/below"):
        with (
            Repository(url(origin), "main", mirror=tmp_path / name) as repository,
            pytest.raises(RepositoryError),
        ):
            repository.fetch()
    assert (tmp_path / "taken" / "file").read_text() == "mine"
    with pytest.raises(RepositoryError, match="mirror"):
        Repository(url(origin), "main", mirror=None)


@contextmanager
def no_temporary_files(home: Path) -> Iterator[None]:
    """Their directory is gone, as after a clean-up that went too far; or its disk is full."""
    tempfile.tempdir = str(home / "nowhere")
    try:
        yield
    finally:
        tempfile.tempdir = None


def test_a_place_for_temporary_files_that_is_gone_is_an_error_of_the_repository(
    origin: GitRepository, mirror: Path
) -> None:
    origin.commit({"a.yaml": "a: 1\n"}, subject="first")
    with Repository(f"file://{origin.path}", "main", mirror=mirror) as repository:
        with (
            no_temporary_files(mirror.parent),
            pytest.raises(RepositoryError, match="no temporary file"),
        ):
            repository.fetch()
        repository.fetch()
        head = repository.head()
        (entry,) = repository.files(head)
        for asked in (
            lambda: repository.commit(head),
            lambda: repository.sizes([entry.id]),
            lambda: list(repository.blobs([entry.id])),
            lambda: repository.outside(head, ["0" * 40]),
        ):
            with (
                no_temporary_files(mirror.parent),
                pytest.raises(RepositoryError, match="no temporary file"),
            ):
                asked()


def test_the_first_parents_of_a_commit_and_what_its_history_lacks(origin: GitRepository) -> None:
    first = origin.commit({"a.yaml": "a: 1\n"}, subject="first")
    git(origin.path, "branch", "side")
    second = origin.commit({"a.yaml": "a: 2\n"}, subject="second")
    with Repository(str(origin.path), "main", mirror=None) as repository:
        line = repository.commits(second, 9, first_parents=True)
        assert [commit.id for commit in line] == [second, first]
        assert repository.outside(first, [first, second, "0" * 40, "short"]) == {second}
        assert repository.outside(second, [first, second]) == frozenset()
