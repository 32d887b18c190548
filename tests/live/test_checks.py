"""Checks from outside, against a real sshd."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from metalwright.model.checks import Check, Http, Ssh
from metalwright.observe.probes import probe

from .git_servers import ssh_server

pytestmark = pytest.mark.live


def test_a_real_sshd_is_known_by_its_banner_and_is_no_web_server(tmp_path: Path) -> None:
    with ssh_server(tmp_path) as (url, _login):
        port = urlsplit(url).port or 22
        assert probe(Check(name="ssh", ssh=Ssh(port=port)), "127.0.0.1") == ""
        web = Check(name="web", http=Http(port=port), timeout=5)
        assert probe(web, "127.0.0.1")  # it shows its banner, or resets the connection
    refused = probe(Check(name="ssh", ssh=Ssh(port=port)), "127.0.0.1")
    assert refused == "connection refused"
