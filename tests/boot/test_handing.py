"""What an engine is told of a template: text, checked addresses, and one token an attempt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.boot.boot_world import MAC, SECRET, World, a_node, world

from metalwright.boot.handing import Handing
from metalwright.boot.render import Renderer
from metalwright.errors import NotBegunError, PermanentError, SettingsError, TemporaryError
from metalwright.model.frozen import FrozenDict
from metalwright.model.handover import Handover
from metalwright.model.operation import OperationState
from metalwright.model.template import Artifact, Method

ENGINE = "http://boot.inside.example:8800"


def secret(reference: str) -> str:
    if reference == "app/token":
        return SECRET
    if reference == "down/now":
        raise TemporaryError("the vault is sealed")
    raise SettingsError(f"there is no secret {reference}")


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with Renderer(secret) as renderer:
        yield renderer


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as here:
        here.adopt()
        yield here


@pytest.fixture
def handing(here: World, renderer: Renderer) -> Handing:
    return Handing(renderer, here.server.desk, here.store.heard)


def path_of(here: World, told: Handover) -> str:
    (url,) = [word for word in told.kernel_args if word.startswith("mw.url=")]
    return url.removeprefix("mw.url=").removeprefix(here.url)


def test_what_is_told_is_what_the_service_would_serve(here: World, handing: Handing) -> None:
    operation = here.operate(here.template())
    told = handing.hand_over(a_node(), operation, 20, issue=True)
    path = path_of(here, told)
    assert told.kernel_args[:2] == ("quiet", "name=n1")
    assert told.data_source == f"ds=nocloud;s={here.url}{path}/"
    assert (told.attempt, told.reports) == (operation.fence, True)
    assert here.client.get(f"{path}/user-data").text == told.user_data
    assert told.user_data == f"#cloud-config\nhostname: n1\n{SECRET}\n"
    for role in ("kernel", "ramdisk"):
        url = getattr(told, role).removeprefix(here.url)
        assert here.client.head(url).status_code == 200, "Ironic asks so before it fetches"
        assert here.client.get(url).status_code == 200
    assert here.client.get(told.kernel.removeprefix(here.url)).content == b"KERNEL" * 100
    assert here.report(path, "running").status_code == 200
    assert here.told == ["n1", "n1"]


def test_an_engine_may_see_the_service_elsewhere(here: World, renderer: Renderer) -> None:
    handing = Handing(renderer, here.server.desk, here.store.heard, f"{ENGINE}/")
    told = handing.hand_over(a_node(), here.operate(here.template()), 20, issue=True)
    token = path_of(here, told).removeprefix("/b/")
    assert told.kernel == f"{ENGINE}/b/{token}/kernel"


def test_an_order_that_is_repeated_has_the_same_token(here: World, handing: Handing) -> None:
    operation = here.operate(here.template())
    first, again = (handing.hand_over(a_node(), operation, 20, issue=True) for _ in range(2))
    assert first == again
    assert len(here.events("served")) == 1
    other = replace(operation, fence=operation.fence + 1)
    assert here.store.save(replace(operation, state=OperationState.RUNNING), "stage", here.now)
    with pytest.raises(NotBegunError, match="has just changed"):
        handing.hand_over(a_node(), other, 20, issue=True)


def test_trying_issues_nothing_and_opens_nothing(here: World, handing: Handing) -> None:
    told = handing.hand_over(a_node(), here.operate(here.template()), 20, issue=False)
    assert here.events("served") == []
    assert here.client.get(f"{path_of(here, told)}/user-data").status_code == 403


def test_an_attempt_that_failed_is_handed_nothing(here: World, handing: Handing) -> None:
    operation = here.operate(here.template())
    here.move(operation, failing=True)
    with pytest.raises(NotBegunError, match="has just changed"):
        handing.hand_over(a_node(), operation, 20, issue=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"user_data": "{{ node.nmae }}"}, "user-data of template ci"),
        ({"user_data": "{{ secret('no/such') }}"}, "there is no secret no/such"),
        ({"vendor_data": "{{ 'a' * 2000000000 }}"}, "vendor-data of template ci"),
        ({"files": FrozenDict({"ks.cfg": "{% if %}"})}, "ks.cfg of template ci"),
        ({"kernel_args": ("{{ pool }} two",)}, "has a space"),
        ({"kernel_args": ("quiet", "pw={{ secret('app/token') }}")}, "number 2.* has a space"),
        ({"kernel_args": ("a" * 3_000,)}, "2047 are the most"),
    ],
)
def test_a_template_that_gives_no_text_is_refused(
    here: World, handing: Handing, changes: dict[str, Any], said: str
) -> None:
    operation = here.operate(here.template(**changes))
    for issue in (False, True):
        with pytest.raises(PermanentError, match=said) as caught:
            handing.hand_over(a_node(), operation, 20, issue=issue)
        assert SECRET not in str(caught.value)
    assert here.events("served") == []


def test_a_kernel_that_is_another_is_never_offered(here: World, handing: Handing) -> None:
    template = here.template()
    here.artifact("kernel", b"ANOTHER KERNEL")
    operation = here.operate(template)
    for issue in (False, True):
        with pytest.raises(PermanentError, match=r"SHA-256|sha256"):
            handing.hand_over(a_node(), operation, 20, issue=issue)
    assert here.events("served") == []


def test_what_cannot_be_asked_now_is_waited_for(here: World, handing: Handing) -> None:
    image = here.template().image
    assert image is not None
    silent = Artifact(url="http://127.0.0.1:1/kernel", sha256="0" * 64)
    operation = here.operate(here.template(image=replace(image, kernel=silent)))
    with pytest.raises(NotBegunError, match=r"127\.0\.0\.1:1"):
        handing.hand_over(a_node(), operation, 20, issue=True)
    asks = replace(operation.target, template=here.template(user_data="{{ secret('down/now') }}"))
    with pytest.raises(NotBegunError, match=r"user-data of template ci.* sealed"):
        handing.hand_over(a_node(), replace(operation, target=asks), 20, issue=True)
    assert here.events("served") == []


def test_without_the_service_there_is_text_and_no_address(here: World, renderer: Renderer) -> None:
    handing = Handing(renderer)
    operation = here.operate(here.template())
    told = handing.hand_over(a_node(), operation, 20, issue=True)
    assert told.kernel_args == ("quiet", "name=n1")
    assert told.user_data == f"#cloud-config\nhostname: n1\n{SECRET}\n"
    assert (told.kernel, told.data_source, told.attempt) == ("", "", None)
    asks = here.template(user_data="{{ boot.url }}")
    target = replace(operation.target, template=asks)
    with pytest.raises(PermanentError, match="url"):
        handing.hand_over(a_node(), replace(operation, target=target), 20, issue=True)
    assert handing.awaited("n1", operation.id, operation.fence) is None


def test_a_disk_template_is_rendered_and_not_served(here: World, handing: Handing) -> None:
    operation = here.operate(here.template(Method.DISK))
    told = handing.hand_over(a_node(), operation, 20, issue=True)
    assert told.user_data == f"#cloud-config\nhostname: n1\n{SECRET}\n"
    assert (told.kernel, told.attempt) == ("", None)
    assert here.events("served") == []


def test_a_system_is_awaited_until_it_has_reported(here: World, handing: Handing) -> None:
    operation = here.operate(here.template())
    attempt = operation.fence
    path = path_of(here, handing.hand_over(a_node(), operation, 20, issue=True))
    assert handing.awaited("n1", operation.id, attempt) == ""
    assert here.report(path, "running", facts={"nics": [{"name": "e", "mac": MAC}]}).is_success
    assert handing.awaited("n1", operation.id, attempt) is None
    assert handing.awaited("n1", operation.id, attempt - 1) is None, "of an earlier attempt"


def test_a_system_that_reports_a_failure_is_told_of(here: World, handing: Handing) -> None:
    operation = here.operate(here.template())
    path = path_of(here, handing.hand_over(a_node(), operation, 20, issue=True))
    assert here.report(path, "failed", message="no network").is_success
    assert handing.awaited("n1", operation.id, operation.fence) == "no network"


def test_nobody_waits_after_the_operation(here: World, handing: Handing) -> None:
    template = here.template()
    operation = here.operate(template)
    handing.hand_over(a_node(), operation, 20, issue=True)
    assert handing.awaited("n1", operation.id, operation.fence) == ""
    here.adopt_after(operation, template)
    assert handing.awaited("n1", operation.id, operation.fence) is None
