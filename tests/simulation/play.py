"""One run: turbulence, then quiet in which what can still succeed must, then an end for everything."""

import traceback
from dataclasses import dataclass
from pathlib import Path
from random import Random

from asyncpay.engine.lsp.records import Block
from asyncpay.engine.lsp.stages import FINISHED, Stage
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payee.stages import Stage as PayeeStage
from asyncpay.engine.payer.stages import Stage as PayerStage

from .channels import SimHtlc
from .coverage import Coverage
from .never import Violation
from .schedule import Drawing, Repeating, Schedule
from .setup import Setup
from .world import World

AFTERSHOCKS_SECONDS = 600.0
"""Until whatever was down is up, and what was late has arrived."""
VISIT_SECONDS = 60.0
BETWEEN_VISITS_SECONDS = 100.0
MOST_TRIES = 12
"""Releases of a claim after which enough are left for the patience of `_what_can_succeed_does`."""
PATIENCE_SECONDS = 1200.0
"""Twice the longest interval of the courier."""
HASTE_SECONDS = 30.0
"""Between blocks, when only deadlines are left to wait for."""
MOST_BLOCKS = 1200


@dataclass(frozen=True)
class Outcome:
    """How a run went. `schedule`: repeats it. `story`: lines of (time, who, what), if it was asked for."""

    schedule: Schedule
    violation: Violation | None
    steps: int
    paid: bool
    coverage: Coverage
    story: tuple[tuple[float, str, str], ...] = ()


def play_seed(seed: int) -> Outcome:
    """The schedule that this seed names, for ever."""
    random = Random(seed)
    setup = Setup.draw(random)
    return _play(setup, Drawing(random), with_story=False)


def play(schedule: Schedule, *, with_story: bool = False) -> Outcome:
    """A schedule again."""
    return _play(schedule.setup, Repeating(schedule), with_story=with_story)


def _play(setup: Setup, director: Drawing | Repeating, *, with_story: bool) -> Outcome:
    coverage = Coverage()
    world = World(setup, director, with_story=with_story)
    director.world = world
    coverage.watch(world)
    violation = None
    try:
        _turbulence(world)
        director.calm = True
        if world.accomplices is None:
            _what_can_succeed_does(world)
        _everything_ends(world)
    except Violation as found:
        violation = found
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__} in {where.name}, {Path(where.filename).name} line {where.lineno}: {error}"
        violation = Violation("nothing_breaks_down", text)
    finally:
        world.close()
    happened = director.drawn if isinstance(director, Drawing) else director.happened
    return Outcome(
        schedule=Schedule(setup, tuple(happened)),
        violation=violation,
        steps=world.kernel.steps,
        paid=bool(world.invoice.times_paid),
        coverage=coverage,
        story=tuple(world.kernel.story or ()),
    )


def _run(world: World, seconds: float) -> None:
    kernel, watch = world.kernel, world.watch
    end = kernel.now + seconds
    while kernel.next_at() <= end:
        kernel.step()
        watch.check()
    kernel.now = end


def _turbulence(world: World) -> None:
    _run(world, world.setup.turbulence_seconds)


def _what_can_succeed_does(world: World) -> None:
    """The phones come online for a minute, in any order, and messages get through at last: B is paid."""
    if _over(world):
        return
    world.kernel.tell("-", "from here on nothing is disturbed any more")
    _run(world, AFTERSHOCKS_SECONDS)
    must_succeed = _can_succeed(world)
    first, second = world.phone_a, world.phone_b
    if not world.setup.payer_first:
        first, second = second, first
    returns = {"A": world.setup.payer_returns, "B": world.setup.payee_returns}
    returning = [phone for phone in (first, second) if returns[phone.name]]
    for phone in returning:
        phone.wakes_after, phone.stays = 2.0, VISIT_SECONDS
    for phone in returning:
        phone.wake(VISIT_SECONDS)
        _run(world, BETWEEN_VISITS_SECONDS)
    for _ in range(10):
        if _over(world):
            break
        _run(world, PATIENCE_SECONDS / 10)
    if must_succeed and not world.invoice.times_paid:
        raise Violation("what_can_succeed_does", f"the phones came back in time, and B was not paid: {_state(world)}")


def _can_succeed(world: World) -> bool:
    """The payment is held, nobody has given it up, and there is time enough."""
    setup = world.setup
    hopeless = world.cancelled or world.closed_channel or world.plugin_died
    if hopeless or not (setup.payee_willing and setup.payee_returns):
        return False
    if not (_tells_payee(world) and _lets_go(world)):
        return False
    soon = world.kernel.now + 2 * BETWEEN_VISITS_SECONDS + PATIENCE_SECONDS
    payment = world.phone_a.wallet.payment(world.payment_hash)
    if payment is None or payment.stage not in (PayerStage.PAYING, PayerStage.HELD, PayerStage.HANDED_OVER):
        return False
    return any(
        block.stage in (Stage.HELD, Stage.DUE)
        and soon < block.hold_until
        and world.chain.height + 4 < block.release_by_height
        and all(part.way[-1].expiry - world.chain.height > 30 for part in world.parts())
        for block in world.blocks()
    )


def _tells_payee(world: World) -> bool:
    """The LSP's courier tells B of the payment; or A, who comes back before it, for which it sends its message afresh,
    and stays until that has left; or B knows already, and asks again.
    """
    setup = world.setup
    comes_anew = setup.payer_returns and not world.phone_a.awake
    if setup.courier or (comes_anew and setup.payer_first and setup.payer_leaves != 0.0):
        return True
    return any(
        claim.pid == world.pid and claim.stage is PayeeStage.RELEASING and claim.tries <= MOST_TRIES
        for claim in world.phone_b.wallet.records(Claim)
    )


def _lets_go(world: World) -> bool:
    """LSP_a hears of the release, and its node forwards: both need A, unless LSP_a is where A's path ends."""
    rules = world.lsp_a_node.implementation.capabilities
    return world.setup.payer_returns or (bool(rules.forwards_with_payer_offline) and not world.setup.literal)


def _everything_ends(world: World) -> None:
    """Past every deadline, with A looking at its phone now and then, nothing is held, owed or waited for.

    Accomplices look at nothing: they come and go by their plot.
    """
    for number in range(MOST_BLOCKS):
        if _over(world):
            break
        if world.accomplices is not None:
            pass
        elif number % 10 == 0:
            world.phone_a.wake(VISIT_SECONDS)
        elif number % 40 == 25 and world.setup.payee_returns:
            world.phone_b.wake(VISIT_SECONDS)
        world.chain.mine()
        _run(world, HASTE_SECONDS)
    else:
        raise Violation("everything_ends", f"after {MOST_BLOCKS} blocks it is not over: {_state(world)}")
    _the_books_agree(world)


def _the_books_agree(world: World) -> None:
    """Nobody but A is poorer, A by the payment and its fees if B was paid and else by nothing, and both know."""
    gains = {node.name: world.worth(node) - world.balances_at_start[node.name] for node in world.chain.nodes}
    if world.accomplices is not None:
        no_honest_node_is_poorer(gains, world)
        return
    paid = bool(world.invoice.times_paid)
    payment = world.phone_a.wallet.payment(world.payment_hash)
    for name, gain in gains.items():
        if name != "A" and gain + sum(htlc.amount_msat for htlc in world.nodes[name].lost_dust) < 0:
            raise Violation("the_books_agree", f"{name} has lost {-gain} msat")
    if paid != (gains["A"] < 0) or -gains["A"] > world.most_msat:
        raise Violation("the_books_agree", f"B {'was' if paid else 'was not'} paid, and A is {gains['A']} msat richer")
    if payment is not None and (payment.stage is PayerStage.SETTLED) != paid:
        raise Violation(
            "the_books_agree", f"B {'was' if paid else 'was not'} paid, and A's wallet says {payment.stage}"
        )


def no_honest_node_is_poorer(gains: dict[str, int], world: World) -> None:
    """Whatever accomplices do, counted with what came out on chain. What nodes risk by forwarding dust is theirs.

    C, who pays for hashes of which it knows nothing, is not among the honest.
    """
    for name, gain in gains.items():
        dust = sum(htlc.amount_msat for htlc in world.nodes[name].lost_dust)
        if name not in ("A", "B", "C") and gain + dust < 0:
            raise Violation("no_honest_node_is_poorer", f"{name} has lost {-gain} msat to A and B")


def _over(world: World) -> bool:
    """Nothing is on its way any more, and everybody knows how it ended."""
    if any(_matters(world, htlc) for channel in world.chain.channels for htlc in channel.htlcs):
        return False
    payment = world.phone_a.wallet.payment(world.payment_hash)
    if payment is not None and payment.stage not in (PayerStage.SETTLED, PayerStage.FAILED):
        return False
    return all(
        block.stage in FINISHED or block.stage is Stage.RELEASED for lsp in world.lsps for block in lsp.records(Block)
    )


def _matters(world: World, htlc: SimHtlc) -> bool:
    """An accomplice who stays away need not learn that it gets back what nobody took, nor take it back on chain."""
    if world.accomplices is None or htlc.offerer is not world.a:
        return True
    given_back = htlc.resolved or not htlc.arrived or world.chain.height >= htlc.expiry
    return htlc.preimage is not None or not given_back


def _state(world: World) -> str:
    payment = world.phone_a.wallet.payment(world.payment_hash)
    blocks = [block.stage.value for block in world.blocks()] or ["none"]
    htlcs = [f"{htlc.offerer.name}->{htlc.receiver.name}" for each in world.chain.channels for htlc in each.htlcs]
    return f"payment {'none' if payment is None else payment.stage.value}, block {', '.join(blocks)}, HTLCs {htlcs}"
