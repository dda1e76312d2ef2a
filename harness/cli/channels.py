"""`testbed fund`, `open-channel` and `close-channel`."""

import json
from typing import Annotated

import typer

from asyncpay.amounts import in_sat
from harness.cli.common import AsJson, Node, Which, errors_as_sentences, out

Amount = Annotated[str, typer.Argument(help="with its unit: 1000000sat, 0.01btc")]


def fund(node: Node, amount: Amount, which: Which = None, as_json: AsJson = False) -> None:
    """Send a node coins from the testbed's wallet, mine a block, and return when they have one confirmation."""
    from harness import verbs
    from harness.testbed import Testbed

    with errors_as_sentences():
        amount_sat = verbs.whole_sat(amount)
        funded = verbs.fund(Testbed.attach(which), node, amount_sat)
    if as_json:
        print(json.dumps(vars(funded)))
    else:
        out.print(
            f"{node} got {in_sat(funded.amount_sat * 1_000)} sat in {funded.txid}; "
            f"it has {in_sat(funded.onchain_sat * 1_000)} sat on-chain",
            soft_wrap=True,
        )


def open_channel(
    opener: Node,
    peer: Node,
    capacity: Annotated[str, typer.Argument(help="with its unit: 1000000sat, 0.01btc")],
    push: Annotated[str | None, typer.Option(metavar="AMOUNT", help="PEER's initial balance: 400000sat")] = None,
    private: Annotated[bool, typer.Option("--private", help="do not announce it")] = False,
    which: Which = None,
    as_json: AsJson = False,
) -> None:
    """Open a channel from OPENER to PEER; return when both can use it and, if it is announced, all nodes know of it.

    Funds OPENER if it has too few coins, connects the two, and mines the necessary blocks.
    """
    from harness import verbs
    from harness.testbed import Testbed

    with errors_as_sentences():
        capacity_sat, push_sat = verbs.whole_sat(capacity), 0 if push is None else verbs.whole_sat(push)
        opened = verbs.open_channel(Testbed.attach(which), opener, peer, capacity_sat, push_sat, private)
    if as_json:
        print(json.dumps(opened.as_json()))
    else:
        kind = "private" if private else "announced"
        out.print(
            f"opened {opened.short_channel_id}: {opener} {in_sat((capacity_sat - push_sat) * 1_000)} sat, "
            f"{peer} {in_sat(push_sat * 1_000)} sat, {kind}",
            soft_wrap=True,
        )


def close_channel(
    closer: Node,
    peer: Node,
    channel: Annotated[
        str | None, typer.Option(metavar="ID", help="the channel, if the two have several: 110x1x0, as in `status`")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="CLOSER publishes its commitment transaction; PEER need not answer")
    ] = False,
    which: Which = None,
    as_json: AsJson = False,
) -> None:
    """Close the channel of CLOSER and PEER, mine blocks, and return when its closing transaction is confirmed.

    After a cooperative close both have their coins. After --force each sweeps its own, CLOSER after its CSV delay: mine
    more blocks for that.
    """
    from harness import verbs
    from harness.testbed import Testbed

    with errors_as_sentences():
        closed = verbs.close_channel(Testbed.attach(which), closer, peer, channel, force)
    if as_json:
        print(json.dumps(closed.as_json()))
    else:
        how = "force-closed" if force else "closed"
        out.print(f"{how} {closed.short_channel_id} in {closed.closing_txid}", soft_wrap=True)
