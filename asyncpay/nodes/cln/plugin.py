#!/usr/bin/env python3
"""What of asyncpay runs inside Core Lightning: a plugin that holds HTLCs and passes on what happens.

    important-plugin=/path/to/plugin.py      # needs Python 3.10 and pyln-client, and no other file of asyncpay

It decides nothing and keeps nothing: the asyncpay process does, which reaches it through lightningd's own RPC.

    asyncpay-attach                     begin: {session}; everything held is offered (again) as events
    asyncpay-events SESSION AFTER       wait for events after this one: {events: [{number, topic, payload}], dropped}
    asyncpay-answer SCID ID RESULT [PAYMENT_KEY]   answer an HTLC: {answered}, false if it is not held (any more)

Three rules only are its own. An HTLC that ends at this node continues at once. One within the margin of its expiry is
failed, for lightningd itself would hold it for ever. And so is one whose channel goes on chain: lightningd forgets the
HTLCs of a closed channel after 100 confirmations (free_htlcs in lightningd/peer_htlcs.c), also those without an output,
which may be held for longer. Its question to us does not end with them, and the answer would reach freed memory.

Without a process an HTLC waits ten seconds for one, then fails. What a process has taken notice of waits for
that process to come back, however long it is away; and so does what lightningd asks about anew when it starts, for of
that a process may have taken notice before.

lightningd names the channel of an HTLC by its short channel id of the moment. A confirmation or a splice changes that,
and after a splice of a private channel nothing tells any more which one had it. So while it holds an HTLC the plugin
finds out the channel's id, which never changes: a process that attaches later has it in the payload (channel_id).

**If this plugin dies, lightningd continues every HTLC that it held.** So no exception may leave a handler, and none
of its answers may be malformed: lightningd dies of those.
"""

import functools
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Any

from pyln.client import Plugin, RpcException

ATTACH_SECONDS = 10.0
"""A process that has not asked for events for so long is away; and so long an HTLC waits for one."""
POLL_SECONDS = 2.0
"""A question for events is answered after this time, events or not: the asking process may be dead."""
TICK_SECONDS = LOOK_UP_SECONDS = 0.25
"""How often deadlines are checked, and the channels of held HTLCs looked up: most are not held for so long."""
MAX_EVENTS = 10_000
"""A process that falls behind by more must attach anew. Offers of HTLCs do not count: those are held in any case."""
MAX_MESSAGE_BYTES = 16_000_000
"""Of peers' messages that wait for the process. What comes beyond is dropped: any peer can send more of them."""
MAX_MESSAGES = 5_000
"""Of all peers, less than MAX_EVENTS: messages alone never end a session."""
MAX_MESSAGES_OF_A_PEER = 200
"""Of those with which CLN tells who sent them."""
MAX_REPLY_EVENTS, MAX_REPLY_BYTES = 1_000, 8_000_000
"""Of one answer to the question for events; the process asks again at once."""
MARGIN_BLOCKS = 6
"""An HTLC that expires in so many blocks is failed: before its payer has a reason to close the channel."""

ON_CHAIN = {"CLOSINGD_COMPLETE", "AWAITING_UNILATERAL", "FUNDING_SPEND_SEEN", "ONCHAIN", "CLOSED"}
"""The states of a channel whose HTLCs can be failed with no message any more."""

CONTINUE = {"result": "continue"}
FAIL = {"result": "fail", "failure_message": "10070000"}
"""temporary_channel_failure (BOLT 4), with no channel_update in it."""

SESSION_OVER = -18001
"""The RPC error of asking for the events of a session that is over."""

NOTIFICATIONS = (
    "connect",
    "disconnect",
    "channel_opened",
    "channel_state_changed",
    "custommsg",
    "onionmessage_forward_fail",
    "forward_event",
    "invoice_payment",
)
ONION_HOOKS = ("onion_message_recv", "onion_message_recv_secret")
"""Passed on as they come; their only answer is to continue."""
MESSAGES = {"custommsg", "onionmessage_forward_fail", *ONION_HOOKS}
"""What peers send at will."""
OFFER = "htlc_accepted"

Key = tuple[str, int]
"""An incoming HTLC: short_channel_id and id."""
Payload = dict[str, Any]


@dataclass
class Held:
    """An HTLC on which lightningd waits for us.

    taken: a process has taken notice of it, as far as we know. looked_up: its channel's id is known, or not to be had.
    """

    payload: Payload
    request: Any
    since: float
    taken: bool
    looked_up: bool = False


class Exchange:
    """What is held, what is to be told, and who waits for it. Every method may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._held: dict[Key, Held] = {}
        self._starting = True  # until a peer connects, no HTLC can be new
        self._sessions = 0
        self._session: int | None = None
        self._events: deque[tuple[Payload, int]] = deque()  # with its size in bytes
        self._counted = 0  # events but offers
        self._message_bytes = 0
        self._messages = 0
        self._messages_of: Counter[str] = Counter()
        self._dropped = 0  # messages, in this session
        self._number = 0
        self._question: Any = None  # the request for events that has no answer yet
        self._answer_by = 0.0
        self._last_heard = clock()

    def attach(self) -> Payload:
        """A process begins, and takes the place of any other."""
        with self._lock:
            self._end_session()
            self._sessions += 1
            self._session = self._sessions
            self._last_heard = self._clock()
            for held in self._held.values():
                self.report(OFFER, held.payload)
            return {"session": self._session}

    def ask(self, session: int, after: int, request: Any) -> None:
        """The process has taken notice of the events up to this number, and wants those that follow."""
        with self._lock:
            if session != self._session:
                request.set_exception(RpcException("this session is over: attach again", SESSION_OVER))
                return
            self._reply()
            while self._events and self._events[0][0]["number"] <= after:
                self._take(*self._events.popleft())
            self._question, self._answer_by = request, self._clock() + POLL_SECONDS
            if self._events:
                self._reply()

    def answer(self, key: Key, result: str, payment_key: str | None = None) -> Payload:
        """Give lightningd the process's answer; RpcException if lightningd could not digest it."""
        with self._lock:
            held = self._held.get(key)
            if held is None:
                return {"answered": False}
            response = response_to(held.payload, result, payment_key)
            del self._held[key]
            held.request.set_result(response)
            return {"answered": True}

    def hold(self, payload: Payload, request: Any) -> None:
        """lightningd asks what to do with an HTLC."""
        if not is_forward(payload):
            request.set_result(CONTINUE)
        elif payload["htlc"]["cltv_expiry_relative"] <= MARGIN_BLOCKS:
            request.set_result(FAIL)
        else:
            with self._lock:
                self._held[key_of(payload)] = Held(payload, request, self._clock(), taken=self._starting)
                self.report(OFFER, payload)

    def block(self, height: int) -> None:
        """The chain has grown: what has come within the margin of its expiry is failed."""
        with self._lock:
            for key, held in list(self._held.items()):
                if held.payload["htlc"]["cltv_expiry"] - height <= MARGIN_BLOCKS:
                    self._give_up(key)
            self.report("block_added", {"height": height})

    def notify(self, topic: str, payload: Payload) -> None:
        """lightningd tells something: of a channel that goes on chain, what is held is failed."""
        with self._lock:
            if topic == "channel_state_changed" and payload["new_state"] in ON_CHAIN:
                names = (payload["channel_id"], payload.get("short_channel_id"))
                for key, held in list(self._held.items()):
                    if held.payload.get("channel_id") in names or key[0] in names:
                        self._give_up(key)
            self.report(topic, payload)

    def report(self, topic: str, payload: Payload) -> None:
        """Something has happened. It is not kept for a process that is not there."""
        with self._lock:
            self._starting &= topic != "connect"
            if self._session is None:
                return
            size = len(json.dumps(payload))
            if topic in MESSAGES and self._is_too_much(payload, size):
                self._dropped += 1
                return
            self._number += 1
            self._events.append(({"number": self._number, "topic": topic, "payload": payload}, size))
            self._count(topic, payload, size, 1)
            if self._counted > MAX_EVENTS:
                self._end_session()
            else:
                self._reply()

    def tick(self) -> None:
        """Time has passed."""
        with self._lock:
            if self._question is not None:
                if self._clock() >= self._answer_by:
                    self._reply()
                return
            if self._clock() - self._last_heard >= ATTACH_SECONDS:
                self._end_session()
            for key, held in list(self._held.items()):
                if not held.taken and self._clock() - max(held.since, self._last_heard) >= ATTACH_SECONDS:
                    self._give_up(key)

    def names(self) -> set[str]:
        """What lightningd called the channels of held HTLCs whose ids are not known yet."""
        with self._lock:
            return {name for (name, _), held in self._held.items() if not held.looked_up}

    def identify(self, name: str, channel: Payload | None) -> None:
        """The channel of this name is this entry of `listpeerchannels`, or unknown."""
        with self._lock:
            for key, held in list(self._held.items()):
                if key[0] == name and not held.looked_up:
                    held.looked_up = True
                    if channel is not None:
                        held.payload["channel_id"] = channel["channel_id"]
                        if channel["state"] in ON_CHAIN:
                            self._give_up(key)

    def _reply(self) -> None:
        """Answer the question for events, if there is one, with what there is."""
        if self._question is not None:
            question, self._question = self._question, None
            self._last_heard = self._clock()
            question.set_result({"events": list(self._page()), "dropped": self._dropped})

    def _page(self) -> Iterator[Payload]:
        """The first events, as many as one answer takes."""
        size = 0
        for event, event_size in islice(self._events, MAX_REPLY_EVENTS):
            size += event_size
            if size > MAX_REPLY_BYTES and size > event_size:
                return
            yield event

    def _is_too_much(self, message: Payload, size: int) -> bool:
        return (
            self._messages_of[sender_of(message)] >= MAX_MESSAGES_OF_A_PEER
            or self._messages >= MAX_MESSAGES
            or self._message_bytes + size > MAX_MESSAGE_BYTES
        )

    def _count(self, topic: str, payload: Payload, size: int, sign: int) -> None:
        self._counted += sign * (topic != OFFER)
        if topic not in MESSAGES:
            return
        self._message_bytes += sign * size
        self._messages += sign
        if sender := sender_of(payload):
            self._messages_of[sender] += sign
            if not self._messages_of[sender]:
                del self._messages_of[sender]

    def _take(self, event: Payload, size: int) -> None:
        self._count(event["topic"], event["payload"], size, -1)
        if event["topic"] == OFFER and (held := self._held.get(key_of(event["payload"]))):
            held.taken = True

    def _give_up(self, key: Key) -> None:
        held = self._held.pop(key)
        held.request.set_result(FAIL)
        self.report("htlc_given_up", held.payload)

    def _end_session(self) -> None:
        self._events.clear()
        self._counted = self._message_bytes = self._messages = self._dropped = 0
        self._messages_of.clear()
        self._reply()
        self._session = None


def sender_of(message: Payload) -> str:
    """The peer from which a message came; empty where CLN does not tell."""
    return str(message.get("peer_id") or message.get("source") or "")


def key_of(payload: Payload) -> Key:
    """The name of the HTLC that `htlc_accepted` is about."""
    return str(payload["htlc"]["short_channel_id"]), int(payload["htlc"]["id"])


def is_forward(payload: Payload) -> bool:
    """Whether the onion names a next hop."""
    return "short_channel_id" in payload["onion"] or "next_node_id" in payload["onion"]


def response_to(payload: Payload, result: str, payment_key: str | None) -> Payload:
    """The hook's response; RpcException for one that would be the end of lightningd."""
    match result:
        case "continue":
            return CONTINUE
        case "fail":
            return FAIL
        case "resolve" if payment_key is not None and opens(payment_key, payload["htlc"]["payment_hash"]):
            return {"result": "resolve", "payment_key": payment_key}
    raise RpcException("RESULT is continue, fail, or resolve with the PAYMENT_KEY that the HTLC asks for")


def opens(payment_key: str, payment_hash: str) -> bool:
    """Whether this is the preimage."""
    try:
        return sha256(bytes.fromhex(payment_key)).hexdigest() == payment_hash
    except ValueError:
        return False


def safely(plugin: Plugin, respond: Callable[[Any], None], fallback: Payload) -> Callable[..., None]:
    """A handler of hooks that cannot raise: at worst lightningd gets the fallback."""

    def handler(request: Any, **_: Any) -> None:
        try:
            respond(request)
        except Exception as error:
            plugin.log(f"asyncpay: {request.method}: {error!r}", "warn")
            if request.state.value == "pending":
                request.set_result(fallback)

    return handler


def register(plugin: Plugin, exchange: Exchange) -> None:
    """Make an exchange of a plugin."""

    def on_onion(request: Any) -> None:
        exchange.report(request.method, request.params["onion_message"])
        request.set_result(CONTINUE)

    def on_htlc(request: Any) -> None:
        exchange.hold({name: request.params[name] for name in ("peer_id", "onion", "htlc")}, request)

    def on_notification(topic: str) -> Callable[..., None]:
        def handler(request: Any, **_: Any) -> None:
            exchange.notify(topic, request.params[topic])

        return handler

    def answer(short_channel_id: str, htlc_id: int, result: str, payment_key: str | None = None) -> Payload:
        return exchange.answer((short_channel_id, int(htlc_id)), result, payment_key)

    def ask(request: Any, session: int, after: int) -> None:
        exchange.ask(int(session), int(after), request)

    plugin.add_hook(OFFER, safely(plugin, on_htlc, FAIL), background=True)
    for hook in ONION_HOOKS:
        plugin.add_hook(hook, safely(plugin, on_onion, CONTINUE), background=True)
    for topic in NOTIFICATIONS:
        plugin.add_subscription(topic, on_notification(topic))
    plugin.add_subscription("block_added", lambda block_added, **_: exchange.block(block_added["height"]))
    plugin.add_method("asyncpay-attach", exchange.attach)
    plugin.add_method("asyncpay-events", ask, background=True)
    plugin.add_method("asyncpay-answer", answer)


def repeat(plugin: Plugin, seconds: float, work: Callable[[], None]) -> None:
    """Do this again and again, in a thread of its own. lightningd may be slow to answer, or not be ready to."""
    while True:
        time.sleep(seconds)
        try:
            work()
        except Exception as error:
            plugin.log(f"asyncpay: {error!r}", "warn")


def look_up(plugin: Plugin, exchange: Exchange) -> None:
    """Find the ids of the channels of held HTLCs."""
    for name in exchange.names():
        channels = plugin.rpc.call("listpeerchannels", {"short_channel_id": name})["channels"]
        exchange.identify(name, channels[0] if channels else None)


def main() -> None:
    """Run until lightningd ends."""
    plugin = Plugin(dynamic=False)  # `plugin stop` would let go of everything held
    exchange = Exchange()
    register(plugin, exchange)
    for work in ((TICK_SECONDS, exchange.tick), (LOOK_UP_SECONDS, functools.partial(look_up, plugin, exchange))):
        threading.Thread(target=repeat, args=(plugin, *work), daemon=True).start()
    plugin.run()


if __name__ == "__main__":
    main()
