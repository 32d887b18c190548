"""The boot service as machines see it: routes, statuses, headers. Decisions are the desk's.

No answer repeats what a request said, and every address in an answer is made from the settings:
a Host header changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import FastAPI, Request, Response
from starlette.responses import FileResponse, PlainTextResponse

from metalwright.boot import scripts
from metalwright.boot.asking import BadRequestError, asked, body_of, claimed
from metalwright.boot.desk import Desk
from metalwright.boot.entering import Entered, artifact_of
from metalwright.boot.hearing import Hearing
from metalwright.boot.images import ImageError
from metalwright.boot.limits import RETRY_AFTER_S, Rate
from metalwright.boot.render import RenderError
from metalwright.boot.reports import parse
from metalwright.errors import MetalwrightError, StoreError
from metalwright.model.boot import Claimed

T = TypeVar("T")

SCRIPTS_AT_ONCE_MAX: Final = 32
OTHERS_AT_ONCE_MAX: Final = 16
"""Threads for requests: scripts may wait for an image, nothing else waits for them."""

TARGET_BYTES_MAX: Final = 2_048
"""The longest path with its query."""

REPORTS_PER_S_MAX: Final = 2.0
DOWNLOAD_CHUNK_BYTES: Final = 1 << 18
"""What one download has in memory, twice; a smaller piece costs a change of threads more often."""

ARTIFACTS: Final = frozenset({"kernel", "initrd", "rootfs", "disk"})
DATA: Final = frozenset({"meta-data", "user-data", "vendor-data", "network-config"})
READS: Final = ["GET", "HEAD"]

LATER: Final = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS})
REFUSED: Final = "refused\n"
"""All that somebody with a wrong token is told, whatever is wrong with it."""


class Download(FileResponse):
    """A file, in larger pieces than usual."""

    chunk_size = DOWNLOAD_CHUNK_BYTES


class Front:
    """The handlers. `trouble` is told what went wrong inside, for the log."""

    def __init__(self, desk: Desk, hearing: Hearing, trouble: Callable[[str], None]) -> None:
        self._desk, self._hearing, self.trouble = desk, hearing, trouble
        self._sources = Rate(desk.limits.requests_per_s_max)
        self._strangers = Rate(desk.limits.unknown_per_s_max)
        self._reports = Rate(REPORTS_PER_S_MAX)
        self._for_scripts = CapacityLimiter(SCRIPTS_AT_ONCE_MAX)
        self._for_others = CapacityLimiter(OTHERS_AT_ONCE_MAX)

    async def guard(
        self, request: Request, then: Callable[..., Awaitable[Response]], *parts: str
    ) -> Response:
        """What holds for every request: its rate, its length, and no word of ours about an error
        that is our own.
        """
        target = len(request.scope.get("raw_path") or b"") + len(request.scope["query_string"])
        if target > TARGET_BYTES_MAX:
            return _text("too long\n", HTTPStatus.REQUEST_URI_TOO_LONG)
        if not self._sources.take(source_of(request)):
            return _text("too many requests\n", HTTPStatus.TOO_MANY_REQUESTS)
        try:
            return await then(request, *parts)
        except BadRequestError as error:
            return _text(f"{error}\n", error.status)
        except StoreError as error:
            self.trouble(f"the store: {error}")
            return _text("try again\n", HTTPStatus.SERVICE_UNAVAILABLE)
        except MetalwrightError as error:
            self.trouble(str(error))
            return _text("this cannot be served now\n", HTTPStatus.SERVICE_UNAVAILABLE)
        except Exception as error:  # noqa: BLE001  one request must not end the service
            self.trouble(f"{request.method} failed: {type(error).__name__}: {error}")
            return _text("failed\n", HTTPStatus.INTERNAL_SERVER_ERROR)

    async def identify(self, _request: Request) -> Response:
        """The first script, the same for all."""
        return _text(scripts.identify(self._desk.url))

    async def script(self, request: Request) -> Response:
        """The script of one machine."""
        who, count = claimed(request.query_params), asked(request.query_params)
        platform = "pcbios" if request.query_params.get("platform") == "pcbios" else "efi"
        source = source_of(request)
        if not self._may_ask(who):
            return _text("too many requests\n", HTTPStatus.TOO_MANY_REQUESTS)
        text = await run_sync(
            self._desk.script, who, platform, count, source, limiter=self._for_scripts
        )
        return _text(text)

    async def hello(self, request: Request) -> Response:
        """The address for reports of a system that runs from its own disk."""
        who, source = claimed(request.query_params), source_of(request)
        self._must_know()
        if not self._may_ask(who):
            return _text("too many requests\n", HTTPStatus.TOO_MANY_REQUESTS)
        url = await self._do(lambda: self._desk.hello(who, source))
        if url is None:
            return _text("not now\n", HTTPStatus.NOT_FOUND)
        return _text(f"url {url}\n")

    async def artifact(self, request: Request, token: str, role: str) -> Response:
        """A file of the image of a boot; ranges are served."""
        entered = await self._enter(request, token)
        artifact = artifact_of(entered, role) if entered is not None else None
        if entered is None or artifact is None:
            return _refused() if entered is None else _text("not here\n", HTTPStatus.NOT_FOUND)
        path = await self._file(self._desk.fetcher.begin(artifact))
        # The same bytes have the same tag, whoever imported them: a broken download goes on.
        tag = {"ETag": f'"{artifact.sha256}"'}
        return Download(path, media_type="application/octet-stream", headers=tag)

    async def data(self, request: Request, token: str, name: str) -> Response:
        """One of cloud-init's data."""
        if name not in DATA:
            return _text("not here\n", HTTPStatus.NOT_FOUND)
        return await self._made(request, token, name, file=False)

    async def file(self, request: Request, token: str, name: str) -> Response:
        """A file of the template."""
        return await self._made(request, token, name, file=True)

    async def _made(self, request: Request, token: str, name: str, *, file: bool) -> Response:
        entered = await self._enter(request, token)
        if entered is None:
            return _refused()
        try:
            text = await self._do(lambda: self._desk.text(entered, name, file=file))
        except RenderError as error:
            self._desk.refused(source_of(request), entered.boot.node, str(error))
            return _text("its template gives no text\n", HTTPStatus.SERVICE_UNAVAILABLE)
        if text is None:
            return _text("not here\n", HTTPStatus.NOT_FOUND)
        return _text(text)

    async def report(self, request: Request, token: str) -> Response:
        """What a machine says of itself."""
        entered = await self._enter(request, token)
        if entered is None:
            return _refused()
        if not self._reports.take(entered.boot.token_sha256):
            return _text("too many reports\n", HTTPStatus.TOO_MANY_REQUESTS)
        limits = self._desk.limits
        body = parse(await body_of(request, limits.body_bytes_max, limits.request_timeout_s))
        if isinstance(body, str):
            raise BadRequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "this is no report")
        size: int | None = None
        disk = artifact_of(entered, "disk")
        if disk is not None:
            size = (await self._file(self._desk.fetcher.begin(disk))).stat().st_size
        reply = await self._do(lambda: self._hearing.hear(token, body, size))
        if reply.status is not HTTPStatus.OK:
            self._desk.refused(source_of(request), entered.boot.node, reply.text)
        if reply.status is HTTPStatus.FORBIDDEN:
            return _refused()
        return _text(reply.text, reply.status)

    async def agent(self, _request: Request) -> Response:
        """The agent's text, for systems that have none."""
        return _text((files("metalwright.boot") / "agent" / "mw-agent").read_text("utf-8"))

    async def disc(self, _request: Request, name: str) -> Response:
        """The boot disc, for BMCs; ranges are served."""
        disc = self._desk.disc
        if disc is None or name != disc.name:
            return _text("not here\n", HTTPStatus.NOT_FOUND)
        path = await self._file(self._desk.fetcher.begin(disc.artifact))
        tag = {"ETag": f'"{disc.artifact.sha256}"'}
        return Download(path, media_type="application/x-iso9660-image", headers=tag)

    async def health(self, _request: Request) -> Response:
        """Whether machines are served."""
        if self._desk.view is None:
            return _text("no revision is in force yet\n", HTTPStatus.SERVICE_UNAVAILABLE)
        return _text("ok\n")

    def _may_ask(self, who: Claimed) -> bool:
        """Strangers share a rate: machines that are known must not wait for them."""
        view = self._desk.view
        known = view is not None and view.roster.find(who)[0] is not None
        return known or self._strangers.take("all")

    def _must_know(self) -> None:
        """Before the first revision nobody is refused: machines come back."""
        if self._desk.view is None:
            raise BadRequestError(HTTPStatus.SERVICE_UNAVAILABLE, "no revision is in force yet")

    async def _enter(self, request: Request, token: str) -> Entered | None:
        self._must_know()
        found = await self._do(lambda: self._desk.enter(token))
        if isinstance(found, str):
            self._desk.refused(source_of(request), "", found)
            return None
        return found

    async def _file(self, future: Any) -> Path:
        try:
            # Shielded: others wait for the same file.
            come = asyncio.shield(asyncio.wrap_future(future))
            path: Path = await asyncio.wait_for(come, self._desk.limits.request_timeout_s)
        except TimeoutError as error:
            raise BadRequestError(503, "its image is on its way here") from error
        except ImageError as error:
            self.trouble(str(error))
            raise BadRequestError(503, "its image is not here") from error
        return path

    async def _do(self, work: Callable[[], T]) -> T:
        return await run_sync(work, limiter=self._for_others)


def make_app(front: Front) -> FastAPI:
    """The application; it serves no documentation of itself."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    guard = front.guard

    @app.api_route("/boot.ipxe", methods=READS)
    async def identify(request: Request) -> Response:
        return await guard(request, front.identify)

    @app.api_route("/ipxe", methods=READS)
    async def script(request: Request) -> Response:
        return await guard(request, front.script)

    @app.api_route("/hello", methods=READS)
    async def hello(request: Request) -> Response:
        return await guard(request, front.hello)

    @app.api_route("/agent", methods=READS)
    async def agent(request: Request) -> Response:
        return await guard(request, front.agent)

    @app.api_route("/media/{name}", methods=READS)
    async def disc(request: Request, name: str) -> Response:
        return await guard(request, front.disc, name)

    @app.api_route("/healthz", methods=READS)
    async def health(request: Request) -> Response:
        return await guard(request, front.health)

    @app.post("/b/{token}/report")
    async def report(request: Request, token: str) -> Response:
        return await guard(request, front.report, token)

    @app.api_route("/b/{token}/files/{name}", methods=READS)
    async def file(request: Request, token: str, name: str) -> Response:
        return await guard(request, front.file, token, name)

    @app.api_route("/b/{token}/{name}", methods=READS)
    async def other(request: Request, token: str, name: str) -> Response:
        if name in ARTIFACTS:
            return await guard(request, front.artifact, token, name)
        return await guard(request, front.data, token, name)

    return app


def source_of(request: Request) -> str:
    """The address that a request came from; what a header says of that is not believed."""
    return request.client.host if request.client is not None else "unknown"


def _refused() -> Response:
    return _text(REFUSED, HTTPStatus.FORBIDDEN)


def _text(text: str, status: int = HTTPStatus.OK) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if status in LATER:
        headers["Retry-After"] = f"{RETRY_AFTER_S}"
    return PlainTextResponse(text, status, headers)
