"""The review page: a small Starlette app on this machine, for one reviewer and one sample.

The reviewer is blind: image, box and caption are shown. Scores, strata, teachers, file names and other people's
verdicts never leave the server, except the name of a file that cannot be shown. Nothing is accepted or rejected that
was not on the screen. A verdict that the page shows as given is on disk.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import uvicorn
from PIL import Image
from pydantic import Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from pipelines.audit.guard import RequestGuard
from pipelines.audit.sample import AuditSample, SampledRegion, read_sample
from pipelines.audit.verdicts import Verdict, VerdictStore
from pipelines.labels.photo import read_photo
from schemas.errors import (
    ConfigError,
    ConflictError,
    GroundswellError,
    NotFoundError,
    RuntimeEnvironmentError,
)
from schemas.records import Record

STATIC = Path(__file__).parent / "static"
_FILES = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js"}
_STATUS: dict[type[GroundswellError], int] = {
    NotFoundError: 404,
    ConflictError: 409,
    RuntimeEnvironmentError: 503,
}


class VerdictMessage(Record):
    """A verdict from the page: an id that the page made, the item's position, the verdict."""

    event_id: str
    position: int
    verdict: Verdict
    shown: int | None = Field(
        None, description="position of the item on the screen; the page always sends it, null: no picture"
    )


class UndoMessage(Record):
    """A request of the page to undo a verdict."""

    event_id: str
    undoes: str


class Review:
    """One reviewer's session over one sample. Its methods are the routes."""

    def __init__(
        self, sample: AuditSample, store: VerdictStore, reviewer: str, roots: Mapping[str, str] | None = None
    ) -> None:
        self._sample = sample
        self._store = store
        self._reviewer = reviewer
        self._roots = roots
        self._positions = {region.item: position for position, region in enumerate(sample.regions)}
        self._image = lru_cache(maxsize=16)(self._encode_image)

    def routes(self) -> list[Route]:
        """Return all routes of the app."""
        return [
            *[Route(path, _serve_file(name)) for path, name in _FILES.items()],
            Route("/favicon.ico", _answer_no_icon),
            Route("/api/session", self.session),
            Route("/api/items/{position:int}", self.item),
            Route("/api/images/{position:int}", self.image),
            Route("/api/verdicts", self.verdict, methods=["POST"]),
            Route("/api/undo", self.undo, methods=["POST"]),
        ]

    async def session(self, request: Request) -> Response:
        """Return the number of items and this reviewer's verdicts so far."""
        verdicts = await run_in_threadpool(self._store.list_verdicts, self._reviewer)
        given = [
            {"position": self._positions[one.item], "verdict": one.verdict, "event_id": one.event_id}
            for one in verdicts
        ]
        return JSONResponse({"total": len(self._sample.regions), "reviewer": self._reviewer, "given": given})

    async def item(self, request: Request) -> Response:
        """Return what is shown of an item.

        The caption comes in three pieces, because offsets count differently in Python and JavaScript.
        """
        region = self._get_region(request.path_params["position"])
        return JSONResponse(
            {
                "width": region.width,
                "height": region.height,
                "box": region.box,
                "before": region.caption[: region.begin],
                "phrase": region.caption[region.begin : region.end],
                "after": region.caption[region.end :],
            }
        )

    async def image(self, request: Request) -> Response:
        """Return the upright image, decoded and encoded again: no metadata and no foreign bytes reach the browser."""
        position = request.path_params["position"]
        self._get_region(position)
        data, media_type = await run_in_threadpool(self._image, position)
        return Response(data, media_type=media_type)

    async def verdict(self, request: Request) -> Response:
        """Store a verdict. The answer is sent after it is on disk.

        An item is neither accepted nor rejected unless it is the one on the page's screen and this server can show its
        picture.
        """
        message = VerdictMessage.model_validate_json(await request.body())
        item = self._get_region(message.position).item
        if message.verdict != "skip":
            _check_on_screen(message)
            await run_in_threadpool(self._image, message.position)
        seq = await run_in_threadpool(
            self._store.record, message.event_id, item, self._reviewer, message.verdict
        )
        return JSONResponse({"seq": seq}, 201)

    async def undo(self, request: Request) -> Response:
        """Undo a verdict. The answer names the position it was for."""
        message = UndoMessage.model_validate_json(await request.body())
        undone = await run_in_threadpool(self._store.undo, message.event_id, message.undoes, self._reviewer)
        return JSONResponse({"position": self._positions[undone.item]}, 201)

    def _get_region(self, position: int) -> SampledRegion:
        if not 0 <= position < len(self._sample.regions):
            raise NotFoundError(
                f"position {position} is outside the sample's {len(self._sample.regions)} items"
            )
        return self._sample.regions[position]

    def _encode_image(self, position: int) -> tuple[bytes, str]:
        region = self._sample.regions[position]
        try:
            rgb_u8 = read_photo(region.photo_row(), self._roots)
        except NotFoundError as error:
            raise NotFoundError(f"Its picture cannot be shown: {error}.") from error
        except (GroundswellError, OSError) as error:
            raise ConflictError(f"Its picture cannot be shown: {error}.") from error
        height, width = rgb_u8.shape[:2]
        small = width * height <= 256 * 256
        buffer = BytesIO()
        Image.fromarray(rgb_u8).save(buffer, "PNG" if small else "JPEG", **({} if small else {"quality": 92}))
        return buffer.getvalue(), "image/png" if small else "image/jpeg"


def build_app(review: Review, *, token: str, port: int) -> Starlette:
    """Return the app, to be served on 127.0.0.1:`port` to clients with `token`."""
    return Starlette(
        routes=review.routes(),
        middleware=[Middleware(RequestGuard, token=token, port=port)],
        exception_handlers={
            GroundswellError: _answer_error,
            ValidationError: _answer_bad_message,
        },
    )


def serve(
    sample_path: str | Path,
    db_path: str | Path,
    port: int = 0,
    *,
    reviewer: str,
    roots: Mapping[str, str] | None = None,
    announce: Callable[[str], None],
) -> None:
    """Serve the page until interrupted. Port 0 takes a free one.

    reviewer: the name under which verdicts are stored
    roots:    re-bases the images, e.g. `{"s3://a/": "/mnt/a/"}`
    announce: is called with the address to open, which has the session's token (behind `#`, so no log contains it)
    Raises ConfigError for an empty name, NotFoundError, ConflictError (see `read_sample`, `VerdictStore`), and
    RuntimeEnvironmentError if the port is in use.
    """
    if not reviewer.strip():
        raise ConfigError("the reviewer's name is empty; expected a name, under which verdicts are stored")
    sample = read_sample(sample_path)
    review = Review(sample, VerdictStore(db_path, sample), reviewer.strip(), roots)
    token = secrets.token_urlsafe(24)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()  # a browser that opens the announced address waits until the server answers
        except OSError as error:
            raise RuntimeEnvironmentError(
                f"port {port} of 127.0.0.1 cannot be used ({error}): choose another"
            ) from error
        port = listener.getsockname()[1]
        app = build_app(review, token=token, port=port)
        announce(f"http://127.0.0.1:{port}/#{token}")
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, ws="none")
        server = uvicorn.Server(config)
        server.run(sockets=[listener])
        if server.started:  # it ends only by a signal, which its event loop may swallow
            raise KeyboardInterrupt


def _check_on_screen(message: VerdictMessage) -> None:
    if "shown" in message.model_fields_set and message.shown != message.position:
        on_screen = "no picture" if message.shown is None else f"item {message.shown}"
        raise ConflictError(
            f"The verdict is for item {message.position}, the screen shows {on_screen}; "
            "reload the page and judge again."
        )


def _serve_file(name: str) -> Callable[[Request], FileResponse]:
    def answer(request: Request) -> FileResponse:
        return FileResponse(STATIC / name)

    return answer


def _answer_no_icon(request: Request) -> Response:
    return Response(status_code=204)


def _answer_error(request: Request, error: Exception) -> Response:
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
    return JSONResponse({"error": str(error)}, status)


def _answer_bad_message(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the message does not have the form that this page sends"}, 422)
