"""The same on LND: a zero-conf channel is confirmed while the LSP holds a payment on it; and a payer asks for a close.

LND never changes the id of a channel: a zero-conf channel keeps its alias. That a channel is to be closed it does not
tell before the last HTLC has left; so the hold goes on until something else ends it, and the close comes after that.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import phone_nodes
import pytest
from crash_points import restart
from implementations import all_on, with_arguments
from phone import Hold, Phone

from asyncpay.lightning import PaymentStatus
from asyncpay.nodes.proto import lightning_pb2 as ln
from asyncpay.wire.messages import BlockState
from harness import faults
from harness.lsp import Lsp
from harness.pytest_plugin import running_testbed
from harness.testbed import Testbed
from harness.topology import Implementation
from harness.waits import Predicate, htlcs_held, interceptor_attached, no_htlcs, wait_for

pytestmark = pytest.mark.full

CAPACITY_SAT, PUSH_SAT = 600_000, 100_000
AMOUNT_MSAT = 200_000_000
CONFIRMATIONS = 6
ZERO_CONF = ("--zero_conf", "--channel_type=anchors")


@pytest.fixture(scope="module")
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    topology = all_on(Implementation.LND, "changing-channels.yaml")
    for name in ("A", "LSP"):
        topology = with_arguments(topology, name, "--protocol.option-scid-alias", "--protocol.zero-conf")
    with running_testbed(topology, request.config) as running:
        running.lsp("A").stop()
        yield running


def call(testbed: Testbed, name: str, *arguments: str) -> Any:
    """Run a command of the node's own command line."""
    said = testbed.containers.output(name, [*testbed.cli(name), *arguments])
    assert said.exit_code == 0, said.stdout + said.stderr
    return json.loads(said.stdout)


async def accept_zero_conf(node: phone_nodes.OfLnd) -> None:
    """Say yes to every channel that somebody opens, without waiting for a block."""
    asked = node.lnd.lightning.ChannelAcceptor()
    async for request in asked:
        await asked.write(
            ln.ChannelAcceptResponse(accept=True, zero_conf=True, pending_chan_id=request.pending_chan_id)
        )


class Changing:
    """The channel of A's that changes, as the nodes see it."""

    def __init__(self, testbed: Testbed, *options: str) -> None:
        self.testbed = testbed
        amounts = (f"--local_amt={CAPACITY_SAT}", f"--push_amt={PUSH_SAT}", "--private")
        opened = call(testbed, "A", "openchannel", f"--node_key={testbed['LSP'].node_id}", *amounts, *options)
        self.funding_txid = opened["funding_txid"]

    def listed(self, name: str = "LSP") -> dict[str, Any] | None:
        channels = call(self.testbed, name, "listchannels")["channels"]
        return next((each for each in channels if each["channel_point"].startswith(self.funding_txid)), None)

    def wait_until(self, what: str, is_so: Callable[[dict[str, Any]], bool]) -> None:
        for name in ("A", "LSP"):

            def missing(name: str = name) -> str | None:
                listed = self.listed(name)
                return None if listed is not None and is_so(listed) else f"{name} lists {listed}"

            wait_for(Predicate(what, missing), 60)

    def wait_until_gone(self) -> None:
        """Neither end lists it as open: it is closed, or its closing transaction waits for a block."""
        for name in ("A", "LSP"):
            gone = Predicate("closed", lambda name=name: f"{name} lists it" if self.listed(name) else None)
            wait_for(gone, 60)

    def close(self, *options: str) -> None:
        """Ask A's node to close it by agreement, and do not wait."""
        point = (self.listed("A") or {})["channel_point"]
        said = self.testbed.containers.output(
            "A", [*self.testbed.cli("A"), "closechannel", f"--chan_point={point}", *options]
        )
        assert said.exit_code == 0, said.stdout + said.stderr


@pytest.fixture
def channel(testbed: Testbed, a: Phone, request: pytest.FixtureRequest) -> Iterator[Changing]:
    """A zero-conf channel without a confirmation; in the end it is closed."""
    lsp = a.run(phone_nodes.connect(testbed, "LSP"))
    assert isinstance(lsp, phone_nodes.OfLnd)
    accepting = a.start(accept_zero_conf(lsp))
    options = ZERO_CONF + request.param if hasattr(request, "param") else ZERO_CONF
    opened: list[Changing] = []

    def missing() -> str | None:
        try:
            opened.append(Changing(testbed, *options))
        except AssertionError as error:  # until the LSP's LND has taken up our stream
            return str(error)
        return None

    wait_for(Predicate("channel_opened", missing), 30)
    accepting.cancel()
    a.run(lsp.close())
    opened[0].wait_until("usable", lambda each: each["active"])
    yield opened[0]
    if opened[0].listed() is not None:
        opened[0].close()
    opened[0].wait_until_gone()
    testbed.mine(CONFIRMATIONS)
    wait_for(testbed.at_height(testbed.chain.height_blocks))


def held(a: Phone, b: Phone) -> Hold:
    return Hold(a, "LSP", b.invoice(AMOUNT_MSAT)).ask().pay().update(BlockState.HELD)


def balances_msat(testbed: Testbed) -> dict[str, int]:
    wait_for(no_htlcs(list(testbed.nodes.values())))
    return {name: node.channel_balance_msat() for name, node in testbed.nodes.items()}


@pytest.mark.parametrize("channel", [(), ("--scid_alias",)], ids=["zero-conf", "zero-conf-scid-alias"], indirect=True)
@pytest.mark.parametrize("restarts", ["nothing", "component", "node"])
def test_a_zero_conf_channel_is_confirmed_while_it_holds(
    testbed: Testbed, lsp: Lsp, a: Phone, b: Phone, channel: Changing, restarts: str
) -> None:
    before = balances_msat(testbed)
    hold = held(a, b)
    first = channel.listed()
    assert first is not None
    assert first["zero_conf_confirmed_scid"] == "0"

    testbed.mine(CONFIRMATIONS)
    channel.wait_until("confirmed", lambda each: each["zero_conf_confirmed_scid"] != "0")
    now = channel.listed()
    assert now is not None
    assert now["chan_id"] == first["chan_id"]
    if restarts == "component":
        lsp.kill()
        restart(lsp)
    elif restarts == "node":
        faults.kill(testbed, "LSP")
        faults.come_back(testbed, "LSP")
        wait_for(interceptor_attached(lsp), 90)

    wait_for(htlcs_held(lsp, 1), 60)
    (block,) = (each for each in lsp.status()["blocks"] if each["unblock_hash"] == hold.request.unblock_hash.hex())
    assert (block["stage"], len(block["parts"])) == ("held", 1)
    hold.release(b)
    result = hold.result()
    assert result.status is PaymentStatus.SUCCEEDED
    moved = {name: msat - before[name] for name, msat in balances_msat(testbed).items()}
    assert moved == {"A": -AMOUNT_MSAT - result.fee_msat, "LSP": result.fee_msat, "B": AMOUNT_MSAT}


def test_a_close_waits_for_the_end_of_the_hold(
    testbed: Testbed, lsp: Lsp, a: Phone, b: Phone, channel: Changing
) -> None:
    testbed.mine(CONFIRMATIONS)
    channel.wait_until("confirmed", lambda each: each["zero_conf_confirmed_scid"] != "0")
    hold = held(a, b)
    channel.close("--no_wait")
    channel.wait_until("flushing", lambda each: not each["active"])
    assert not hold.payment.done()
    assert lsp.status()["blocks"][-1]["stage"] == "held"

    hold.cancel()
    assert hold.result().status is PaymentStatus.FAILED
    hold.update(BlockState.FAILED_BACK)
    channel.wait_until_gone()
