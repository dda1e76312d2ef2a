"""The checks excuse only a loss of a node that did not run when it had to."""

from collections.abc import Iterator

import pytest

from .channels import SimHtlc
from .losses import lost_by_death
from .schedule import ReplayInjector, Schedule
from .setup import Setup
from .simulation import HASH, Simulation

OUTGOING_EXPIRY, INCOMING_EXPIRY = 560, 600


@pytest.fixture
def sim() -> Iterator[Simulation]:
    injector = ReplayInjector(Schedule())
    simulation = injector.sim = Simulation(Setup(), injector)
    yield simulation
    simulation.close()


def taken_back(sim: Simulation) -> SimHtlc:
    """An HTLC that LSP_b has forwarded, and that the router has taken back on chain."""
    channel = sim.lsp_b_node.channels(sim.nodes["router"].id)[0]
    return SimHtlc(channel, 1, sim.nodes["router"], HASH, 1_000_000, INCOMING_EXPIRY, (), 0, arrived=True, gone=True)


@pytest.mark.parametrize(
    ("heights", "lost"),
    [
        ([500], True),
        ([500, 559], True),
        ([500, 559, 601], True),
        ([500, 560], False),
        ([500, 559, 600], False),
        ([500, 580, 601], False),
        ([500, 559, 570, 601], False),
    ],
)
def test_a_node_loses_by_death_if_it_ran_in_no_block_between_the_two_expiries(
    sim: Simulation, heights: list[int], lost: bool
) -> None:
    sim.lsp_b_node.heights = heights
    assert lost_by_death(sim.lsp_b_node, taken_back(sim), OUTGOING_EXPIRY) == lost


def test_what_it_failed_itself_or_still_has_is_not_lost_by_death(sim: Simulation) -> None:
    sim.lsp_b_node.heights = [500]
    failed, there = taken_back(sim), taken_back(sim)
    failed.resolved, there.gone = True, False
    assert not lost_by_death(sim.lsp_b_node, failed, OUTGOING_EXPIRY)
    assert not lost_by_death(sim.lsp_b_node, there, OUTGOING_EXPIRY)
