"""The push gateway: receives LSPs' notifications (bLIP-55) over HTTPS, checks them, and pushes them to phones.

Like the push services of phone makers, it knows the device of each webhook, and keeps a push until the device
accepts it, for a day at most. The web interface:

    POST /subscriptions {"phone": "A", "lsp": NODE_ID}  -> {"token": ...}, to be registered as https://push/TOKEN
    POST /TOKEN                                         an LSP's notification: 200 if it was accepted
    GET  /pushes                                        every notification received, with its delivery
    POST /behaviour {"answer": "500"}                   see `Behaviour`
"""

import asyncio
import json
import os
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import tenacity
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from asyncpay.lsps.notifications import Receiver, RefusedNotificationError
from asyncpay.service.common.event_log import EventLog
from harness.inside.interface import PUSH_CONFIG_VARIABLE, Behaviour, Push, PushConfig, Records, Subscription

MAX_BODY_BYTES = 4_096
MAX_PUSHES = 1_000
"""Older ones are dropped."""
KEPT_SECONDS = 24 * 3_600
FIRST_RETRY_SECONDS, MOST_RETRY_SECONDS = 0.2, 2.0
PHONE_SECONDS = 5
"""The timeout for a phone's answer."""


class Gateway:
    """Subscriptions, pushes, and their delivery: sequential and in order for each phone."""

    def __init__(self, config: PushConfig, event_log: EventLog) -> None:
        self.behaviour = Behaviour.NORMALLY
        self._config = config
        self._event_log = event_log
        self._file = Path(config.state)
        self.records = Records.model_validate_json(self._file.read_text()) if self._file.exists() else Records()
        self._receivers: dict[str, Receiver] = {}
        self._news: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Deliver pushes to phones within the `with` block."""
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self._deliver_to(*phone)) for phone in self._config.phones.items()]
            yield
            for worker in workers:
                worker.cancel()

    def subscribe(self, phone: str, lsp: str) -> Subscription:
        """Return a new webhook for the notifications of this LSP only; the phone's earlier webhooks stay valid."""
        subscription = Subscription(token=secrets.token_urlsafe(24), phone=phone, lsp=lsp)
        subscriptions = {**self.records.subscriptions, subscription.token: subscription}
        self._keep(self.records.model_copy(update={"subscriptions": subscriptions}))
        self._event_log.write("subscribed", phone=phone, lsp=lsp)
        return subscription

    def knows(self, phone: str) -> bool:
        """Whether there is such a phone."""
        return phone in self._config.phones

    def take(self, subscription: Subscription, headers: dict[str, str], body: bytes) -> Push:
        """Check a notification, and keep it for the phone if it is genuine."""
        refused = self._objection(subscription, headers, body)
        push = Push(
            time=time.time(),
            phone=subscription.phone,
            method=_method(body),
            body=body.decode(errors="replace"),
            refused=refused,
            checked=self.behaviour is Behaviour.NORMALLY,
        )
        self._keep(self.records.model_copy(update={"pushes": [*self.records.pushes, push][-MAX_PUSHES:]}))
        self._event_log.write("refused" if refused else "taken", phone=push.phone, method=push.method, because=refused)
        self._news[push.phone].set()
        return push

    def _objection(self, subscription: Subscription, headers: dict[str, str], body: bytes) -> str | None:
        if self.behaviour is not Behaviour.NORMALLY:
            return f"the gateway was told to answer: {self.behaviour}"
        receiver = self._receivers.setdefault(subscription.token, Receiver(bytes.fromhex(subscription.lsp)))
        try:
            receiver.accept(headers, body, time.time())
        except RefusedNotificationError as error:
            return str(error)
        return None

    async def _deliver_to(self, phone: str, url: str) -> None:
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_result(lambda delivered: not delivered),
            wait=tenacity.wait_exponential(multiplier=FIRST_RETRY_SECONDS, max=MOST_RETRY_SECONDS),
        )
        async with httpx.AsyncClient(timeout=PHONE_SECONDS, trust_env=False) as client:
            while True:
                if self._next(phone) is None:
                    self._news[phone].clear()
                    await self._news[phone].wait()
                else:
                    await retrying.copy()(self._deliver_next, client, phone, url)

    async def _deliver_next(self, client: httpx.AsyncClient, phone: str, url: str) -> bool:
        """Try to deliver the oldest waiting push once. Return whether nothing is left to retry; old pushes expire."""
        push = self._next(phone)
        return push is None or await self._deliver(client, url, push)

    def _next(self, phone: str) -> Push | None:
        since = time.time() - KEPT_SECONDS
        waiting = (push for push in self.records.pushes if push.phone == phone and push.time > since)
        return next((push for push in waiting if push.refused is None and push.delivered is None), None)

    async def _deliver(self, client: httpx.AsyncClient, url: str, push: Push) -> bool:
        """Try once. The phone receives only the notification's method."""
        push.attempts += 1
        try:
            answer = await client.post(url, json={"method": push.method})
        except httpx.HTTPError:
            return False
        if not answer.is_success:
            return False
        push.delivered = time.time()
        self._keep(self.records)
        self._event_log.write("delivered", phone=push.phone, method=push.method, attempts=push.attempts)
        return True

    def _keep(self, records: Records) -> None:
        """Store the records, and use them from now on; if they cannot be stored, the earlier ones stay."""
        part = self._file.with_name(self._file.name + ".part")
        part.write_text(records.model_dump_json(), encoding="utf-8")
        part.replace(self._file)
        self.records = records


class Web:
    """The gateway as a web application; pushes are delivered while it runs."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        posted = {"/subscriptions": self._subscribe, "/behaviour": self._behave, "/{token}": self._take}
        routes = [Route(path, handler, methods=["POST"]) for path, handler in posted.items()]
        self.application = Starlette(routes=[Route("/pushes", self._pushes), *routes], lifespan=self._life)

    @asynccontextmanager
    async def _life(self, _: Starlette) -> AsyncIterator[None]:
        async with self._gateway.delivering():
            yield

    async def _subscribe(self, request: Request) -> Response:
        with _badly_asked():
            wanted = json.loads(await _body(request))
            if not self._gateway.knows(wanted["phone"]):
                raise HTTPException(404, "there is no such phone")
            return JSONResponse({"token": self._gateway.subscribe(wanted["phone"], wanted["lsp"]).token})

    async def _pushes(self, _: Request) -> Response:
        return JSONResponse(self._gateway.records.model_dump(mode="json")["pushes"])

    async def _behave(self, request: Request) -> Response:
        with _badly_asked():
            self._gateway.behaviour = Behaviour(json.loads(await _body(request))["answer"])
        return JSONResponse({"answer": self._gateway.behaviour})

    async def _take(self, request: Request) -> Response:
        subscription = self._gateway.records.subscriptions.get(request.path_params["token"])
        if subscription is None:
            raise HTTPException(404, "there is no subscription with this token")
        push = self._gateway.take(subscription, dict(request.headers), await _body(request))
        match self._gateway.behaviour:
            case Behaviour.HANG:
                await asyncio.Event().wait()
            case Behaviour.REDIRECT:
                return RedirectResponse(f"/{subscription.token}?again", 307)
            case Behaviour.ERROR:
                raise HTTPException(500)
        return JSONResponse({"refused": push.refused}, 403 if push.refused else 200)


@contextmanager
def _badly_asked() -> Iterator[None]:
    """Refuse a request that is not as described above."""
    try:
        yield
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise HTTPException(400, "this is not a request of the gateway") from error


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"a notification has at most {MAX_BODY_BYTES} bytes")
    return body


def _method(body: bytes) -> str | None:
    """Return the method, without half surrogate pairs: JSON has them, and UTF-8 does not."""
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    method = said.get("method") if isinstance(said, dict) else None
    return method.encode(errors="replace").decode() if isinstance(method, str) else None


def main() -> None:
    """Run the gateway until SIGTERM."""
    config = PushConfig.model_validate_json(Path(os.environ[PUSH_CONFIG_VARIABLE]).read_text(encoding="utf-8"))
    everywhere = "0.0.0.0"  # noqa: S104 - within its container
    uvicorn.run(
        Web(Gateway(config, EventLog())).application,
        host=everywhere,
        port=config.port,
        ssl_certfile=config.certificate,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
