"""Everything that runs, struck at every step of the protocol: a payment is paid once, or returned in full where
outcomes.py says why.
"""

import pytest

from harness.strikes import Blow, struck, victim
from harness.topology import Topology
from tests.support.payment_harness import Scene

from .cells import cells
from .outcomes import assert_ended
from .steps import MOMENTS

VICTIMS = ("A-wallet", "A", "LSP_a-lsp", "LSP_a", "router", "LSP_b-lsp", "LSP_b", "B-wallet", "B", "push")
"""As harness.strikes names them; A and B are the phones' nodes."""

ALWAYS = {
    ("1-request", "LSP_a", Blow.KILL),
    ("2-accept", "LSP_a-lsp", Blow.KILL),
    ("3-pay", "A", Blow.KILL),
    ("3-held", "A-wallet", Blow.KILL),
    ("4-hand-over", "LSP_b-lsp", Blow.KILL),
    ("5-pending", "B-wallet", Blow.KILL),
    ("6-release", "push", Blow.KILL),
    ("7-let-go", "router", Blow.KILL),
    ("8-settle", "LSP_a", Blow.KILL),
}
"""What `make test` takes: one crash at each step, every other victim."""

TABLE = [(step, name, blow) for step in MOMENTS for name in VICTIMS for blow in Blow]


@pytest.fixture(scope="module")
def topology(line_of_phones: Topology) -> Topology:
    return line_of_phones


@pytest.fixture
def scene(line_scene: Scene) -> Scene:
    return line_scene


@pytest.mark.parametrize(("step", "name", "blow"), cells(TABLE, ALWAYS))
def test_struck(scene: Scene, step: str, name: str, blow: Blow) -> None:
    scene.fault(f"{blow} {name}")
    with MOMENTS[step](scene, payee_sleeps=name == "push") as standstill:
        with struck(victim(scene.testbed, name), blow):
            standstill.let_go()
        standstill.let_go()
    assert_ended(scene, standstill.deal, step, name, blow)
