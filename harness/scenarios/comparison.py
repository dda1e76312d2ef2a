"""The same payment with the same faults at the same times for two designs (designs.py), and the measurements.

`python -m harness.scenarios.comparison FILE [CASE ...]` runs the cases on separate testbeds and writes the results to
the file as JSON. Each result replaces the earlier one of its case. `comparison_page` generates docs/comparison.md from
the file.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from harness import snapshots
from harness.checks import balances
from harness.checks.balances import Balances
from harness.errors import TestbedError
from harness.progress import Phases
from harness.scenarios.async_payment import AMOUNT_MSAT, ROLES
from harness.scenarios.designs import DESIGNS, Design
from harness.services.toxiproxy import Direction
from harness.testbed import Testbed
from harness.waits import Predicate, WaitTimeoutError, wait_for

PLAIN = "plain"
PLAIN_RUNS = 3
HAND_OVER_SECONDS, PAID_SECONDS, TOLD_SECONDS, ENDED_SECONDS = 90, 25, 10, 60
WAKE_SECONDS = 20
"""How long the comparison waits for a sleeping B to be woken by its LSP."""
SLOW_MS = 2_000
"""The latency from A to LSP_a in the cases in which A's link breaks while data is in transit."""
INTERVAL_SECONDS = 0.05


Named = TypeVar("Named", "Case", type[Design])


class ComparisonError(TestbedError):
    """The balances contradict the outcome that a design reports."""


@dataclass
class Run:
    """The result of one payment, for which all money is counted.

    paid: A's own software reported so in the end; otherwise the payment was returned.
    a_seconds: from A's order to pay until its phone may go offline. b_seconds: from the time at which B's link is
    restored until B has the money. a_again_seconds: the same for A, until it has the preimage.
    hold_blocks: the number of blocks for which LSP_a would have held it. blocks: the number of
    blocks until it ended.
    messages: onion messages from node to node, from A's order to the end. note: other observations.
    """

    case: str
    paid: bool = False
    a_seconds: float | None = None
    b_seconds: float | None = None
    a_again_seconds: float | None = None
    hold_blocks: int = 0
    blocks: int = 0
    messages: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Case:
    """A fault during the payment. what: the text on the page. Each function is called with the stage, at its time.

    before: B is offline, and A has no order to pay yet. handed_over: A reports the hand-over. held: both are offline.
    b_back: bring B back. sleeps: B does not lose its link, but sleeps.
    """

    name: str
    what: str
    before: Callable[["Stage"], None] = lambda _: None
    handed_over: Callable[["Stage"], None] = lambda stage: stage.wait_until_message_waits()
    held: Callable[["Stage"], None] = lambda _: None
    b_back: Callable[["Stage"], None] = lambda stage: stage.design.b.reconnect()
    sleeps: bool = False


@dataclass
class Stage:
    """A payment in progress."""

    design: Design
    case: Case
    run: Run
    height: int = 0
    received: int = 0

    @property
    def testbed(self) -> Testbed:
        """The testbed of the payment."""
        return self.design.testbed

    def wait(self, name: str, missing: Callable[[], str | None], seconds: float) -> float:
        """Wait until nothing is missing; return the seconds that it took."""
        began = time.monotonic()
        wait_for(Predicate(name, missing), seconds, INTERVAL_SECONDS)
        return round(time.monotonic() - began, 2)

    def wait_until_message_waits(self) -> None:
        """Wait until B's LSP stores the message from A to B."""
        self.wait("message_waits", self.design.missing_to_wait_for_b, HAND_OVER_SECONDS)

    def wait_until_lsp_a_has_more(self) -> None:
        """Wait until LSP_a has received one more onion message since A reported the hand-over."""

        def missing() -> str | None:
            received = self.design.node(ROLES.payer_lsp).onion_messages()[1]
            return None if received > self.received else "nothing has come"

        self.wait("message_at_lsp_a", missing, HAND_OVER_SECONDS)


def _crash(lsp: str) -> Callable[[Stage], None]:
    def crash(stage: Stage) -> None:
        stage.design.crash(lsp)
        stage.design.start_and_wait(lsp)

    return crash


def _slow_link(stage: Stage) -> None:
    stage.design.a.latency(SLOW_MS, Direction.UPSTREAM)


def _lose_message(stage: Stage) -> None:
    """Kill B's LSP before A's message reaches it."""
    stage.design.crash(ROLES.payee_lsp)
    stage.wait_until_lsp_a_has_more()


def _wait_half(stage: Stage) -> None:
    stage.testbed.mine(stage.run.hold_blocks // 2)


def _wait_too_long(stage: Stage) -> None:
    stage.testbed.mine(stage.run.hold_blocks)


def _wake(stage: Stage) -> None:
    try:
        stage.wait("woken", stage.design.missing_to_be_paid, WAKE_SECONDS)
        stage.run.note = "B was woken by its LSP"
    except WaitTimeoutError:
        stage.run.note = f"B got no push in {WAKE_SECONDS} s; its user woke it"
        stage.design.b.wake()


CASES = (
    Case(PLAIN, "no fault; A is offline from its hand-over until B is paid"),
    Case("lsp-a-crash", "LSP_a is killed while it holds the payment", held=_crash(ROLES.payer_lsp)),
    Case("lsp-b-crash", "LSP_b is killed while it keeps the message for B", held=_crash(ROLES.payee_lsp)),
    Case(
        "link-breaks",
        "A's link breaks as its software says that the payment is at LSP_a",
        before=_slow_link,
        handed_over=lambda _: None,
    ),
    Case(
        "message-lost",
        "LSP_b is down as A's message comes to it, and A goes offline",
        before=_slow_link,
        handed_over=_lose_message,
        held=lambda stage: stage.design.start_and_wait(ROLES.payee_lsp),
    ),
    Case("half-way", "B comes back after half of the blocks for which LSP_a holds the payment", held=_wait_half),
    Case("too-late", "B comes back in the block in which LSP_a gives the payment up", held=_wait_too_long),
    Case("asleep", "B's phone sleeps, and its user does nothing", b_back=_wake, sleeps=True),
)


def play(design: Design, case: Case) -> Run:
    """Run one payment with its fault, and restore everything. Return its result, for which all money is counted."""
    run = Run(case.name)
    stage = Stage(design, case, run)
    before = balances.count(design.testbed)
    request = design.request()
    (design.b.sleep if case.sleeps else design.b.disconnect)()
    case.before(stage)
    sent_before = design.onion_messages_sent() if case.name == PLAIN else {}
    design.pay(request)
    run.a_seconds = stage.wait("handed_over", design.missing_to_be_handed_over, HAND_OVER_SECONDS)
    stage.received = design.node(ROLES.payer_lsp).onion_messages()[1]
    case.handed_over(stage)
    design.a.disconnect()
    run.a_seconds = design.handed_over_seconds() or run.a_seconds
    stage.height = design.testbed.chain.height_blocks
    gives_up_at = design.gives_up_at()
    run.hold_blocks = gives_up_at - stage.height
    case.held(stage)
    began = time.monotonic()
    case.b_back(stage)
    try:
        stage.wait("b_paid", design.missing_to_be_paid, PAID_SECONDS)
        run.b_seconds = round(time.monotonic() - began, 2)
    except WaitTimeoutError:
        run.note = "; ".join(filter(None, (run.note, "B is online, and does not get it")))
    _end(stage, gives_up_at)
    if case.name == PLAIN:
        sent = design.onion_messages_sent()
        run.messages = sum(sent[name] - sent_before[name] for name in sent)
    _count(stage, before)
    return run


def _end(stage: Stage, gives_up_at: int) -> None:
    """Bring A back, and wait until it knows the outcome; if it does not, mine until LSP_a gives the payment up."""
    design, run = stage.design, stage.run
    began = time.monotonic()
    if stage.case.before is _slow_link:
        design.a.restore_link()
    else:
        design.a.reconnect()

    def missing() -> str | None:
        return None if design.ended() is not None else "A does not know"

    try:
        stage.wait("a_knows", missing, ENDED_SECONDS if run.b_seconds is not None else TOLD_SECONDS)
        run.a_again_seconds = round(time.monotonic() - began, 2)
    except WaitTimeoutError:
        stage.testbed.mine(gives_up_at - design.testbed.chain.height_blocks)
        stage.wait("a_knows", missing, ENDED_SECONDS)
    run.paid = bool(design.ended())
    run.blocks = design.testbed.chain.height_blocks - stage.height


def _count(stage: Stage, before: Balances) -> None:
    """Check that B was paid once and in full, or not at all, and that no node on the route has lost money."""
    moved = balances.count(stage.testbed).moved_since(before)
    fee_msat = stage.design.fee_msat()
    expected = {ROLES.payer: -AMOUNT_MSAT - fee_msat, ROLES.payee: AMOUNT_MSAT} if stage.run.paid else {}
    phones = {name: moved[name] for name in (ROLES.payer, ROLES.payee)}
    if phones != {name: expected.get(name, 0) for name in phones} or any(
        msat < 0 for name, msat in moved.items() if name not in phones
    ):
        raise ComparisonError(f"{stage.design.name}, {stage.case.name}: A says {stage.run}, the balances {moved}")


def measure(design: type[Design], cases: list[Case], keep: Callable[[str, dict[str, object]], None]) -> None:
    """Run cases on a testbed of this design, and keep each result; without a fault, the medians of several runs."""
    testbed = Testbed.prepare(design.topology(), f"comparison-{design.name}", print)
    try:
        snapshots.up(testbed, Phases(lambda _: None), print)
        played = design(testbed)
        played.prepare()
        for case in cases:
            keep(case.name, _middle([play(played, case) for _ in range(PLAIN_RUNS if case.name == PLAIN else 1)]))
    finally:
        testbed.down()


def _middle(runs: list[Run]) -> dict[str, object]:
    """Return the run; for several runs, which must end alike, the medians of their numbers."""
    rows = [asdict(run) for run in runs]
    if len({run.paid for run in runs}) > 1:
        raise ComparisonError(f"the same payment ended in more than one way: {runs}")
    numbers = ("a_seconds", "b_seconds", "a_again_seconds", "hold_blocks", "messages")
    return rows[0] | {
        name: statistics.median(row[name] for row in rows) for name in numbers if rows[0][name] is not None
    }


def main(arguments: list[str]) -> int:
    """Measure, write the file (first argument), and return the exit code. The others name cases and designs."""
    if not arguments or arguments[0].startswith("-"):
        print("usage: python -m harness.scenarios.comparison FILE [CASE or DESIGN ...]", file=sys.stderr)
        return 2
    file, *names = arguments
    unknown = set(names) - {case.name for case in CASES} - {design.name for design in DESIGNS}
    if unknown:
        print(f"there is no case and no design {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    path = Path(file)
    known: dict[str, dict[str, object]] = json.loads(path.read_text())["designs"] if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    for design in _chosen(DESIGNS, names):
        rows = known.setdefault(design.name, {})

        def keep(case: str, row: dict[str, object], design: str = design.name, rows: dict[str, object] = rows) -> None:
            print(f"{design}: {row}")
            rows[case] = row
            measured = {"measured_at": datetime.now(UTC).date().isoformat(), "designs": known}
            path.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")

        try:
            measure(design, _chosen(CASES, names), keep)
        except TestbedError as error:
            print(f"{design.name}: {error}. The rows before it are in {path}", file=sys.stderr)
            return 1
    return 0


def _chosen(of: Iterable[Named], names: Sequence[str]) -> list[Named]:
    """Return those that are named; all if none is."""
    every = list(of)
    return [each for each in every if each.name in names] or every


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
