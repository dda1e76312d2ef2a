"""`testbed wait PREDICATE`: the harness's named waits for scripts. Each predicate is one command."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncpay.terminal import styled
from harness.cli.common import AsJson, Node, Which, err, errors_as_sentences, lsps, out, phones
from harness.errors import TestbedError

if TYPE_CHECKING:
    from harness.testbed import Testbed
    from harness.waits import Predicate

NOT_REACHED_EXIT = 1
PAYMENT_STATES = ("requested", "blocked", "paying", "held", "handed over", "settled", "failed")
"""The states that `asyncpay wallet payments` shows."""

Lsp = Annotated[str, typer.Argument(help="the node of the LSP component", autocompletion=lsps)]
Phone = Annotated[str, typer.Argument(help="the phone's name", autocompletion=phones)]
Hash = Annotated[str, typer.Argument(metavar="HASH", help="payment hash, 64 hex digits")]
Timeout = Annotated[
    float, typer.Option("--timeout", "-T", min=0, max=86_400, metavar="SECONDS", help="the longest time to wait")
]

app = typer.Typer(
    no_args_is_help=True,
    subcommand_metavar="PREDICATE ...",
    help="Wait until a testbed is in a certain state: for scripts, instead of `sleep`.",
    epilog="Exit code 0 when the predicate holds, 1 when it does not within --timeout (with the last observed state), "
    "2 for an invalid call.",
)


def _wait(
    name: str, which: str | None, timeout_seconds: float, as_json: bool, make: "Callable[[Testbed], Predicate]"
) -> None:
    """Wait, print the result, and exit with its exit code. make: raises TestbedError for an unknown name.

    The predicate is called as it was typed, for example `phone-awake`.
    """
    from harness.testbed import Testbed
    from harness.waits import WaitTimeoutError, wait_for

    with errors_as_sentences():
        predicate = replace(make(Testbed.attach(which)), name=name)
        began = time.monotonic()
        last_seen: str | None = None
        try:
            wait_for(predicate, timeout_seconds)
        except WaitTimeoutError as error:
            last_seen = error.last_seen
            if not as_json:
                err.print(styled(("error:", "red"), f" {error}"), soft_wrap=True)
    seconds = time.monotonic() - began
    if as_json:
        result: dict[str, Any] = {
            "predicate": name,
            "holds": last_seen is None,
            "seconds": round(seconds, 3),
            "last_seen": last_seen,
        }
        print(json.dumps(result))
    elif last_seen is None:
        out.print(f"{name} holds after {seconds:.1f} s")
    if last_seen is not None:
        raise typer.Exit(NOT_REACHED_EXIT)


@app.command()
def ready(node: Node, timeout: Timeout = 90, which: Which = None, as_json: AsJson = False) -> None:
    """The node answers every call and is synced to the chain."""
    from harness.nodes.predicates import ready as predicate

    _wait("ready", which, timeout, as_json, lambda testbed: predicate(testbed[node]))


@app.command()
def at_height(
    height_blocks: Annotated[int, typer.Argument(metavar="HEIGHT", min=0, help="a block height")],
    timeout: Timeout = 30,
    which: Which = None,
    as_json: AsJson = False,
) -> None:
    """Every running node is synced to this height."""
    _wait("at-height", which, timeout, as_json, lambda testbed: testbed.at_height(height_blocks))


@app.command()
def peers_connected(
    node: Node, other: Node, timeout: Timeout = 30, which: Which = None, as_json: AsJson = False
) -> None:
    """Each of the two nodes lists the other as its peer."""
    from harness.nodes.predicates import peers_connected as predicate

    _wait("peers-connected", which, timeout, as_json, lambda testbed: predicate(testbed[node], testbed[other]))


@app.command()
def peer_gone(node: Node, peer: Node, timeout: Timeout = 30, which: Which = None, as_json: AsJson = False) -> None:
    """NODE knows that PEER is not connected."""
    from harness.nodes.predicates import peer_gone as predicate

    _wait("peer-gone", which, timeout, as_json, lambda testbed: predicate(testbed[node], testbed[peer]))


@app.command()
def channels_usable(node: Node, timeout: Timeout = 60, which: Which = None, as_json: AsJson = False) -> None:
    """Every channel of the node to a running node is usable at both ends. The node dials peers that are missing."""

    def make(testbed: "Testbed") -> "Predicate":
        _ = testbed[node]
        return testbed.channels_usable(node)

    _wait("channels-usable", which, timeout, as_json, make)


@app.command()
def graph_complete(timeout: Timeout = 60, which: Which = None, as_json: AsJson = False) -> None:
    """Every node knows both policies of every announced channel, and of its own private ones. All nodes must run."""
    from harness.bringup import graph_complete as predicate

    _wait("graph-complete", which, timeout, as_json, predicate)


@app.command()
def no_htlcs(timeout: Timeout = 30, which: Which = None, as_json: AsJson = False) -> None:
    """No channel of a running node has an HTLC in flight."""
    from harness.nodes.predicates import no_htlcs as predicate

    _wait("no-htlcs", which, timeout, as_json, lambda testbed: predicate(testbed.running()))


@app.command()
def payment_gone(payment_hash: Hash, timeout: Timeout = 30, which: Which = None, as_json: AsJson = False) -> None:
    """No channel of a running node has an HTLC of this payment."""
    from harness.nodes.predicates import payment_gone as predicate

    def make(testbed: "Testbed") -> "Predicate":
        wanted = _hash(payment_hash)
        return predicate(testbed.running(), wanted)

    _wait("payment-gone", which, timeout, as_json, make)


@app.command()
def interceptor_attached(lsp: Lsp, timeout: Timeout = 30, which: Which = None, as_json: AsJson = False) -> None:
    """The LSP component is attached to its node, which forwards HTLCs from then on."""
    from harness.services.lsp import interceptor_attached as predicate

    _wait("interceptor-attached", which, timeout, as_json, lambda testbed: predicate(testbed.lsp(lsp)))


@app.command()
def htlcs_held(
    lsp: Lsp,
    htlcs: Annotated[int, typer.Argument(min=0, help="how many")],
    timeout: Timeout = 30,
    which: Which = None,
    as_json: AsJson = False,
) -> None:
    """The LSP's component holds exactly this many HTLCs under blocks."""
    from harness.services.lsp import htlcs_held as predicate

    _wait("htlcs-held", which, timeout, as_json, lambda testbed: predicate(testbed.lsp(lsp), htlcs))


@app.command()
def phone_awake(phone: Phone, timeout: Timeout = 30, which: Which = None, as_json: AsJson = False) -> None:
    """The phone is awake, and all of its apps run."""
    from harness.services.phone_container import apps_running

    _wait("phone-awake", which, timeout, as_json, lambda testbed: apps_running(testbed.phone(phone).container))


@app.command()
def phone_asleep(phone: Phone, timeout: Timeout = 30, which: Which = None, as_json: AsJson = False) -> None:
    """The phone is asleep, and none of its apps has a process."""
    from harness.services.phone_container import apps_stopped

    _wait("phone-asleep", which, timeout, as_json, lambda testbed: apps_stopped(testbed.phone(phone).container))


@app.command()
def wallet_ready(phone: Phone, timeout: Timeout = 60, which: Which = None, as_json: AsJson = False) -> None:
    """The phone's wallet runs, and its channel with its LSP is usable."""
    _wait("wallet-ready", which, timeout, as_json, lambda testbed: testbed.phone(phone).wallet.ready())


@app.command()
def wallet_payment(
    phone: Phone,
    payment_hash: Hash,
    states: Annotated[list[str], typer.Argument(metavar="STATE...", help=", ".join(PAYMENT_STATES))],
    timeout: Timeout = 60,
    which: Which = None,
    as_json: AsJson = False,
) -> None:
    """A payment that the phone's wallet sends is in one of these states."""

    def make(testbed: "Testbed") -> "Predicate":
        for state in states:
            if state not in PAYMENT_STATES:
                raise TestbedError(f"{state!r} is not a payment state. Choose from: {', '.join(PAYMENT_STATES)}")
        return testbed.phone(phone).wallet.has_payment(_hash(payment_hash), *states)

    _wait("wallet-payment", which, timeout, as_json, make)


def _hash(text: str) -> str:
    """Check a payment hash. Raises TestbedError if it is not one."""
    if len(text) != 64 or not set(text.lower()) <= set("0123456789abcdef"):
        raise TestbedError(f"{text!r} is not a payment hash: use 64 hex digits, which `testbed pay --json` prints")
    return text.lower()
