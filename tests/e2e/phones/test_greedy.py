"""A client that floods its LSP does not keep the LSP from serving another client."""

import asyncio
from collections.abc import Iterator

import pytest

from asyncpay.lsps import jsonrpc
from asyncpay.lsps.info import GET_INFO
from asyncpay.lsps.jsonrpc import RpcError
from asyncpay.lsps.lsps5 import LIST_WEBHOOKS, REMOVE_WEBHOOK, SET_WEBHOOK
from asyncpay.node_events import CustomMessage
from asyncpay.nodes.base import PeerNotConnectedError
from harness.checks import balances
from harness.nodes.predicates import no_htlcs
from harness.services.phone import Phone
from harness.services.toxiproxy import Direction
from harness.testbed import Testbed
from harness.waits import Predicate, WaitTimeoutError, wait_for
from tests.support import scripted_node
from tests.support.scripted_peer import ScriptedPeer

from .test_link import paying

AMOUNT_MSAT = 2_000_000
REGISTRATIONS = 200
MANY_NAMES = {f"{number:03}" + "x" * 200: 0 for number in range(280)}
"""Parameters that no method has: the answer names all of them, and has 60 kB."""
MANY_ANSWERS = 250
"""The number of such requests: more than fit in the buffers between LSP and phone."""


@pytest.fixture
def sender(testbed: Testbed) -> Iterator[ScriptedPeer]:
    """The node behind the LSP, which has a channel with it, and is an ordinary client."""
    with ScriptedPeer(testbed, "sender") as scripted:
        yield scripted


def lsp_id(testbed: Testbed) -> bytes:
    return bytes.fromhex(testbed["LSP"].node_id)


def dropped_by_the_lsp(testbed: Testbed, client: str) -> int:
    told = testbed.lsp("LSP").events()
    node_id = testbed[client].node_id
    return sum(event["what"] == "LSPS0 request dropped" and event.get("client") == node_id for event in told)


def test_a_phone_that_stops_reading_holds_up_only_itself(testbed: Testbed, phone: Phone, sender: ScriptedPeer) -> None:
    """LND's SendCustomMessage returns when the peer has accepted the earlier messages."""
    flooded = False

    async def ask(times: int) -> None:
        """Send the phone's requests for long answers, which it receives very slowly."""
        node = await scripted_node.connect(testbed, "A")
        try:
            for _ in range(times):
                asked = jsonrpc.Calls().begin(LIST_WEBHOOKS, MANY_NAMES)
                await node.node.send_custom(lsp_id(testbed), jsonrpc.MESSAGE_TYPE, asked.payload)
        finally:
            await node.close()

    def missing() -> str | None:
        """When all buffers are full, and stay full, an answer is stuck.

        A's LND disconnects when no pong arrives for 30 s; then all stuck answers are dropped.
        """
        nonlocal flooded
        try:
            if not flooded:
                asyncio.run(ask(MANY_ANSWERS))
                flooded = True
            before = dropped_by_the_lsp(testbed, "A")
            asyncio.run(ask(1))
        except PeerNotConnectedError:
            flooded = False
            return "the phone has disconnected"
        dropped = Predicate("dropped", lambda: None if dropped_by_the_lsp(testbed, "A") > before else "not dropped")
        try:
            wait_for(dropped, 3)
        except WaitTimeoutError:
            return "its requests are still answered"
        return None

    before = balances.count(testbed)
    phone.bandwidth(1, Direction.DOWNSTREAM)  # a blackhole would accept all data
    wait_for(Predicate("phone_holds_up_its_answers", missing), 60)

    assert sender.call(lsp_id(testbed), GET_INFO).result()["versions"] == [1]
    assert balances.count(testbed).moved_since(before)["A"] == 0


def test_a_flood_of_registrations_keeps_no_push_from_another_client(
    testbed: Testbed, phone: Phone, sender: ScriptedPeer
) -> None:
    """The host names do not exist, so each post takes as long as the name server's answer."""
    lsp, before = lsp_id(testbed), balances.count(testbed)
    invoice = phone.wallet.receive(AMOUNT_MSAT)["invoice"]
    phone.sleep()
    calls = jsonrpc.Calls()
    for number in range(REGISTRATIONS):
        webhook = f"https://{number}.nowhere.invalid/"
        asked = calls.begin(SET_WEBHOOK, {"app_name": f"app {number % 10}", "webhook": webhook})
        sender.run(sender.node.send_custom(lsp, jsonrpc.MESSAGE_TYPE, asked.payload))

    paying(testbed, invoice).result(90)

    wait_for(no_htlcs([testbed[name] for name in ("sender", "LSP", "A")]))
    assert balances.count(testbed).moved_since(before)["A"] == AMOUNT_MSAT
    answers = [calls.receive(event.data) for event in sender.events if isinstance(event, CustomMessage)]
    answered = [answer.outcome for answer in answers if answer is not None]  # the others exceeded a limit
    refused = [outcome for outcome in answered if isinstance(outcome, RpcError)]
    assert refused, "the number of concurrent registrations is limited"
    assert len(answered) - len(refused) < REGISTRATIONS / 2
    for name in sender.call(lsp, LIST_WEBHOOKS).result()["app_names"]:
        sender.call(lsp, REMOVE_WEBHOOK, app_name=name).result()
