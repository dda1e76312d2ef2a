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
from harness.timeline import recording, select, story
from harness.timeline.model import Event, Story
from harness.timeline.page import page, web_file
from harness.ui.verb_routes import routes
from harness.ui.watcher import Watcher
from harness.waits import WaitTimeoutError

MOST_EVENTS = 2_000
"""Of one answer; whoever wants more asks again."""
MOST_WAIT_SECONDS = 25.0
MOST_ERROR_CHARACTERS = 2_000
TIMELINES = ("data.js", "draw.js", "views.js", "main.js", "timeline.css")
"""What the live page has from the timeline's."""
OWN = ("network.js", "panels.js", "verbs.js", "live.js", "ui.css")
TYPES = {"js": "text/javascript", "css": "text/css"}


class EventPage(BaseModel):
    """Events in their order. last: the number of the last of them, for the next question's `after`.

    missed: how many of those asked for are forgotten already.
    """

    model_config = ConfigDict(frozen=True)

    last: int
    missed: int
    events: list[Event]


class Problem(BaseModel):
    """Why a request was not carried out: one sentence, and the kind of error."""

    error: str
    kind: str = ""


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "what was asked for cannot be, such as a node that is not there"},
    403: {"model": Problem, "description": "no token, or a page of another address"},
    410: {"model": Problem, "description": "the testbed is down"},
    422: {"model": Problem, "description": "the arguments are not as this document says"},
    502: {"model": Problem, "description": "a node, a component or a container did not do it"},
    504: {"model": Problem, "description": "it was begun, and its effect was not seen in time"},
}


def web(watcher: Watcher) -> FastAPI:
    """The application. It has no guard of its own: see harness.ui.guard."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        watcher.start()
        yield

    app = FastAPI(
        title="testbed",
        version="1",
        description="Watch and drive one running testbed: docs/ui.md. Every path begins with the token of the address.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
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
        """Nodes, components, phones and channels: what `testbed status --json` prints, at most a second old."""
        return watcher.status()

    @app.get("/api/pushes", tags=["watch"])
    def pushes() -> list[Push]:
        """How LSPs notified phones, oldest first: what `testbed pushes --json` prints."""
        testbed = watcher.attach()
        return testbed.push.pushes() if testbed.phones else []

    @app.get("/api/events", tags=["watch"], response_model_exclude_defaults=True)
    async def events(
        after: Annotated[int, Query(ge=0, description="the number of the last event that is known already")] = 0,
        wait_seconds: Annotated[float, Query(ge=0, le=MOST_WAIT_SECONDS, description="for one that is newer")] = 0,
    ) -> EventPage:
        """The timeline as it grows, what `testbed follow --json` prints. Ask again with the `last` of the answer."""
        if wait_seconds:
            await watcher.events.wait_beyond(after, wait_seconds)
        last, found = watcher.events.after(after, MOST_EVENTS)
        return EventPage(last=last, missed=max(0, last - len(found) - after), events=found)

    @app.get("/api/timeline", tags=["watch"], response_model_exclude_defaults=True)
    def timeline(
        payment: Annotated[
            str | None, Query(max_length=64, description="of the payment whose hash begins like this alone")
        ] = None,
    ) -> Story:
        """The whole story so far, or that of one payment: what `testbed timeline --json` prints."""
        told = story.tell(recording.gather(watcher.attach()))
        return told if payment is None else select.of_payment(told, select.payment_of(told, payment))


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
        """The whole story as a page of its own, which brings its own policy."""
        told = page(story.tell(recording.gather(watcher.attach())))
        return HTMLResponse(told, headers={"content-security-policy": "frame-ancestors 'none'"})


def _add_errors(app: FastAPI, watcher: Watcher) -> None:
    def problem(status: int, error: Exception | str) -> JSONResponse:
        kind = "" if isinstance(error, str) else type(error).__name__
        return JSONResponse({"error": str(error)[:MOST_ERROR_CHARACTERS], "kind": kind}, status)

    @app.exception_handler(TestbedError)
    @app.exception_handler(AmountError)
    def refused(_: Request, error: Exception) -> JSONResponse:
        if not watcher.is_up():
            return problem(410, f"testbed {watcher.name} is down. Start it again with `testbed up`")
        if isinstance(error, WaitTimeoutError):
            return problem(504, error)
        return problem(502 if isinstance(error, NodeError | EngineError | PaymentError) else 400, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return problem(422, f"{'.'.join(map(str, first['loc'][1:])) or 'the body'}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, error.detail)

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> JSONResponse:
        return problem(500, f"the server has a fault ({type(error).__name__}); its traceback is on the terminal")
