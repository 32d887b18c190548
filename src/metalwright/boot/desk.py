"""Who gets what: scripts by identity, everything else by the token of a boot.

It decides from the revision in force and from the store as they are at the moment of the request,
and writes down what it gives before it gives it. It speaks no HTTP and never touches a machine.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from metalwright.boot import scripts, texts
from metalwright.boot.entering import Entered, View, enter, ramdisk, token_digest
from metalwright.boot.fetching import Fetcher
from metalwright.boot.images import ImageError
from metalwright.boot.limits import BootLimits, Notes, Rate
from metalwright.boot.media import Disc
from metalwright.boot.ports import Images, Records, Texts
from metalwright.boot.render import RenderError
from metalwright.boot.reports import printable
from metalwright.boot.scripts import ScriptError
from metalwright.errors import FencedError, StoreError
from metalwright.model.boot import BootAnswer, Claimed, Roster, Served, answer, greeting
from metalwright.model.boots import IssuedBoot, Noted
from metalwright.model.documents import Node
from metalwright.model.inventory import Inventory, ResolvedTemplate
from metalwright.model.operation import Memory
from metalwright.model.report import Phase
from metalwright.model.template import Artifact

TOKEN_BYTES: Final = 16
USED_STEP: Final = timedelta(seconds=60)
"""How exactly it is written down when a token was used last."""

BOOTS_PER_S_MAX: Final = 1.0
"""New tokens of one node: more than a machine needs, fewer than would be a burden."""

FETCH_WAIT_S: Final = 20.0
"""How long a script waits for an image that is not here yet, before the machine is told to."""

_BOOTED: Final = frozenset({Served.NETBOOT, Served.WIPE, Served.INSTALL})
STRANGER: Final = "this machine is not known here"


class Desk:
    """Answers requests; every method may be called from many threads."""

    def __init__(
        self,
        url: str,
        records: Records,
        images: Images,
        renderer: Texts,
        clock: Callable[[], datetime],
        limits: BootLimits,
    ) -> None:
        """`url` is the address of the service as machines see it, without a slash at its end."""
        self.url, self.records, self.clock = url, records, clock
        self.fetcher = Fetcher(images)
        self.limits, self._renderer = limits, renderer
        self.told: Callable[[str], None] = lambda _node: None
        """Called with a node's name when a boot of it was issued, or its report was kept."""
        self.notes = Notes(self._write_down, limits.refusals_per_hour_max)
        self.disc: Disc | None = None
        """The boot disc for BMCs to fetch, where there is one."""
        self._issuing = Rate(BOOTS_PER_S_MAX)
        self._view: View | None = None
        self._following = threading.Lock()

    @property
    def view(self) -> View | None:
        """The revision in force, once there is one."""
        return self._view

    def follow(self, inventory: Inventory) -> None:
        """From now on this revision is in force."""
        with self._following:
            if self._view is None or self._view.inventory is not inventory:
                self._view = View(inventory, Roster(inventory.nodes))

    def script(self, claimed: Claimed, platform: str, asked: int, source: str) -> str:
        """The iPXE script for a machine; `asked` is how often it was told to wait already."""
        view = self._view
        if view is None:
            return scripts.wait(self.url, "no revision is in force yet", asked)
        node, why = view.roster.find(claimed)
        if node is None:
            self.refused(source, "", f"{_who(claimed)}: {why}")
            return scripts.local_disk(STRANGER, platform)
        name = node.metadata.name
        found = self._answer(node)
        if found.mode in _BOOTED:
            text, why = self._boot(view, node, found, claimed)
            if text:
                return text
            found = BootAnswer(mode=Served.WAIT, why=why)
        if asked == 0:
            detail = f"{found.mode}: {found.why}; asked as {_who(claimed)}"
            self.notes.note(f"served {name}", Noted(node=name, event="served", detail=detail))
        if found.mode is Served.LOCAL:
            return scripts.local_disk(found.why, platform)
        return scripts.wait(self.url, found.why, asked)

    def hello(self, claimed: Claimed, source: str) -> str | None:
        """The address for the reports of a machine that runs from its own disk."""
        view = self._view
        node, why = view.roster.find(claimed) if view is not None else (None, "nothing in force")
        if node is None:
            self.refused(source, "", f"hello of {_who(claimed)}: {why}")
            return None
        name = node.metadata.name
        self.records.memory()  # what is read within a batch is not kept for the next one
        with self.records.batch():
            memory, said = self._known(name)
            found = greeting(node, memory.nodes.get(name), said)
            if found.mode is Served.WAIT or not self._issuing.take(name):
                why = found.why if found.mode is Served.WAIT else "it asks too often"
            else:
                token = secrets.token_urlsafe(TOKEN_BYTES)
                boot = self._new(name, found, token, claimed)
                self.records.issue_boot(boot, f"reports: {found.why}; asked as {_who(claimed)}")
                why = ""
        if not why:
            self.told(name)
            return f"{self.url}/b/{token}"
        self.refused(source, name, f"hello: {why}")
        return None

    def enter(self, token: str) -> Entered | str:
        """The boot of a token, or in words for the journal why there is none."""
        if self._view is None:
            return "no revision is in force yet"
        now = self.clock()
        found = enter(token, self.records, self._view, now, self.limits.token_life_s)
        if isinstance(found, Entered):
            used_at = found.boot.used_at
            if used_at is None or now - used_at > USED_STEP:
                with _even_unwritten():
                    self.records.use_boot(found.boot.token_sha256, now)
        return found

    def text(self, entered: Entered, name: str, *, file: bool = False) -> str | None:
        """One of cloud-init's data, or a file of the template, for this node; `None`: not there.

        Raises:
            RenderError: the template gives no text.
        """
        template = entered.template
        if template is None or entered.boot.mode is not Served.NETBOOT:
            return None
        if name == "meta-data" and not file:
            return texts.meta_data(entered.node, entered.boot)
        raw = template.files.get(name) if file else texts.data(name, template)
        if raw is None:
            return None
        what = f"{name} of template {template.name}"
        return self._render(what, raw, entered.node, template, (entered.boot, entered.token))

    def refused(self, source: str, node: str, why: str) -> None:
        """Write down, within limits, that a request was refused."""
        line = Noted(node=node, event="refused", detail=printable(f"from {source}: {why}"))
        self.notes.note(f"refused {source}", line)

    def _write_down(self, lines: Sequence[Noted]) -> None:
        with _even_unwritten():
            self.records.note(lines, self.clock())

    def _answer(self, node: Node) -> BootAnswer:
        name = node.metadata.name
        memory, said = self._known(name)
        return answer(node, memory.nodes.get(name), said)

    def _known(self, name: str) -> tuple[Memory, Phase | None]:
        memory = self.records.memory()
        mine = memory.nodes.get(name)
        operation = mine.operation if mine is not None else None
        if operation is None:
            return memory, None
        return memory, self.records.said(name, operation.id, operation.fence)

    def _boot(self, view: View, node: Node, found: BootAnswer, claimed: Claimed) -> tuple[str, str]:
        """A script that boots over the network, its token written down; or why there is none."""
        name, token = node.metadata.name, secrets.token_urlsafe(TOKEN_BYTES)
        boot = self._new(name, found, token, claimed)
        try:
            text = self._kernel(view, node, found, (boot, token))
            missing = self.fetcher.wait(_needed(view.inventory, found), FETCH_WAIT_S)
        except (RenderError, ScriptError, ImageError) as error:
            self.notes.note(
                f"served {name}", Noted(node=name, event="refused", detail=printable(str(error)))
            )
            return "", printable(str(error))
        if missing:
            return "", missing
        if not self._issuing.take(name):
            return "", "it asks too often"
        with self.records.batch():
            now = self._answer(node)
            same = (now.mode, now.operation_id, now.attempt) == (
                found.mode,
                found.operation_id,
                found.attempt,
            )
            if not same:
                return "", "what it is to boot has just changed"
            what = f" {found.template.name}" if found.template is not None else ""
            detail = f"{found.mode}{what}: {found.why}; asked as {_who(claimed)}"
            self.records.issue_boot(boot, detail)
        self.told(name)
        return text, ""

    def _new(self, name: str, found: BootAnswer, token: str, claimed: Claimed) -> IssuedBoot:
        return IssuedBoot(
            token_sha256=token_digest(token),
            node=name,
            mode=found.mode,
            issued_at=self.clock(),
            operation_id=found.operation_id,
            attempt=found.attempt,
            template_digest=found.template.digest if found.template is not None else "",
            claimed=_who(claimed),
        )

    def _kernel(
        self, view: View, node: Node, found: BootAnswer, issued: tuple[IssuedBoot, str]
    ) -> str:
        base, template = f"{self.url}/b/{issued[1]}", found.template
        own: list[str] = []
        if found.mode is Served.NETBOOT and template is not None:
            what = f"kernel arguments of template {template.name}"
            own = [
                self._render(what, argument, node, template, issued)
                for argument in template.kernel_args
            ]
        elif ramdisk(view.inventory) is None:
            raise ScriptError("the policy names no ramdisk to wipe and install with")
        added = texts.arguments(template, found.mode, base)
        return scripts.kernel(base, [*own, *added], initrds=["initrd"], service=self.url)

    def _render(
        self,
        what: str,
        text: str,
        node: Node,
        template: ResolvedTemplate,
        issued: tuple[IssuedBoot, str],
    ) -> str:
        inventory = self._view.inventory if self._view is not None else None
        pool = inventory.pool_of.get(node.metadata.name, "") if inventory is not None else ""
        base = f"{self.url}/b/{issued[1]}"
        return self._renderer.render(
            what, text, texts.context(node, template, issued[0], base, pool)
        )


@contextlib.contextmanager
def _even_unwritten() -> Iterator[None]:
    """For what is worth a line and not a machine that does not boot: a full disk keeps no image
    from being served. Where another process drives, nothing is served all the same.
    """
    try:
        yield
    except FencedError:
        raise
    except StoreError:
        pass


def _needed(inventory: Inventory, found: BootAnswer) -> list[Artifact]:
    """What this boot begins with."""
    own = found.template.image if found.template is not None else None
    image = own if found.mode is Served.NETBOOT else ramdisk(inventory)
    needed = [image.kernel, image.initrd, image.rootfs] if image is not None else []
    if found.mode is Served.INSTALL and own is not None:
        needed.append(own.disk)
    return [artifact for artifact in needed if artifact is not None]


def _who(claimed: Claimed) -> str:
    """Who a request says that it comes from, for the journal."""
    parts = (("mac", claimed.mac), ("uuid", claimed.system_uuid), ("serial", claimed.serial))
    return printable(" ".join(f"{name}={value[:64]}" for name, value in parts if value)) or "nobody"
