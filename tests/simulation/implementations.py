"""The behaviour of LND and Core Lightning, as facts: one class for each implementation.

The capabilities that the protocol depends on are imported from the adapters' declarations. The other rules of simulated
nodes are declared here, and each fact names the end-to-end test that observed it on real nodes. A fact without a test
was read in the node's source or tried by hand, and says so. A third implementation is another class, and an entry in
IMPLEMENTATIONS.
"""

from typing import ClassVar

from asyncpay.lightning import Capabilities
from asyncpay.nodes.cln.node import CAPABILITIES as OF_CLN
from asyncpay.nodes.lnd.node import CAPABILITIES as OF_LND


class Implementation:
    """The rules of a simulated node.

    fails_held_blocks: this close to its incoming expiry, the node fails a held HTLC by itself.
    offers_from_blocks: an HTLC closer to its incoming expiry is failed, not offered.
    offers_on_chain: an HTLC held on a channel that went on chain is offered anew, for a preimage only.
    replays_to_interceptor: a forwarded HTLC may be offered again when its payer reconnects.
    plugin_death_resumes: when the plugin dies, the node forwards every HTLC that it held, and stops shortly after.
    final_extra_blocks: the blocks that the implementation adds by itself to the final CLTV delta when it pays.
    least_outgoing_blocks: an HTLC whose outgoing expiry is not further away than this is not forwarded.
    closes_after_blocks: this long after the expiry of an HTLC that it offered, the node goes on chain.
    claims_before_blocks: this long before the expiry of one that it can claim, it goes on chain.
    mpp_timeout_seconds: an incomplete set that ends at this node is failed this long after its first part.
    takes_any_htlc_id: a peer may choose any HTLC ids, up to 2^64-1.
    onion_burst, onion_seconds: onion messages accepted from a peer in a burst, and the time for one more.
    takes_onions_without_channel: a peer without a channel may also send and leave onion messages.
    claims_with_any_preimage: it claims an incoming HTLC on chain if it has learnt the preimage from its own payment,
        whatever its component says.
    tells_settlement_without_payer: a settlement is reported while the payer is disconnected.
    unattached_seconds: without its component the node fails an HTLC unknown to that component after this time.
    retries_parts: a failed part of its own payment is sent again until the payment's timeout.
    ignores_limit_of_blinded_path: the CLTV delta of the only hop of an invoice's blinded path is added to the route
        after the limit was checked.
    pays_in_one_call: the node itself sends part after part, also while no component is attached.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    fails_held_blocks: ClassVar[int]
    offers_from_blocks: ClassVar[int]
    offers_on_chain: ClassVar[bool]
    replays_to_interceptor: ClassVar[bool]
    plugin_death_resumes: ClassVar[bool]
    final_extra_blocks: ClassVar[int]
    least_outgoing_blocks: ClassVar[int]
    closes_after_blocks: ClassVar[int]
    claims_before_blocks: ClassVar[int]
    mpp_timeout_seconds: ClassVar[float]
    takes_any_htlc_id: ClassVar[bool]
    onion_burst: ClassVar[int | None]
    onion_seconds: ClassVar[float]
    takes_onions_without_channel: ClassVar[bool]
    claims_with_any_preimage: ClassVar[bool]
    tells_settlement_without_payer: ClassVar[bool]
    unattached_seconds: ClassVar[float]
    retries_parts: ClassVar[bool]
    pays_in_one_call: ClassVar[bool]
    ignores_limit_of_blinded_path: ClassVar[bool]


class Lnd(Implementation):
    """LND 0.21."""

    name = "LND"
    # transit_release: tests/e2e/adapter/test_messages.py::test_an_onion_message_passes_through_and_arrives
    # forwards_with_payer_offline: tests/e2e/adapter/test_htlcs.py::test_resumed_while_the_payer_is_away
    # reoffers_without_payer: tests/e2e/adapter/test_comings_and_goings.py::test_a_restarted_node_offers_again
    # pays_on_behalf: tests/e2e/adapter/test_htlcs.py::test_claimed_from_a_payer_who_is_away
    # keeps_settlements: tests/e2e/adapter/test_settlements.py::test_a_restart_forgets_a_claim_or_keeps_it_as_declared
    # tells_next_hop: tests/e2e/adapter/test_messages.py::test_a_kept_message_is_delivered_when_its_receiver_is_back
    capabilities = OF_LND
    # tests/e2e/adapter/test_htlcs.py::test_an_answer_that_would_end_the_stream_is_not_sent
    fails_held_blocks = 19
    offers_from_blocks = 22  # htlcswitch/interceptable_switch.go: handleExpired
    offers_on_chain = True  # tests/e2e/adapter/test_on_chain.py::test_a_channel_closed_under_a_held_htlc
    replays_to_interceptor = True  # lnd#5115; no e2e test provokes it
    plugin_death_resumes = False  # it runs with --requireinterceptor
    final_extra_blocks = 3  # tried by hand
    least_outgoing_blocks = 3  # read in the source
    closes_after_blocks = 0  # tests/e2e/adapter/test_on_chain.py::test_a_channel_closed_under_a_held_htlc
    claims_before_blocks = 16  # tried by hand
    mpp_timeout_seconds = 120  # tried by hand
    takes_any_htlc_id = False  # lnwallet/channel.go: ReceiveHTLC wants the next one
    onion_burst = None  # its 512 kbps a peer are out of reach for this protocol
    onion_seconds = 0
    takes_onions_without_channel = (
        False  # peer/brontide.go: the gate that Config.OnionRelayAll opens is shut by default
    )
    # tests/e2e/lsp/test_force_close.py; contractcourt/channel_arbitrator.go: isPreimageAvailable
    claims_with_any_preimage = True
    # tests/e2e/adapter/test_lnd_only.py::test_a_settlement_is_told_only_once_the_payer_is_back
    tells_settlement_without_payer = False
    # tests/e2e/lsp/test_component.py::test_without_its_component_an_lsp_forwards_nothing_and_with_it_everything_again
    unattached_seconds = 0
    pays_in_one_call = True
    # lnrpc/routerrpc/router_backend.go: extractIntentFromSendRequest checks cltv_limit against the invoice's
    # min_final_cltv_expiry; routing/pathfind.go: newRoute then adds the path's own CltvExpiryDelta
    ignores_limit_of_blinded_path = True
    retries_parts = True  # tried by hand: up to 14 more HTLCs while timeout_seconds lasts


class Cln(Implementation):
    """Core Lightning 26.06 with the project's plugin."""

    name = "CLN"
    # transit_release: tests/e2e/adapter/test_messages.py::test_an_onion_message_passes_through_and_arrives
    # forwards_with_payer_offline: tests/e2e/adapter/test_htlcs.py::test_resumed_while_the_payer_is_away
    # reoffers_without_payer: tests/e2e/adapter/test_comings_and_goings.py::test_a_restarted_node_offers_again
    # keeps_settlements: tests/e2e/adapter/test_settlements.py::test_a_restart_forgets_a_claim_or_keeps_it_as_declared
    # tells_next_hop: tests/e2e/adapter/test_messages.py::test_a_kept_message_is_delivered_when_its_receiver_is_back
    capabilities = OF_CLN
    # tests/e2e/lsp/test_cln_plugin.py::test_near_its_expiry_an_htlc_is_failed_though_the_process_is_dead
    fails_held_blocks = 6
    offers_from_blocks = 7  # the plugin fails immediately what it would have to fail at its cutoff
    offers_on_chain = False  # tests/e2e/adapter/test_on_chain.py::test_a_channel_closed_under_a_held_htlc
    replays_to_interceptor = False  # read in the source: never again on a mere reconnect
    # tests/e2e/lsp/test_cln_plugin.py::test_a_plugin_that_is_killed_lets_go_of_what_it_holds_and_lightningd_stops
    plugin_death_resumes = True
    final_extra_blocks = 1  # tried by hand
    least_outgoing_blocks = 0  # tried by hand
    closes_after_blocks = 1  # tried by hand
    claims_before_blocks = 17  # read in the source: (cltv_delta + 1) / 2 of mainnet's 34
    mpp_timeout_seconds = 70  # tried by hand
    takes_any_htlc_id = True  # channeld/full_channel.c: channel_add_htlc only writes a line to the log
    onion_burst = 4  # read in the source
    onion_seconds = 0.25
    takes_onions_without_channel = True  # connectd/onion_message.c: handle_onion_message asks for no channel
    claims_with_any_preimage = False  # lightningd/peer_htlcs.c: only what the HTLC itself was given (hin->preimage)
    # tests/e2e/adapter/test_htlcs.py::test_resumed_while_the_payer_is_away
    tells_settlement_without_payer = True
    # tests/e2e/lsp/test_cln_plugin.py::test_what_the_process_knows_of_waits_for_it_longer_than_what_it_does_not
    # tests/e2e/lsp/holds/test_crashes.py::test_killed_with_its_node_and_back_long_after_it
    unattached_seconds = 10
    ignores_limit_of_blinded_path = False  # common/bolt11.c: its decoders know no blinded paths
    pays_in_one_call = False  # sendpay, once for each part
    retries_parts = False  # tests/e2e/adapter/test_payments.py::test_failed_back_it_is_not_tried_again


IMPLEMENTATIONS: dict[str, type[Implementation]] = {each.name: each for each in (Lnd, Cln)}
