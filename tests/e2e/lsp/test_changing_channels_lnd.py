"""The same on LND: a zero-conf channel is confirmed, or closed by agreement, while the LSP holds a payment on it.

LND never changes the id of a channel: a zero-conf channel keeps its alias. It does not report a pending close before
the last HTLC is removed; so a hold continues until something else ends it, and the close follows.
"""

import json
import shlex
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest

from asyncpay.lightning import PaymentStatus
from asyncpay.nodes.lnd import connection
from asyncpay.wire.messages import BlockState
from harness.nodes.lnd import GRPC_PORT, LND_DIR, MACAROON
from harness.nodes.predicates import no_htlcs
from harness.pytest_plugin import running_testbed
from harness.services.lsp import Lsp, htlcs_held, interceptor_attached
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for
from tests.support.component_crashes import restart
from tests.support.implementations import all_on, with_arguments
from tests.support.scripted_peer import Hold, ScriptedPeer

pytestmark = pytest.mark.full

CAPACITY_SAT, PUSH_SAT = 600_000, 100_000
AMOUNT_MSAT = 200_000_000
CONFIRMATIONS = 6
PAYER_SAT = 10_000_000
"""A's coins for its channels and payments in all of these tests."""
CLOSE_FEES_SAT = 10_000
"""More than A's cost of a close, and far less than the amount at stake."""
HOLD_SECONDS = 25
CLOSING_LOG = "/tmp/closechannel.log"
ZERO_CONF = ("--zero_conf", "--channel_type=anchors")


@pytest.fixture(scope="module")
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    topology = all_on("lnd", "changing-channels.yaml")
    for name in ("A", "LSP"):
        topology = with_arguments(topology, name, "--protocol.option-scid-alias", "--protocol.zero-conf")
    with running_testbed(topology, request.config) as running:
        running.lsp("A").stop()
        running.chain.send([(running["A"].new_address(), PAYER_SAT)])
        running.mine()
        yield running


def call(testbed: Testbed, name: str, *arguments: str) -> Any:
    """Run a command of the node's own CLI."""
    said = testbed.engine.output(name, [*testbed.cli(name), *arguments])
    assert said.exit_code == 0, said.stdout + said.stderr
    return json.loads(said.stdout)


async def accept_zero_conf(testbed: Testbed) -> None:
    """Accept every channel that a peer opens, without a confirmation.

    The stubs of this project lack `ChannelAcceptor`. A request begins with node_pubkey (33 bytes), chain_hash and
    pending_chan_id (32 each); the answer is accept = 1, pending_chan_id = 2 and zero_conf = 11.
    """
    credentials = connection.credentials(testbed.engine.read("LSP", f"{LND_DIR}/tls.cert"))
    address = testbed.engine.address("LSP", GRPC_PORT)
    async with grpc.aio.secure_channel(address, credentials, options=connection.OPTIONS) as channel:
        calls = connection.with_macaroon(channel, testbed.engine.read("LSP", MACAROON))
        asked: Any = calls.stream_stream("/lnrpc.Lightning/ChannelAcceptor")()
        async for request in asked:
            assert request[:2] + request[35:37] + request[69:71] == b"\x0a\x21\x12\x20\x1a\x20"
            await asked.write(b"\x08\x01" + b"\x12\x20" + request[71:103] + b"\x58\x01")


class ChangingChannel:
    """A's changing channel, as the nodes list it."""

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
        """Wait until neither end lists it as open: it is closed, or its closing transaction is unconfirmed."""
        for name in ("A", "LSP"):
            wait_for(Predicate("closed", partial(self._listing, name)), 60)

    def _listing(self, name: str) -> str | None:
        return f"{name} lists it" if self.listed(name) else None

    def close(self) -> None:
        """Request a cooperative close from A's node, also with HTLCs, and return when the node has started it.

        `lncli closechannel` itself exits once the closing transaction is broadcast, so it is left running.
        """
        point = (self.listed("A") or {})["channel_point"]
        command = shlex.join([*self.testbed.cli("A"), "closechannel", f"--chan_point={point}"])
        self.testbed.engine.output("A", ["sh", "-c", f"{command} > {CLOSING_LOG} 2>&1 &"])
        wait_for(Predicate("close_initiated", partial(self._not_said, "successfully initiated")), 30)

    def wait_until_it_waits(self, htlcs: int) -> None:
        """Wait until A's node reports that the close waits for this number of HTLCs."""
        wait_for(Predicate("close_waits", partial(self._not_said, f"close waiting for {htlcs} HTLCs")), 30)

    def _not_said(self, text: str) -> str | None:
        said = self.testbed.engine.output("A", ["cat", CLOSING_LOG])
        return None if text in said.stdout else f"lncli has said: {said.stdout or said.stderr}"


def in_the_graph_of_a(testbed: Testbed) -> Predicate:
    """A's node can route over both of its channels: a new one is in LND's graph only after LND calls it active."""

    def missing() -> str | None:
        a = testbed["A"]
        known = sum(end == a.node_id for _, end in a.policies())
        return None if known == 2 else f"A knows {known} of its channels"

    return Predicate("in_the_graph_of_a", missing)


@pytest.fixture
def channel(testbed: Testbed, a: ScriptedPeer, request: pytest.FixtureRequest) -> Iterator[ChangingChannel]:
    """A zero-conf channel without a confirmation; it is closed at the end."""
    accepting = a.start(accept_zero_conf(testbed))
    options = ZERO_CONF + request.param if hasattr(request, "param") else ZERO_CONF
    opened: list[ChangingChannel] = []

    def missing() -> str | None:
        try:
            opened.append(ChangingChannel(testbed, *options))
        except AssertionError as error:  # until the LSP's LND has accepted our stream
            return f"{error}; {accepting}"
        return None

    wait_for(Predicate("channel_opened", missing), 30)
    accepting.cancel()
    opened[0].wait_until("usable", lambda each: each["active"])
    wait_for(in_the_graph_of_a(testbed))
    yield opened[0]
    if opened[0].listed() is not None:
        opened[0].close()
    opened[0].wait_until_gone()
    testbed.mine(CONFIRMATIONS)
    wait_for(testbed.at_height(testbed.chain.height_blocks))


def held(a: ScriptedPeer, b: ScriptedPeer, *, with_invoice: bool = False, **terms: Any) -> Hold:
    invoice = b.invoice(AMOUNT_MSAT)
    terms |= {"invoice": invoice.text} if with_invoice else {}
    return Hold(a, "LSP", invoice, **terms).ask().pay().update(BlockState.HELD)


def balances_msat(testbed: Testbed) -> dict[str, int]:
    wait_for(no_htlcs(list(testbed.nodes.values())))
    return {name: node.channel_balance_msat() for name, node in testbed.nodes.items()}


@pytest.mark.parametrize("channel", [(), ("--scid_alias",)], ids=["zero-conf", "zero-conf-scid-alias"], indirect=True)
@pytest.mark.parametrize("restarts", ["nothing", "component", "node"])
def test_a_zero_conf_channel_is_confirmed_while_it_holds(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, channel: ChangingChannel, restarts: str
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
        testbed.kill("LSP")
        testbed.start_and_wait("LSP")
        wait_for(interceptor_attached(lsp), 90)

    wait_for(htlcs_held(lsp, 1), 60)
    (block,) = (each for each in lsp.status()["blocks"] if each["unblock_hash"] == hold.request.unblock_hash.hex())
    assert (block["state"], len(block["parts"])) == ("held", 1)
    hold.release(b)
    result = hold.result()
    assert result.status is PaymentStatus.SUCCEEDED
    moved = {name: msat - before[name] for name, msat in balances_msat(testbed).items()}
    assert moved == {"A": -AMOUNT_MSAT - result.fee_msat, "LSP": result.fee_msat, "B": AMOUNT_MSAT}


def wealth_sat(testbed: Testbed) -> dict[str, int]:
    """Return each node's balance on chain and in its channels."""
    in_channels = balances_msat(testbed)
    return {name: node.onchain_sat() + in_channels[name] // 1_000 for name, node in testbed.nodes.items()}


@pytest.mark.parametrize("end", ["paid on behalf", "cancelled", "deadline"])
def test_a_close_by_agreement_waits_for_what_is_held(
    testbed: Testbed, lsp: Lsp, a: ScriptedPeer, b: ScriptedPeer, channel: ChangingChannel, end: str
) -> None:
    """LND defers the close until no HTLC is left, and lists the channel as inactive, as if A were offline: nothing is
    released over it. With the invoice the LSP pays and claims; without one A may cancel the payment, or a deadline
    returns it. Each removes the HTLC from the channel, which is then closed.
    """
    testbed.mine(CONFIRMATIONS)
    channel.wait_until("confirmed", lambda each: each["zero_conf_confirmed_scid"] != "0")
    before = wealth_sat(testbed)
    terms = {"hold_until": int(time.time()) + HOLD_SECONDS} if end == "deadline" else {}
    hold = held(a, b, with_invoice=end == "paid on behalf", **terms)
    channel.wait_until("carries_it", lambda each: len(each["pending_htlcs"]) == 1)
    channel.close()
    channel.wait_until_it_waits(1)
    channel.wait_until("inactive", lambda each: not each["active"] and len(each["pending_htlcs"]) == 1)
    wait_for(htlcs_held(lsp, 1))

    paid_sat = 0
    if end == "paid on behalf":
        hold.release(b)
        paid_sat = AMOUNT_MSAT // 1_000
    elif end == "cancelled":
        hold.cancel()
    result = hold.result()
    assert result.status is (PaymentStatus.SUCCEEDED if paid_sat else PaymentStatus.FAILED)
    channel.wait_until_gone()
    testbed.mine(CONFIRMATIONS)
    wait_for(testbed.at_height(testbed.chain.height_blocks))
    moved = {name: sat - before[name] for name, sat in wealth_sat(testbed).items()}
    assert moved["B"] == paid_sat
    assert 0 <= moved["LSP"] <= result.fee_msat // 1_000 + 1
    assert -CLOSE_FEES_SAT <= moved["A"] + paid_sat + moved["LSP"] <= 0
