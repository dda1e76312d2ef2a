"""Run one schedule: disturbances, then a calm phase in which a payment that can succeed must, then the end of holds."""

import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, get_args

from asyncpay.engine.lsp.interface import LspEvent
from asyncpay.engine.lsp.records import Block, Delivered
from asyncpay.engine.lsp.states import FINISHED, State
from asyncpay.engine.lsp.states import State as LspState
from asyncpay.engine.payee.interface import PayeeEvent
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payee.states import State as ClaimState
from asyncpay.engine.payer.interface import PayerEvent
from asyncpay.engine.payer.states import State as PaymentState

from .channels import SimHtlc
from .invariants import Violation
from .losses import excused_msat, paid_while_dead
from .lsp import ENGINE, NOTHING
from .process import Cell
from .schedule import RandomInjector, ReplayInjector, Schedule
from .setup import Setup
from .simulation import Simulation
from .wallet import PAYEE, PAYER

AFTERSHOCKS_SECONDS = 600.0
"""Until every process runs again and every late message has arrived."""
VISIT_SECONDS = 60.0
BETWEEN_VISITS_SECONDS = 100.0
MOST_TRIES = 12
"""The number of releases of a claim after which enough retries are left for `_what_can_succeed_does`."""
PATIENCE_SECONDS = 1200.0
"""Twice the longest interval of the courier."""
HASTE_SECONDS = 30.0
"""The time between blocks in the phase that only waits for deadlines."""
MOST_BLOCKS = 1200


TABLES: dict[str, tuple[Any, Any]] = {
    ENGINE: (LspState, LspEvent),
    PAYER: (PaymentState, PayerEvent),
    PAYEE: (ClaimState, PayeeEvent),
}


def all_cells(engine: str) -> list[Cell]:
    """Return every cell of an engine's table, whether it can be entered or not."""
    states, events = TABLES[engine]
    names = [NOTHING, *(state.value for state in states)]
    return [(engine, state, event.__name__) for state in names for event in get_args(events)]


@dataclass
class Coverage:
    """How often each cell was entered."""

    cells: Counter[Cell] = field(default_factory=Counter)

    def watch(self, sim: "Simulation") -> None:
        """Count the events of every engine of this simulation."""
        for process in sim.processes.values():
            process.on_event = self.cells.update

    def add(self, other: "Coverage") -> None:
        """Together."""
        self.cells.update(other.cells)

    def entered(self, engine: str) -> int:
        """Return the number of entered cells of an engine's table."""
        return sum(cell in self.cells for cell in all_cells(engine))


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run. `schedule`: repeats it. `trace`: lines of (time, who, what), if requested."""

    schedule: Schedule
    violation: Violation | None
    steps: int
    paid: bool
    coverage: Coverage
    trace: tuple[tuple[float, str, str], ...] = ()


def run_seed(seed: int) -> Outcome:
    """Run the schedule that this seed names; a seed always names the same schedule."""
    random = Random(seed)
    setup = Setup.draw(random)
    return _run(setup, RandomInjector(random), with_trace=False)


def run_schedule(schedule: Schedule, *, with_trace: bool = False) -> Outcome:
    """Replay a schedule."""
    return _run(schedule.setup, ReplayInjector(schedule), with_trace=with_trace)


def _run(setup: Setup, injector: RandomInjector | ReplayInjector, *, with_trace: bool) -> Outcome:
    coverage = Coverage()
    sim = Simulation(setup, injector, with_trace=with_trace)
    injector.sim = sim
    coverage.watch(sim)
    violation = None
    try:
        _turbulence(sim)
        injector.calm = True
        if sim.colluders is None:
            _what_can_succeed_does(sim)
        _everything_ends(sim)
    except Violation as found:
        violation = found
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__} in {where.name}, {Path(where.filename).name} line {where.lineno}: {error}"
        violation = Violation("nothing_breaks_down", text)
    finally:
        sim.close()
    happened = injector.drawn if isinstance(injector, RandomInjector) else injector.happened
    return Outcome(
        schedule=Schedule(setup, tuple(happened)),
        violation=violation,
        steps=sim.kernel.steps,
        paid=bool(sim.invoice.times_paid),
        coverage=coverage,
        trace=tuple(sim.kernel.trace or ()),
    )


def _advance(sim: Simulation, seconds: float) -> None:
    kernel, watch = sim.kernel, sim.watch
    end = kernel.now + seconds
    while kernel.next_at() <= end:
        kernel.step()
        watch.check()
    kernel.now = end


def _turbulence(sim: Simulation) -> None:
    _advance(sim, sim.setup.turbulence_seconds)


def _what_can_succeed_does(sim: Simulation) -> None:
    """The phones come online for a minute, in any order, and messages are delivered: B is paid."""
    if _over(sim):
        return
    sim.kernel.log("-", "from here on nothing is disturbed any more")
    _advance(sim, AFTERSHOCKS_SECONDS)
    must_succeed = _can_succeed(sim)
    first, second = sim.phone_a, sim.phone_b
    if not sim.setup.payer_first:
        first, second = second, first
    returns = {"A": sim.setup.payer_returns, "B": sim.setup.payee_returns}
    returning = [phone for phone in (first, second) if returns[phone.name]]
    for phone in returning:
        phone.wakes_after, phone.stays = 2.0, VISIT_SECONDS
    for phone in returning:
        phone.wake(VISIT_SECONDS)
        _advance(sim, BETWEEN_VISITS_SECONDS)
    patience_seconds = _patience_seconds(sim) if must_succeed else PATIENCE_SECONDS
    for _ in range(10):
        if _over(sim):
            break
        _advance(sim, patience_seconds / 10)
    if must_succeed and not sim.invoice.times_paid:
        raise Violation("what_can_succeed_does", f"the phones came back in time, and B was not paid: {_state(sim)}")


def _can_succeed(sim: Simulation) -> bool:
    """Whether the payment is held, neither side has ended it, and there is enough time."""
    setup = sim.setup
    hopeless = sim.cancelled or sim.closed_channel or sim.plugin_died
    if hopeless or not (setup.payee_willing and setup.payee_returns):
        return False
    if not (_tells_payee(sim) and _lets_go(sim)):
        return False
    soon = sim.kernel.now + 2 * BETWEEN_VISITS_SECONDS + _patience_seconds(sim)
    payment = sim.phone_a.wallet.payment(sim.payment_hash)
    if payment is None or payment.state not in (PaymentState.PAYING, PaymentState.HELD, PaymentState.HANDED_OVER):
        return False
    return any(
        block.state in (State.HELD, State.DUE)
        and soon < block.hold_until
        and sim.chain.height + 4 < block.release_by_height
        and all(part.route[-1].expiry - sim.chain.height > 30 for part in sim.parts())
        for block in sim.blocks()
    )


def _patience_seconds(sim: Simulation) -> float:
    """Return how long it may take until B has the message: an LSP that has delivered it before, though it was lost on
    the way, notifies B of a repetition after `repeat_push_seconds` only.
    """
    delivered = any(each.client == sim.b.id for each in sim.lsp_b.records(Delivered))
    return PATIENCE_SECONDS + sim.lsp_b.policy.repeat_push_seconds * delivered


def _tells_payee(sim: Simulation) -> bool:
    """Whether B learns of the payment: from the LSP's courier; or from A, if A comes back before B, sends its message
    again, and stays until it is sent; or B knows it already, and repeats its release.
    """
    setup = sim.setup
    comes_anew = setup.payer_returns and not sim.phone_a.awake
    if setup.courier or (comes_anew and setup.payer_first and setup.payer_leaves != 0.0):
        return True
    return any(
        claim.pid == sim.pid and claim.state is ClaimState.RELEASING and claim.tries <= MOST_TRIES
        for claim in sim.phone_b.wallet.records(Claim)
    )


def _lets_go(sim: Simulation) -> bool:
    """Whether LSP_a receives the release, and its node forwards: both need A, unless A's path ends at LSP_a."""
    invariants = sim.lsp_a_node.implementation.capabilities
    return sim.setup.payer_returns or (bool(invariants.forwards_with_payer_offline) and not sim.setup.literal)


def _everything_ends(sim: Simulation) -> None:
    """After every deadline, with A online from time to time, nothing is held, owed or waited for.

    Colluders connect and disconnect by their own plan.
    """
    for number in range(MOST_BLOCKS):
        if _over(sim):
            break
        if sim.colluders is not None:
            pass
        elif number % 10 == 0:
            sim.phone_a.wake(VISIT_SECONDS)
        elif number % 40 == 25 and sim.setup.payee_returns:
            sim.phone_b.wake(VISIT_SECONDS)
        sim.chain.mine()
        _advance(sim, HASTE_SECONDS)
    else:
        raise Violation("everything_ends", f"after {MOST_BLOCKS} blocks it is not over: {_state(sim)}")
    _the_books_agree(sim)


def _the_books_agree(sim: Simulation) -> None:
    """Only A has lost money: the payment and its fees if B was paid, otherwise nothing; and both know the outcome."""
    gains = {node.name: sim.worth(node) - sim.balances_at_start[node.name] for node in sim.chain.nodes}
    if sim.colluders is not None:
        no_honest_node_is_poorer(gains, sim)
        return
    paid = bool(sim.invoice.times_paid)
    payment = sim.phone_a.wallet.payment(sim.payment_hash)
    for name, gain in gains.items():
        if name != "A" and gain + excused_msat(sim.nodes[name]) < 0:
            raise Violation("the_books_agree", f"{name} has lost {-gain} msat")
    if any(paid_while_dead(node) for node in sim.chain.nodes):
        return  # B may have been paid by a node that A need not pay any more
    if paid != (gains["A"] < 0) or -gains["A"] > sim.most_msat:
        raise Violation("the_books_agree", f"B {'was' if paid else 'was not'} paid, and A is {gains['A']} msat richer")
    if payment is not None and (payment.state is PaymentState.SETTLED) != paid:
        raise Violation(
            "the_books_agree", f"B {'was' if paid else 'was not'} paid, and A's wallet says {payment.state}"
        )


def no_honest_node_is_poorer(gains: dict[str, int], sim: Simulation) -> None:
    """Colluders cannot take money from honest nodes, including on-chain amounts. Excused are losses by forwarding dust,
    and losses of a node that does not run.

    C, who pays for unknown hashes, does not count as honest.
    """
    for name, gain in gains.items():
        if name not in ("A", "B", "C") and gain + excused_msat(sim.nodes[name]) < 0:
            raise Violation("no_honest_node_is_poorer", f"{name} has lost {-gain} msat to A and B")


def _over(sim: Simulation) -> bool:
    """Whether no HTLC is in flight any more, and both wallets know the outcome."""
    if any(_matters(sim, htlc) for channel in sim.chain.channels for htlc in channel.htlcs):
        return False
    payment = sim.phone_a.wallet.payment(sim.payment_hash)
    if payment is not None and payment.state not in (PaymentState.SETTLED, PaymentState.FAILED):
        return False
    return all(
        block.state in FINISHED or block.state is State.RELEASED for lsp in sim.lsps for block in lsp.records(Block)
    )


def _matters(sim: Simulation, htlc: SimHtlc) -> bool:
    """Return whether an HTLC counts: a colluder who stays offline need not learn of its return, nor reclaim it."""
    if sim.colluders is None or htlc.offerer is not sim.a:
        return True
    given_back = htlc.resolved or not htlc.arrived or sim.chain.height >= htlc.expiry
    return htlc.preimage is not None or not given_back


def _state(sim: Simulation) -> str:
    payment = sim.phone_a.wallet.payment(sim.payment_hash)
    blocks = [block.state.value for block in sim.blocks()] or ["none"]
    htlcs = [f"{htlc.offerer.name}->{htlc.receiver.name}" for each in sim.chain.channels for htlc in each.htlcs]
    return f"payment {'none' if payment is None else payment.state.value}, block {', '.join(blocks)}, HTLCs {htlcs}"
