#!/usr/bin/env python3
"""The plugin of asyncpay that runs inside Core Lightning: it holds HTLCs and reports events.

    important-plugin=/path/to/plugin.py      # needs Python 3.10 and pyln-client, and no other file of asyncpay

It makes no decisions and stores nothing: the asyncpay process does that, through lightningd's own RPC.

    asyncpay-attach                     begin: {session}; all held HTLCs are offered (again) as events
    asyncpay-events SESSION AFTER       wait for events after this one: {events: [{number, topic, payload}], dropped}
    asyncpay-answer SCID ID RESULT [PAYMENT_KEY]   resolve an HTLC: {answered}, false if it is not held (any more)

Only three rules are its own. An HTLC for this node itself continues immediately. One within the margin of its expiry is
failed, because lightningd would hold it forever. So is one whose channel goes on chain: lightningd frees the HTLCs of a
closed channel after 100 confirmations (free_htlcs in lightningd/peer_htlcs.c), also those without an output, which may
be held for longer. The pending hook call does not end with them, and its response would access freed memory.

While no process is attached an HTLC waits ten seconds for one, then fails. An HTLC that was delivered to a process
waits for that process to return, for any length of time; so do HTLCs for which lightningd calls the hook again at its
start, because they may have been delivered before.

lightningd names the channel of an HTLC by its current short channel id. A confirmation or a splice changes that,
and after a splice of a private channel the old name cannot be resolved any more. So while it holds an HTLC the plugin
looks up the channel's id, which never changes: a process that attaches later finds it in the payload (channel_id).

**If this plugin ends, lightningd continues every HTLC that it held.** So no exception may leave a handler, and none
of its responses may be malformed: lightningd crashes on those.
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
"""A process that has not requested events for this long counts as away; an HTLC waits this long for a process."""
POLL_SECONDS = 2.0
"""A request for events is answered after this time, with or without events: the process may be dead."""
TICK_SECONDS = LOOK_UP_SECONDS = 0.25
"""How often deadlines are checked, and how often channels of held HTLCs are looked up: most are resolved sooner."""
MAX_EVENTS = 10_000
"""A process that falls behind by more must attach again. Offers of HTLCs do not count: they are held in any case."""
MAX_MESSAGE_BYTES = 16_000_000
"""The limit of peers' messages that wait for the process. Further ones are dropped: any peer can send many."""
MAX_MESSAGES = 5_000
"""The limit for all peers together, less than MAX_EVENTS: messages alone never end a session."""
MAX_MESSAGES_OF_A_PEER = 200
"""The limit for one peer, of the messages whose sender CLN reports."""
MAX_REPLY_EVENTS, MAX_REPLY_BYTES = 1_000, 8_000_000
"""The limit of one answer with events; the process sends the next request immediately."""
MARGIN_BLOCKS = 6
"""An HTLC that expires in this many blocks is failed: before its payer has a reason to close the channel."""

ON_CHAIN = {"CLOSINGD_COMPLETE", "AWAITING_UNILATERAL", "FUNDING_SPEND_SEEN", "ONCHAIN", "CLOSED"}
"""The states of a channel whose HTLCs can no longer be failed by a message."""

CONTINUE = {"result": "continue"}
FAIL = {"result": "fail", "failure_message": "10070000"}
"""temporary_channel_failure (BOLT 4), with no channel_update in it."""

SESSION_OVER = -18001
"""The RPC error of a request for the events of an ended session."""

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
"""Hooks whose calls are passed on as events; their only response is to continue."""
MESSAGES = {"custommsg", "onionmessage_forward_fail", *ONION_HOOKS}
"""The topics of messages that peers can send in any number."""
OFFER = "htlc_accepted"

Key = tuple[str, int]
"""An incoming HTLC: short_channel_id and id."""
Payload = dict[str, Any]


@dataclass
class Held:
    """An HTLC for which lightningd waits for our response.

    taken: it was delivered to a process, as far as we know. looked_up: its channel's id is known, or cannot be found.
    """

    payload: Payload
    request: Any
    since: float
    taken: bool
    looked_up: bool = False


class Exchange:
    """The held HTLCs, the undelivered events, and the open request for events. All methods are thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._held: dict[Key, Held] = {}
        self._starting = True  # until a peer connects, no HTLC is new
        self._sessions = 0
        self._session: int | None = None
        self._events: deque[tuple[Payload, int]] = deque()  # each with its size in bytes
        self._counted = 0  # events except offers
        self._message_bytes = 0
        self._messages = 0
        self._messages_of: Counter[str] = Counter()
        self._dropped = 0  # messages, in this session
        self._number = 0
        self._question: Any = None  # the request for events that has no answer yet
        self._answer_by = 0.0
        self._last_heard = clock()

    def attach(self) -> Payload:
        """Begin the session of a process, which replaces any other."""
        with self._lock:
            self._end_session()
            self._sessions += 1
            self._session = self._sessions
            self._last_heard = self._clock()
            for held in self._held.values():
                self.report(OFFER, held.payload)
            return {"session": self._session}

    def ask(self, session: int, after: int, request: Any) -> None:
        """Handle a request for events: those up to this number were delivered, those after it are wanted."""
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
        """Respond to lightningd with the process's resolution; RpcException if lightningd could not handle it."""
        with self._lock:
            held = self._held.get(key)
            if held is None:
                return {"answered": False}
            response = response_to(held.payload, result, payment_key)
            del self._held[key]
            held.request.set_result(response)
            return {"answered": True}

    def hold(self, payload: Payload, request: Any) -> None:
        """Handle lightningd's hook call for an HTLC."""
        if not is_forward(payload):
            request.set_result(CONTINUE)
        elif payload["htlc"]["cltv_expiry_relative"] <= MARGIN_BLOCKS:
            request.set_result(FAIL)
        else:
            with self._lock:
                self._held[key_of(payload)] = Held(payload, request, self._clock(), taken=self._starting)
                self.report(OFFER, payload)

    def block(self, height: int) -> None:
        """Handle a new block: fail the HTLCs that are now within the margin of their expiry."""
        with self._lock:
            for key, held in list(self._held.items()):
                if held.payload["htlc"]["cltv_expiry"] - height <= MARGIN_BLOCKS:
                    self._give_up(key)
            self.report("block_added", {"height": height})

    def notify(self, topic: str, payload: Payload) -> None:
        """Handle a notification of lightningd: if a channel goes on chain, fail its held HTLCs."""
        with self._lock:
            if topic == "channel_state_changed" and payload["new_state"] in ON_CHAIN:
                names = (payload["channel_id"], payload.get("short_channel_id"))
                for key, held in list(self._held.items()):
                    if held.payload.get("channel_id") in names or key[0] in names:
                        self._give_up(key)
            self.report(topic, payload)

    def report(self, topic: str, payload: Payload) -> None:
        """Add an event. While no process is attached, events are not kept."""
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
        """Check the deadlines."""
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
        """Return lightningd's names of the channels of held HTLCs whose channel ids are not known yet."""
        with self._lock:
            return {name for (name, _), held in self._held.items() if not held.looked_up}

    def identify(self, name: str, channel: Payload | None) -> None:
        """Record the entry of `listpeerchannels` of the channel with this name; None: it is unknown."""
        with self._lock:
            for key, held in list(self._held.items()):
                if key[0] == name and not held.looked_up:
                    held.looked_up = True
                    if channel is not None:
                        held.payload["channel_id"] = channel["channel_id"]
                        if channel["state"] in ON_CHAIN:
                            self._give_up(key)

    def _reply(self) -> None:
        """Answer the open request for events, if there is one, with the events so far."""
        if self._question is not None:
            question, self._question = self._question, None
            self._last_heard = self._clock()
            question.set_result({"events": list(self._page()), "dropped": self._dropped})

    def _page(self) -> Iterator[Payload]:
        """Yield the first events, as many as fit into one answer."""
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
    """Return the peer from which a message came; empty if CLN does not report it."""
    return str(message.get("peer_id") or message.get("source") or "")


def key_of(payload: Payload) -> Key:
    """Return the key of the HTLC of an `htlc_accepted`."""
    return str(payload["htlc"]["short_channel_id"]), int(payload["htlc"]["id"])


def is_forward(payload: Payload) -> bool:
    """Return whether the onion names a next hop."""
    return "short_channel_id" in payload["onion"] or "next_node_id" in payload["onion"]


def response_to(payload: Payload, result: str, payment_key: str | None) -> Payload:
    """Return the hook's response; RpcException for one that would crash lightningd."""
    match result:
        case "continue":
            return CONTINUE
        case "fail":
            return FAIL
        case "resolve" if payment_key is not None and opens(payment_key, payload["htlc"]["payment_hash"]):
            return {"result": "resolve", "payment_key": payment_key}
    raise RpcException("RESULT must be continue, fail, or resolve with the preimage of the HTLC as PAYMENT_KEY")


def opens(payment_key: str, payment_hash: str) -> bool:
    """Return whether this is the preimage."""
    try:
        return sha256(bytes.fromhex(payment_key)).hexdigest() == payment_hash
    except ValueError:
        return False


def safely(plugin: Plugin, respond: Callable[[Any], None], fallback: Payload) -> Callable[..., None]:
    """Return a handler of hooks that cannot raise: after an exception lightningd gets the fallback."""

    def handler(request: Any, **_: Any) -> None:
        try:
            respond(request)
        except Exception as error:
            plugin.log(f"asyncpay: {request.method}: {error!r}", "warn")
            if request.state.value == "pending":
                request.set_result(fallback)

    return handler


def register(plugin: Plugin, exchange: Exchange) -> None:
    """Register the handlers of an exchange in a plugin."""

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
    """Repeat this work forever, in its own thread. lightningd may answer slowly, or not be ready to answer."""
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
    plugin = Plugin(dynamic=False)  # after `plugin stop` lightningd would continue all held HTLCs
    exchange = Exchange()
    register(plugin, exchange)
    for work in ((TICK_SECONDS, exchange.tick), (LOOK_UP_SECONDS, functools.partial(look_up, plugin, exchange))):
        threading.Thread(target=repeat, args=(plugin, *work), daemon=True).start()
    plugin.run()


if __name__ == "__main__":
    main()
