from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator

import pytest

from metalwright.boot.render import Renderer, RenderError
from metalwright.boot.render_worker import TEXT_CHARACTERS_MAX
from metalwright.errors import SettingsError

NODE = {"node": {"name": "n1", "labels": {"rack": "a"}, "nics": ({"mac": "52:54:00:00:00:01"},)}}


SECRETS = {
    "app/token": "hunter2-canary",
    "app/none": "",
    "tls/key": "-----BEGIN KEY-----\nhunter2'\"\\canary\n-----END KEY-----\n",
    "tls/long": "hunter2" * 200,
}


def lookup(reference: str) -> str:
    if reference not in SECRETS:
        raise SettingsError(f"secret {reference}: there is none")
    return SECRETS[reference]


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with Renderer(lookup) as renderer:
        yield renderer


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("plain\n", "plain\n"),
        ("host={{ node.name }}\n", "host=n1\n"),
        ("{% for nic in node.nics %}{{ nic.mac }};{% endfor %}", "52:54:00:00:00:01;"),
        ("{{ node.labels['rack'] | upper }}", "A"),
        ("{{ secret('app/token') }}", "hunter2-canary"),
        ("${notjinja} {# gone #}", "${notjinja} "),
    ],
)
def test_a_template_becomes_text(renderer: Renderer, text: str, rendered: str) -> None:
    assert renderer.render("user data", text, NODE) == rendered


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ node.colour }}", "has no attribute 'colour'"),
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{{ node.name", "line 1: "),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ secret('app/other') }}", "secret app/other: there is none"),
        ("{{ secret('app/' ~ 'token') }}", "as literal text"),
        ("{{ node[secret('app/token')] }}", "no attribute '***'"),
        ("{{ node[secret('tls/key')] }}", "no attribute '***'"),
        ("{{ node[(secret('tls/key'), 1)] }}", "no element ('***', 1)"),
        ("{{ node[secret('tls/long')] }}", "no attribute '***'"),
        ("{{ node[secret('app/none') ~ 'x'] }}", "no attribute 'x'"),
        ("{{ node.__class__.__mro__ }}", "unsafe"),
        ("{{ ''.__class__.__base__.__subclasses__() }}", "unsafe"),
        ("{{ cycler.__init__.__globals__.os.system('id') }}", "unsafe"),
        ("{{ node.update({'name': 'x'}) }}", "unsafe"),
        ("{% include '/etc/passwd' %}", "no loader"),
        ("{% for i in range(999999999) %}x{% endfor %}", "Range too big"),
    ],
)
def test_a_mistake_or_an_attack_is_told_of(renderer: Renderer, text: str, said: str) -> None:
    with pytest.raises(RenderError, match=r"^user data of ci: ") as caught:
        renderer.render("user data of ci", text, NODE)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


DOUBLING = (
    "{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}"
    "{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ 'a' * 2000000000 }}", "MiB of memory"),
        ("{{ ('%2000000000d' % 1) }}", "MiB of memory"),
        (DOUBLING, "MiB of memory"),
        ("{% for i in range(90000) %}{{ 'x' * 100 }}{% endfor %}", f"{TEXT_CHARACTERS_MAX}"),
        ("{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}", "5 s"),
        ("{{ 9 ** 999999999 }}", "5 s"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested too deeply"),
        ("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}", ""),
    ],
)
def test_a_template_that_runs_away_is_stopped(renderer: Renderer, text: str, said: str) -> None:
    with pytest.raises(RenderError) as caught:
        renderer.render("user data", text, NODE)
    assert said in str(caught.value)
    assert renderer.render("user data", "{{ node.name }}", NODE) == "n1"


def test_a_renderer_that_is_killed_is_started_anew(renderer: Renderer) -> None:
    assert renderer.render("user data", "{{ node.name }}", NODE) == "n1"
    (process,) = multiprocessing.active_children()
    process.kill()
    with pytest.raises(RenderError, match="ended the process"):
        renderer.render("user data", "{{ node.name }}", NODE)
    assert renderer.render("user data", "{{ node.name }}", NODE) == "n1"


def test_threads_share_one_renderer(renderer: Renderer) -> None:
    got: list[str] = []

    def work(number: int) -> None:
        got.append(renderer.render("user data", "{{ node.name }}-{{ n }}", NODE | {"n": number}))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(got) == sorted(f"n1-{number}" for number in range(20))
