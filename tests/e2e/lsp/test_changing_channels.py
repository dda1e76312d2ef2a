"""Channels that change while the LSP holds a payment on them: confirmed, spliced, closed by agreement.

A has two channels with its LSP, of which only the one that changes is large enough for the payment. In each case
the variants are: no restart, a restart of the LSP's component, a restart of its node.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from asyncpay.lightning import PaymentStatus
from asyncpay.wire.messages import BlockState
from harness.nodes.cln import CLN_DIR
from harness.nodes.predicates import no_htlcs
from harness.pytest_plugin import running_testbed
from harness.services.lsp import Lsp, htlcs_held, interceptor_attached
from harness.testbed import Testbed
from harness.topology import Topology
from harness.waits import Predicate, wait_for
from tests.support.component_crashes import restart
from tests.support.implementations import all_on
from tests.support.scripted_peer import Hold, ScriptedPeer

pytestmark = pytest.mark.full

CAPACITY_SAT, PUSH_SAT, SPLICE_SAT = 600_000, 100_000, 50_000
AMOUNT_MSAT = 200_000_000
CONFIRMATIONS = 6
PAYER_SAT = 10_000_000
"""A's coins for its channels and payments in all of these tests."""

ACCEPT_ZERO_CONF = """#!/usr/bin/env python3
from pyln.client import Plugin
plugin = Plugin()
@plugin.hook("openchannel")
def accept(openchannel, plugin, **kwargs):
    return {"result": "continue", "mindepth": 0}
plugin.run()
"""

RESTARTS = pytest.mark.parametrize("restarts", ["nothing", "component", "node"])


@pytest.fixture(scope="module")
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    with running_testbed(_topology(), request.config) as running:
        running.lsp("A").stop()
        running.chain.send([(running["A"].new_address(), PAYER_SAT)])
        running.mine()
        path = f"{CLN_DIR}/plugins/accept-zero-conf.py"  # lightningd loads it again when it starts
        write = f"mkdir -p {CLN_DIR}/plugins && cat > {path} <<'END'\n{ACCEPT_ZERO_CONF}END\nchmod +x {path}"
        assert running.engine.output("LSP", ["sh", "-c", write]).exit_code == 0
        call(running, "LSP", "plugin", "start", path)
        yield running


def _topology() -> Topology:
    return all_on("cln", "changing-channels.yaml", {"B": "lnd"})


def call(testbed: Testbed, name: str, *arguments: str) -> Any:
    """Run a command of the node's own CLI."""
    said = testbed.engine.output(name, [*testbed.cli(name), "--notifications=none", *arguments])
    assert said.exit_code == 0, said.stdout + said.stderr
    return json.loads(said.stdout)


class ChangingChannel:
    """A's changing channel, as the LSP's node lists it."""

    def __init__(self, testbed: Testbed, *options: str) -> None:
        self.testbed = testbed
        lsp = testbed["LSP"].node_id
        wanted = [f"id={lsp}", f"amount={CAPACITY_SAT}", f"push_msat={PUSH_SAT * 1_000}", "announce=false", *options]
        self.id = call(testbed, "A", "-k", "fundchannel", *wanted)["channel_id"]

    def listed(self, name: str = "LSP") -> dict[str, Any] | None:
        channels = call(self.testbed, name, "-k", "listpeerchannels", f"channel_id={self.id}")["channels"]
        return channels[0] if channels else None

    def wait_until(self, what: str, is_so: Callable[[dict[str, Any]], bool], name: str = "LSP") -> None:
        def missing() -> str | None:
            listed = self.listed(name)
            return None if listed is not None and is_so(listed) else f"{name} lists {listed}"

        wait_for(Predicate(what, missing), 60)

    def wait_until_usable(self) -> None:
        for name in ("A", "LSP"):
            self.wait_until(
                "channel_usable",
                lambda each: each["state"] == "CHANNELD_NORMAL" and each.get("reestablished") is True,
                name,
            )

    def close(self) -> dict[str, Any]:
        """Close it by agreement; return when both have signed."""
        closed: dict[str, Any] = call(self.testbed, "A", "close", self.id)
        return closed

    def clear_away(self) -> None:
        """Close the channel if a test has left it open, and exclude it from the balance checks."""
        listed = self.listed()
        if listed is not None and listed["state"].startswith("CHANNELD"):
            self.close()
        self.testbed.mine(CONFIRMATIONS)
        self.wait_until("closed", lambda each: each["state"] == "ONCHAIN")
        wait_for(self.testbed.at_height(self.testbed.chain.height_blocks))


@pytest.fixture
def open_channel(testbed: Testbed) -> Iterator[Callable[..., ChangingChannel]]:
    opened: list[ChangingChannel] = []

    def make(*options: str) -> ChangingChannel:
        opened.append(ChangingChannel(testbed, *options))
        return opened[-1]

    yield make
    for channel in opened:
        channel.clear_away()


def held(a: ScriptedPeer, b: ScriptedPeer) -> Hold:
    return Hold(a, "LSP", b.invoice(AMOUNT_MSAT)).ask().pay().update(BlockState.HELD)


def start_again(testbed: Testbed, lsp: Lsp, restarts: str) -> None:
    match restarts:
        case "component":
            lsp.kill()
            restart(lsp)
        case "node":
            testbed.kill("LSP")
            testbed.start_and_wait("LSP")
            wait_for(interceptor_attached(lsp), 90)


def balances_msat(testbed: Testbed) -> dict[str, int]:
    wait_for(no_htlcs(list(testbed.nodes.values())))
    return {name: node.channel_balance_msat() for name, node in testbed.nodes.items()}


def assert_paid_once(testbed: Testbed, before: dict[str, int], hold: Hold, added_msat: int = 0) -> None:
    result = hold.result()
    assert result.status is PaymentStatus.SUCCEEDED
    moved = {name: msat - before[name] for name, msat in balances_msat(testbed).items()}
    assert moved == {"A": added_msat - AMOUNT_MSAT - result.fee_msat, "LSP": result.fee_msat, "B": AMOUNT_MSAT}


def assert_held_once(lsp: Lsp, hold: Hold) -> None:
    """The only part is held and intercepted, and nothing else is counted."""
    wait_for(htlcs_held(lsp, 1), 60)
    (block,) = (each for each in lsp.status()["blocks"] if each["unblock_hash"] == hold.request.unblock_hash.hex())
    assert (block["state"], len(block["parts"])) == ("held", 1)


@RESTARTS
def test_a_zero_conf_channel_is_confirmed_while_it_holds(
    testbed: Testbed,
    lsp: Lsp,
    a: ScriptedPeer,
    b: ScriptedPeer,
    open_channel: Callable[..., ChangingChannel],
    restarts: str,
) -> None:
    channel = open_channel("mindepth=0")
    channel.wait_until_usable()
    listed = channel.listed()
    assert listed is not None
    assert "short_channel_id" not in listed
    before = balances_msat(testbed)
    hold = held(a, b)

    testbed.mine(CONFIRMATIONS)
    channel.wait_until("channel_confirmed", lambda each: "short_channel_id" in each)
    start_again(testbed, lsp, restarts)

    assert_held_once(lsp, hold)
    hold.release(b)
    assert_paid_once(testbed, before, hold)


@RESTARTS
def test_a_channel_is_spliced_while_it_holds(
    testbed: Testbed,
    lsp: Lsp,
    a: ScriptedPeer,
    b: ScriptedPeer,
    open_channel: Callable[..., ChangingChannel],
    restarts: str,
) -> None:
    channel = open_channel()
    testbed.mine(CONFIRMATIONS)
    channel.wait_until_usable()
    before = balances_msat(testbed)
    hold = held(a, b)
    first = channel.listed()
    assert first is not None

    call(testbed, "A", "-k", "splicein", f"channel={channel.id}", f"amount={SPLICE_SAT}")
    channel.wait_until("splice_signed", lambda each: each["state"] == "CHANNELD_AWAITING_SPLICE")
    testbed.mine(CONFIRMATIONS)
    channel.wait_until("splice_locked", lambda each: each["short_channel_id"] != first["short_channel_id"])
    channel.wait_until_usable()
    start_again(testbed, lsp, restarts)

    assert_held_once(lsp, hold)
    hold.release(b)
    assert_paid_once(testbed, before, hold, added_msat=SPLICE_SAT * 1_000)


@pytest.mark.parametrize("closer", ["A", "LSP"])
@RESTARTS
def test_a_channel_is_to_be_closed_while_it_holds(
    testbed: Testbed,
    lsp: Lsp,
    a: ScriptedPeer,
    b: ScriptedPeer,
    open_channel: Callable[..., ChangingChannel],
    restarts: str,
    closer: str,
) -> None:
    """The payment is returned, and then the channel is closed. A restart happens after the close was requested and
    before the component can see it.
    """
    channel = open_channel()
    testbed.mine(CONFIRMATIONS)
    channel.wait_until_usable()
    hold = held(a, b)
    onchain_sat = testbed["LSP"].onchain_sat()
    if restarts != "nothing":
        lsp.kill()
    with ThreadPoolExecutor(1) as closing:
        closed = closing.submit(call, testbed, closer, "close", channel.id)
        if restarts != "nothing":
            channel.wait_until("shutting_down", lambda each: each["state"] == "CHANNELD_SHUTTING_DOWN")
            assert not closed.done()
            if restarts == "node":
                testbed.kill("LSP")
                testbed.start_and_wait("LSP")
            restart(lsp)

        assert hold.result().status is PaymentStatus.FAILED
        hold.update(BlockState.FAILED_BACK)
        if not (restarts == "node" and closer == "LSP"):  # in that case the command has ended with its node
            assert closed.result(60)["type"] == "mutual"
    testbed.mine(CONFIRMATIONS)
    channel.wait_until("closed", lambda each: each["state"] == "ONCHAIN")
    wait_for(testbed.at_height(testbed.chain.height_blocks))
    assert testbed["LSP"].onchain_sat() == onchain_sat + PUSH_SAT
