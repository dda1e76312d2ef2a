"""Bad links at every step of the protocol: a payment is paid once or returned in full, and paid over a slow one.

The link is the phone's to its LSP, and with it goes that from the push gateway.
"""

from collections.abc import Callable

import pytest

from harness.phone import Phone
from harness.scene import Scene
from harness.topology import Topology, load
from harness.toxiproxy import Way
from harness.waits import Predicate, wait_for

from .cells import cells
from .conftest import TOPOLOGIES
from .steps import MOMENTS, assert_paid_once_or_returned, everybody_back

LINKS: dict[str, Callable[[Phone], None]] = {
    "blackhole": Phone.blackhole,
    "deaf": lambda phone: phone.blackhole(Way.DOWN),
    "mute": lambda phone: phone.blackhole(Way.UP),
    "2 s latency": lambda phone: phone.latency(2_000),
    "resets": Phone.reset,
    "1 kB a second": lambda phone: phone.bandwidth(1),
}
"""deaf and mute: a blackhole one way, which stops the exchange of commitments in its middle."""

SLOW = ("2 s latency", "1 kB a second")
"""Over such a link a payment gets through."""
NEWS = 2
"""Blocks that are mined while nothing gets through."""

ALWAYS = {
    ("3-pay", "A", "deaf"),
    ("4-hand-over", "A", "2 s latency"),
    ("5-pending", "B", "1 kB a second"),
    ("7-let-go", "B", "mute"),
    ("8-settle", "A", "resets"),
}
"""What `make test` takes."""

TABLE = [(step, name, link) for step in MOMENTS for name in ("A", "B") for link in LINKS]


@pytest.fixture(scope="module")
def topology() -> Topology:
    return load(TOPOLOGIES / "line-of-phones.yaml")


@pytest.mark.parametrize(("step", "name", "link"), cells(TABLE, ALWAYS))
def test_bad_link(scene: Scene, step: str, name: str, link: str) -> None:
    everybody_back(scene)
    phone = scene.testbed.phone(name)
    scene.fault(f"{link} on {name}'s link")
    with MOMENTS[step](scene, payee_sleeps=False) as standstill:
        LINKS[link](phone)
        standstill.let_go()
        if link in SLOW:
            standstill.deal.wait_until("settled", timeout_seconds=180)
        else:
            wait_for(seen_by_the_others(scene, phone), 60)
        phone.mend()
        standstill.let_go()
    assert_paid_once_or_returned(scene, standstill.deal)


def seen_by_the_others(scene: Scene, phone: Phone) -> Predicate:
    """So long that every node but this phone's has followed the chain on."""
    height_blocks = scene.testbed.chain.mine(NEWS)

    def missing() -> str | None:
        behind = [
            n.name
            for n in scene.testbed.nodes.values()
            if n is not phone.node and n.info().height_blocks < height_blocks
        ]
        return f"{behind} are behind" if behind else None

    return Predicate("seen_by_the_others", missing)
