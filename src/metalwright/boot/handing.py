"""Boots that a hardware engine begins: the texts it is told, and the token of the boot.

An engine fetches kernel and ramdisk itself, hands them to the machine, and knows nothing of
Metalwright's scripts. So it is given rendered text, and addresses of the boot service with a token:
what it fetches there is checked, and the system that comes up reports by it. Nothing is issued
before everything of the template has become text. It tells no engine anything.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from metalwright.boot import scripts, texts
from metalwright.boot.desk import FETCH_WAIT_S, TOKEN_BYTES, Desk
from metalwright.boot.entering import token_digest
from metalwright.boot.images import ImageDownError, ImageError
from metalwright.boot.ports import Texts
from metalwright.boot.render import RenderError, RenderLaterError
from metalwright.boot.scripts import ScriptError
from metalwright.errors import NotBegunError, PermanentError, StoreError
from metalwright.model.boot import Served
from metalwright.model.boots import Heard, IssuedBoot
from metalwright.model.documents import Node
from metalwright.model.handover import Handover
from metalwright.model.inventory import ResolvedTemplate
from metalwright.model.operation import Operation, OperationState
from metalwright.model.report import Phase
from metalwright.model.template import Method

_TRIED: Final = "A" * 22
"""Stands for a token while it is only tried whether a template becomes text."""

HeardOf = Callable[[Iterable[str]], Mapping[str, Heard]]


class Handing:
    """Hands templates over. Safe to call from many threads.

    Without a `desk` there is no boot service: texts are rendered, and have no address.
    """

    def __init__(
        self,
        renderer: Texts,
        desk: Desk | None = None,
        heard: HeardOf | None = None,
        engine_url: str = "",
    ) -> None:
        """`heard` reads the latest reports of nodes. `engine_url` is the address of the boot
        service as the engine sees it, where that is another than the machines'.
        """
        self._renderer, self._desk, self._heard = renderer, desk, heard
        self._engine_url = engine_url.rstrip("/")
        self._lock = threading.Lock()
        self._issued: dict[str, tuple[str, int, str]] = {}
        self._settled: dict[str, tuple[str, int]] = {}

    def serves(self, template: ResolvedTemplate) -> bool:
        """Whether the boot service gives this template's kernel and ramdisk to the engine."""
        image = template.image
        return (
            self._desk is not None
            and template.method is Method.NETBOOT
            and image is not None
            and image.kernel is not None
            and image.initrd is not None
        )

    def hand_over(
        self, node: Node, operation: Operation, timeout_s: float, *, issue: bool
    ) -> Handover:
        """The template of `operation` for this node, its images here. Without `issue` it is only
        tried: its addresses lead nowhere yet.

        Raises:
            PermanentError: a text cannot be rendered, or an image not be had.
            NotBegunError: an image is on its way, an image or a secret cannot be asked for now, or
                something else is wanted meanwhile.
        """
        template = operation.target.template
        assert template is not None
        served = self.serves(template)
        token = self._token(node.metadata.name, operation) if served and issue else _TRIED
        boot = self._boot(node, operation, template, token)
        told = self._told(node, operation, template, (boot, token if served else ""))
        if served:
            self._fetch(template, timeout_s)
        if served and issue:
            self._issue(operation, boot, token)
        return told

    def awaited(self, node: str, operation_id: str, attempt: int) -> str | None:
        """What is still to be waited for in this boot: "" while its system is silent, the words of
        one that has failed, `None` when it has reported, or nobody waits any more.
        """
        if self._desk is None or self._heard is None:
            return None
        if self._settled.get(node) == (operation_id, attempt):
            return None
        mine = self._desk.records.memory().nodes.get(node)
        now = mine.operation if mine is not None else None
        waits = now is not None and (now.id, now.fence) == (operation_id, attempt)
        heard = self._heard([node]).get(node) if waits else None
        report = heard.report if heard is not None else None
        if report is not None and (report.operation_id, report.attempt) == (operation_id, attempt):
            if report.phase is Phase.FAILED:
                return report.message or "the system reported a failure"
            waits = report.phase is not Phase.RUNNING
        if waits:
            return ""
        self._settled[node] = (operation_id, attempt)
        return None

    def _told(
        self,
        node: Node,
        operation: Operation,
        template: ResolvedTemplate,
        issued: tuple[IssuedBoot, str],
    ) -> Handover:
        boot, token = issued
        base = f"{self._desk.url}/b/{token}" if self._desk is not None and token else ""
        context = texts.context(node, template, boot, base, operation.pool)
        if not base:
            del context["boot"]["url"]  # whoever asks for it is told that there is none

        def render(what: str, text: str | None) -> str | None:
            if text is None:
                return None
            try:
                return self._renderer.render(f"{what} of template {template.name}", text, context)
            except RenderLaterError as error:
                raise NotBegunError(str(error)) from None
            except RenderError as error:
                raise PermanentError(str(error)) from None

        own, source = _arguments(template, base, render)
        user_data = render("user-data", template.user_data)
        vendor_data = render("vendor-data", template.vendor_data)
        for name, text in template.files.items() if base else ():
            render(name, text)
        told = Handover(kernel_args=own, user_data=user_data, vendor_data=vendor_data)
        if self._desk is None or not base:
            return told
        engine = f"{self._engine_url or self._desk.url}/b/{token}"
        return replace(
            told,
            kernel=f"{engine}/kernel",
            ramdisk=f"{engine}/initrd",
            data_source=source,
            attempt=operation.fence,
            reports=template.phone_home,
        )

    def _boot(
        self, node: Node, operation: Operation, template: ResolvedTemplate, token: str
    ) -> IssuedBoot:
        netboots = template.method is Method.NETBOOT
        return IssuedBoot(
            token_sha256=token_digest(token),
            node=node.metadata.name,
            mode=Served.NETBOOT if netboots else Served.INSTALL,
            issued_at=self._desk.clock() if self._desk is not None else operation.created_at,
            operation_id=operation.id,
            attempt=operation.fence,
            template_digest=template.digest,
            claimed="handed to the hardware engine",
        )

    def _token(self, node: str, operation: Operation) -> str:
        """The token of this attempt: an order that has to be repeated gets no other one."""
        with self._lock:
            known = self._issued.get(node)
            if known is not None and known[:2] == (operation.id, operation.fence):
                return known[2]
        return secrets.token_urlsafe(TOKEN_BYTES)

    def _fetch(self, template: ResolvedTemplate, timeout_s: float) -> None:
        """Have the image here, checked, before the engine and the machine ask for it."""
        assert self._desk is not None
        assert template.image is not None
        image = template.image
        needed = [each for each in (image.kernel, image.initrd, image.rootfs) if each]
        try:
            missing = self._desk.fetcher.wait(needed, min(FETCH_WAIT_S, timeout_s / 2))
        except ImageDownError as error:
            raise NotBegunError(str(error)) from None
        except ImageError as error:
            raise PermanentError(str(error)) from None
        if missing:
            raise NotBegunError(missing)

    def _issue(self, operation: Operation, boot: IssuedBoot, token: str) -> None:
        assert self._desk is not None
        records = self._desk.records
        try:
            with records.batch():
                known = records.boot(boot.token_sha256)
                if known is not None and known.ended_at is None:
                    return
                mine = records.memory().nodes.get(boot.node)
                now = mine.operation if mine is not None else None
                if now is None or not _same(now, operation):
                    raise NotBegunError("what it is to boot has just changed")
                what = operation.target.template
                named = what.name if what is not None else ""
                detail = (
                    f"{boot.mode} {named}: operation {operation.id} asked for it; {boot.claimed}"
                )
                records.issue_boot(boot, detail)
        except StoreError as error:
            raise NotBegunError(str(error)) from error
        with self._lock:
            self._issued[boot.node] = (operation.id, operation.fence, token)
        self._desk.told(boot.node)


def _arguments(
    template: ResolvedTemplate, base: str, render: Callable[[str, str | None], str | None]
) -> tuple[tuple[str, ...], str]:
    """The kernel's arguments, and by itself the one that leads cloud-init to its data."""
    if template.method is not Method.NETBOOT:
        return (), ""
    own = [render("kernel arguments", argument) or "" for argument in template.kernel_args]
    added = texts.arguments(template, Served.NETBOOT, base) if base else []
    try:
        scripts.kernel(base, [*own, *added], initrds=["ramdisk"])
    except ScriptError as error:
        raise PermanentError(f"template {template.name}: {error}") from None
    return (*own, *added[:1]), " ".join(added[1:])


def _same(now: Operation, operation: Operation) -> bool:
    """Whether the operation is still at the attempt that this boot is for."""
    running = now.state is OperationState.RUNNING and not now.failing and not now.cancelled_by
    return running and (now.id, now.fence) == (operation.id, operation.fence)
