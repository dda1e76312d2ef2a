"""The plugin's exchange without lightningd: a clock, requests that keep their answer, and one HTLC."""

from hashlib import sha256
from types import SimpleNamespace
from typing import Any

from asyncpay.nodes.cln.plugin import Exchange

PREIMAGE = bytes(32)
KEY = ("1x2x3", 4)


def htlc(blocks_left: int = 100, **onion: Any) -> dict[str, Any]:
    return {
        "peer_id": "02" * 33,
        "onion": {"short_channel_id": "5x6x7"} | onion,
        "htlc": {
            "short_channel_id": "1x2x3",
            "id": 4,
            "cltv_expiry": 1_000,
            "cltv_expiry_relative": blocks_left,
            "payment_hash": sha256(PREIMAGE).hexdigest(),
        },
    }


class Request:
    """A request of lightningd's: `said` is what it was answered."""

    method = "htlc_accepted"

    def __init__(self) -> None:
        self.said: Any = None
        self.state = SimpleNamespace(value="pending")

    def set_result(self, result: Any) -> None:
        assert self.said is None
        self.said, self.state.value = result, "finished"

    set_exception = set_result


class PluginHarness:
    """An exchange, its clock, and one HTLC that it was asked about. A peer has connected since lightningd started."""

    def __init__(self) -> None:
        self.now = 0.0
        self.start()

    def start(self) -> None:
        """lightningd starts, or starts again."""
        self.exchange = Exchange(lambda: self.now)
        self.htlc = Request()

    def offer(self, payload: dict[str, Any] | None = None) -> None:
        self.exchange.hold(payload or htlc(), self.htlc)

    def attach(self) -> int:
        session: int = self.exchange.attach()["session"]
        return session

    def ask(self, session: int, after: int = 0) -> Request:
        question = Request()
        self.exchange.ask(session, after, question)
        return question

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.exchange.tick()


def topics(question: Request) -> list[str]:
    return [event["topic"] for event in question.said["events"]]
