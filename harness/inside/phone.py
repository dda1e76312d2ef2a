"""A phone's first process: it runs the apps, node and wallet, like a phone's operating system.

Apps are stopped when the phone sleeps, started when it wakes, suspended when it freezes, and restarted when they
crash. A push wakes a sleeping phone. Running apps are notified of a push, and when the phone has a network again. The
testbed and the push gateway control it over HTTP:

    GET  /status
    POST /sleep /wake /freeze /unfreeze
    POST /push {"method": "lsps5.payment_incoming"}         503 while the phone is frozen: the push is not accepted
    POST /online                                            the phone has a network again
    POST /apps/NAME/stop /kill /start /crash                stop and kill: it stays down until `start`
    GET  /apps/NAME/answers/VERB                            the app's answer to a query, such as `status`

On SIGTERM the container stops after its apps have stopped.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asyncpay.service.common import control_client
from asyncpay.service.common.event_log import EventLog
from harness.inside.app import App
from harness.inside.interface import PHONE_CONFIG_VARIABLE, PhoneConfig, PhoneState
from harness.inside.processes import Reaper

RECONNECT = "reconnect"
"""The call to an app after a push, or when the network is back."""
APP_VERBS = ("stop", "kill", "start", "crash")


class RefusedError(Exception):
    """The request is not possible in the phone's state; the text says why and what to do."""


class Phone:
    """The apps, and the phone's state. Operations are serialized."""

    def __init__(self, apps: list[App], event_log: EventLog) -> None:
        self._telling: set[asyncio.Task[None]] = set()
        self.state = PhoneState.ASLEEP
        self._apps = {app.spec.name: app for app in apps}
        self._event_log = event_log
        self._turn = asyncio.Lock()

    def status(self) -> dict[str, Any]:
        """The phone's state, and each app's."""
        return {"state": self.state.value, "apps": [app.status() for app in self._apps.values()]}

    async def wake(self) -> None:
        """Start the apps, except those that were stopped explicitly."""
        async with self._turn:
            self._wake()

    def _wake(self) -> None:
        if self.state is PhoneState.FROZEN:
            raise RefusedError("the phone is frozen: unfreeze it first")
        for app in self._apps.values():
            if not app.stays_down:
                app.start()
        self._now(PhoneState.AWAKE)

    async def sleep(self) -> None:
        """Shut the apps down cleanly."""
        async with self._turn:
            for app in reversed(self._apps.values()):
                await app.stop()
            self._now(PhoneState.ASLEEP)

    async def freeze(self) -> None:
        """Suspend the apps. Their connections stay open."""
        async with self._turn:
            if self.state is PhoneState.ASLEEP:
                raise RefusedError("the phone is asleep: nothing runs that could be frozen")
            for app in self._apps.values():
                app.suspend()
            self._now(PhoneState.FROZEN)

    async def unfreeze(self) -> None:
        """Resume frozen apps; do nothing if they run."""
        async with self._turn:
            if self.state is PhoneState.ASLEEP:
                raise RefusedError("the phone is asleep and not frozen: wake it")
            for app in self._apps.values():
                app.resume()
            if self.state is PhoneState.FROZEN:
                self._now(PhoneState.AWAKE)

    async def push(self, method: str) -> None:
        """Accept a push: it wakes a sleeping phone."""
        async with self._turn:
            self._wake()
            self._event_log.write("push", method=method)
        self._tell_apps()

    async def network_is_back(self) -> None:
        """Handle that the phone has a network again."""
        self._tell_apps()

    def _tell_apps(self) -> None:
        """Tell the running apps to connect. An app that does not answer delays nothing else."""
        if self.state is not PhoneState.AWAKE or self._telling:
            return
        for app in self._apps.values():
            if app.running and app.spec.control is not None:
                task = asyncio.create_task(asyncio.to_thread(_tell, app.spec.control))
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)

    async def change_app(self, name: str, verb: str) -> None:
        """Apply one of stop, kill, start, crash to one app. Raises RefusedError if that is not possible."""
        if name not in self._apps:
            raise RefusedError(f"there is no app {name} (apps: {', '.join(self._apps)})")
        app = self._apps[name]
        async with self._turn:
            if self.state is PhoneState.FROZEN and verb in ("start", "crash"):
                raise RefusedError("the phone is frozen: unfreeze it first")
            match verb:
                case "stop":
                    await app.stop()
                case "kill":
                    await app.kill()
                case "crash":
                    await app.crash()
                case "start" if self.state is PhoneState.AWAKE:
                    app.start()
            app.stays_down = verb in ("stop", "kill") or (app.stays_down and verb == "crash")
            self._event_log.write(f"{verb} {name}")

    async def answer(self, name: str, verb: str) -> Any:
        """Return a running app's answer to a query without arguments. Raises RefusedError if it does not answer."""
        app = self._apps.get(name)
        if app is None or app.spec.control is None:
            raise RefusedError(f"no app {name} answers questions")
        if self.state is PhoneState.FROZEN:
            raise RefusedError("the phone is frozen: unfreeze it first")
        try:
            return await asyncio.to_thread(control_client.ask, app.spec.control, verb)
        except (control_client.RefusedError, control_client.NotRunningError) as error:
            raise RefusedError(str(error)) from None

    def _now(self, state: PhoneState) -> None:
        if self.state is not state:
            self.state = state
            self._event_log.write(state.value)


def _tell(app: Path) -> None:
    """Tell an app to connect. An app that has just been started does not listen yet; it connects by itself."""
    with suppress(control_client.RefusedError, control_client.NotRunningError):
        control_client.ask(app, RECONNECT)


def web(config: PhoneConfig, event_log: EventLog) -> Starlette:
    """Return the phone as a web application; its apps run as long as it does."""
    phone: Phone

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        nonlocal phone
        reaper = Reaper()
        phone = Phone([App(spec, reaper, event_log) for spec in config.apps], event_log)
        await phone.wake()
        yield
        await phone.sleep()

    def doing(act: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
        """Return a handler that answers with the result of `act`, or with the phone's state after it."""

        async def answer(request: Request) -> Response:
            try:
                said = await act(request)
            except RefusedError as error:
                return JSONResponse({"error": str(error)}, 503)
            return JSONResponse(phone.status() if said is None else said)

        return answer

    async def status(_: Request) -> None: ...

    async def push(request: Request) -> None:
        method = (await request.json()).get("method")
        if not isinstance(method, str):
            raise HTTPException(400, "a push names its method")
        await phone.push(method)

    async def app(request: Request) -> None:
        if (verb := request.path_params["verb"]) not in APP_VERBS:
            raise HTTPException(404, f"what can be done to an app: {', '.join(APP_VERBS)}")
        await phone.change_app(request.path_params["name"], verb)

    verbs: dict[str, Callable[[Request], Awaitable[None]]] = {
        "sleep": lambda _: phone.sleep(),
        "wake": lambda _: phone.wake(),
        "freeze": lambda _: phone.freeze(),
        "unfreeze": lambda _: phone.unfreeze(),
        "push": push,
        "online": lambda _: phone.network_is_back(),
    }
    routes = [Route("/status", doing(status)), Route("/apps/{name}/{verb}", doing(app), methods=["POST"])]
    question = doing(lambda request: phone.answer(request.path_params["name"], request.path_params["verb"]))
    routes += [Route("/apps/{name}/answers/{verb}", question)]
    routes += [Route(f"/{verb}", doing(act), methods=["POST"]) for verb, act in verbs.items()]
    return Starlette(routes=routes, lifespan=life)


def main() -> None:
    """Run a phone until SIGTERM."""
    config = PhoneConfig.model_validate_json(Path(os.environ[PHONE_CONFIG_VARIABLE]).read_text(encoding="utf-8"))
    everywhere = "0.0.0.0"  # noqa: S104 - within its container
    uvicorn.run(
        web(config, EventLog()), host=everywhere, port=config.port, log_level="warning", timeout_graceful_shutdown=1
    )


if __name__ == "__main__":
    main()
