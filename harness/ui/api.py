"""The HTTP API of a testbed, and the page on it. FastAPI writes its OpenAPI document: `testbed ui --openapi`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from asyncpay.amounts import AmountError
from harness.checks.status import Status
from harness.engines.base import EngineError
from harness.errors import NodeError, PaymentError, TestbedError
from harness.inside.interface import Push
from harness.services.answers import cleaned
from harness.timeline import recording, select, story
from harness.timeline.model import Event, Timeline
from harness.timeline.page import page, web_file
from harness.ui.verb_routes import routes
from harness.ui.watcher import Watcher
from harness.waits import WaitTimeoutError

MOST_EVENTS = 5_000
"""The limit of one response; a client requests the rest with another call."""
MOST_WAIT_SECONDS = 25.0
MOST_ERROR_CHARACTERS = 2_000
TIMELINES = ("data.js", "draw.js", "views.js", "main.js", "timeline.css")
"""The files of the live page that the timeline uses too."""
OWN = ("network.js", "panels.js", "verbs.js", "live.js", "ui.css")
TYPES = {"js": "text/javascript", "css": "text/css"}
JSON = "application/json"
"""Of answers with many events: pydantic writes them ten times as fast as FastAPI does."""


class EventPage(BaseModel):
    """Events in order. last: the number of the last one, for `after` in the next request.

    missed: how many of the requested events have been dropped already. run: another number than in the last response:
    the testbed was brought up again; drop all earlier events.
    """

    model_config = ConfigDict(frozen=True)

    run: int
    last: int
    missed: int
    events: list[Event]


class Problem(BaseModel):
    """Why a request failed: one sentence, and the kind of error."""

    error: str
    kind: str = ""


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "the request is not possible, such as for an unknown node"},
    403: {"model": Problem, "description": "no token, or a page from another origin"},
    410: {"model": Problem, "description": "the testbed is down"},
    422: {"model": Problem, "description": "the arguments do not match this document"},
    502: {"model": Problem, "description": "a node, a component or a container failed"},
    504: {"model": Problem, "description": "the operation was started, and its effect did not become visible in time"},
}


def web(watcher: Watcher) -> FastAPI:
    """Return the application, without access control: see harness.ui.guard."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        watcher.start()
        yield

    app = FastAPI(
        title="testbed",
        version="1",
        description="Watch and control one running testbed: docs/ui.md. Every path begins with the address's token.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        root_path_in_servers=False,  # the document must not contain the token
        servers=[{"url": "..", "description": "relative to the address of this document"}],
        lifespan=life,
        responses=ERRORS,
        redirect_slashes=False,
    )
    _add_errors(app, watcher)
    _add_page(app, watcher)
    _add_questions(app, watcher)
    app.include_router(routes(watcher))
    return app


def _add_questions(app: FastAPI, watcher: Watcher) -> None:
    @app.get("/api/status", tags=["watch"])
    def status() -> Status:
        """Return the output of `testbed status --json`, at most a second old."""
        return watcher.status()

    @app.get("/api/pushes", tags=["watch"])
    def pushes() -> list[Push]:
        """Return LSPs' notifications of phones, oldest first: the output of `testbed pushes --json`."""
        testbed = watcher.attach()
        return testbed.push.pushes() if testbed.phones else []

    @app.get("/api/events", tags=["watch"], response_model=EventPage)
    async def events(
        after: Annotated[int, Query(ge=0, description="the number of the last event that the client has")] = 0,
        wait_seconds: Annotated[
            float, Query(ge=0, le=MOST_WAIT_SECONDS, description="how long to wait for a newer event")
        ] = 0,
    ) -> Response:
        """Return new events, like `testbed follow --json`. Pass `last` as `after` in the next request."""
        if wait_seconds:
            await watcher.events.wait_beyond(after, wait_seconds)
        run, last, found = watcher.events.after(after, MOST_EVENTS)
        told = EventPage(run=run, last=last, missed=max(0, last - len(found) - after), events=found)
        return Response(told.model_dump_json(exclude_defaults=True), media_type=JSON)

    @app.get("/api/timeline", tags=["watch"], response_model=Timeline)
    def timeline(
        payment: Annotated[
            str | None, Query(max_length=64, description="only the payment whose hash has this prefix")
        ] = None,
    ) -> Response:
        """Return the timeline so far, or that of one payment: the output of `testbed timeline --json`."""
        told = story.tell(recording.gather(watcher.attach()))
        chosen = told if payment is None else select.of_payment(told, select.payment_of(told, payment))
        return Response(chosen.as_json_bytes(), media_type=JSON)


def _add_page(app: FastAPI, watcher: Watcher) -> None:
    web_files = files("harness.ui") / "web"
    contents = {name: web_file(name) for name in TIMELINES}
    contents |= {name: (web_files / name).read_text(encoding="utf-8") for name in OWN}
    html = (web_files / "ui.html").read_text(encoding="utf-8")

    @app.get("/", include_in_schema=False)
    async def root() -> HTMLResponse:
        return HTMLResponse(html)

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        if name not in contents:
            raise HTTPException(404, "there is no such file")
        return Response(contents[name], media_type=TYPES[name.rpartition(".")[2]])

    @app.get("/timeline.html", include_in_schema=False)
    def timeline_page() -> HTMLResponse:
        """Return the timeline as a separate page, with its own content security policy."""
        told = page(story.tell(recording.gather(watcher.attach())))
        return HTMLResponse(told, headers={"content-security-policy": "frame-ancestors 'none'"})


def _add_errors(app: FastAPI, watcher: Watcher) -> None:
    def problem(status: int, error: Exception | str) -> JSONResponse:
        kind = "" if isinstance(error, str) else type(error).__name__
        said = cleaned(str(error)[:MOST_ERROR_CHARACTERS])
        return JSONResponse({"error": said, "kind": kind}, status)

    @app.exception_handler(TestbedError)
    @app.exception_handler(AmountError)
    def refused(_: Request, error: Exception) -> JSONResponse:
        if not watcher.is_up():
            return problem(410, f"testbed {watcher.name} is down. Start it again with `testbed up`")
        if isinstance(error, WaitTimeoutError):
            return problem(504, error)
        return problem(502 if isinstance(error, NodeError | EngineError | PaymentError) else 400, error)

    @app.exception_handler(OSError)
    def no_engine(_: Request, error: Exception) -> JSONResponse:
        return problem(502, f"the container engine does not answer: {error}")

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return problem(422, f"{'.'.join(map(str, first['loc'][1:])) or 'the body'}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, error.detail)

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> JSONResponse:
        return problem(500, f"internal error of the server ({type(error).__name__}); its traceback is on the terminal")
