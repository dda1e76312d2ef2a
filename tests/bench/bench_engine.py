"""What an event costs the LSP's engine with many held payments, as a ratio to few.

    python -m tests.bench.bench_engine [HELD]

prints a table and writes artifacts/bench/engine.json and engine.svg: for each kind of event the median time with 100
and with HELD (100,000) held payments, each of a client of its own, their ratio with its spread; how long it takes to
attach; and what a held payment takes in memory. Nothing but the engine is measured, in CPU time: no store, no node.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from asyncpay.engine.core import ClockRead, Tick
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.interface import (
    BlockRequested,
    CancelRequested,
    Delivery,
    DeliveryReported,
    NotificationReported,
    RefusalSeen,
    ReleaseSeen,
    UpdateSent,
    WebhookSet,
)
from asyncpay.engine.lsp.records import Method
from asyncpay.node_events import (
    BlockConnected,
    HtlcFailed,
    HtlcGone,
    HtlcOffered,
    HtlcSettled,
    LinkChanged,
    LinkClosed,
    OnionInTransit,
    PeerConnected,
    PeerDisconnected,
)
from asyncpay.nodes.lnd.node import CAPABILITIES
from asyncpay.wire.messages import BlockRequest, BlockState, CancelRequest, unblock_hash
from asyncpay.wire.onion import OnionMessage
from tests.bench.figures import Figure, plot
from tests.support.held_payments import (
    HEIGHT,
    POLICY,
    ROUTER,
    START,
    LoadedLsp,
    attached,
    block,
    client,
    htlc,
    link,
    pid,
    records_of,
    router_link,
)

OUTPUT = Path(__file__).parents[2] / "artifacts" / "bench" / "engine.json"
FEW, MANY, SAMPLES = 100, 100_000, 100
MOST_RATIO, MOST_ATTACH_SECONDS, MOST_BYTES = 1.5, 5.0, 4000
PAGE_BYTES = 4096


def request(number: int) -> BlockRequest:
    """A new block of this client."""
    new_hash = sha256(b"new" + pid(number)).digest()
    return BlockRequest(
        unblock_hash=sha256(b"another" + pid(number)).digest(),
        payment_hashes=(new_hash,),
        amount_msat=1000,
        release_by_height=HEIGHT + 400,
        hold_until=int(START) + 100_000,
        signature=bytes(65),
    )


def onion(number: int) -> OnionInTransit:
    """A message that a client's mailbox takes in."""
    message = OnionMessage(b"\x02" + number.to_bytes(32, "big"), bytes(1366))
    return OnionInTransit(source=ROUTER, message=message, next_node_id=client(number), undelivered=True)


EVENTS: dict[str, Callable[[int], Any]] = {
    "Tick": lambda _: Tick(),
    "ClockRead": lambda _: ClockRead(0, 0),
    "BlockConnected": lambda n: BlockConnected(HEIGHT + 1 + n % 2),
    "HtlcOffered, passes": lambda n: HtlcOffered(htlc(n, htlc_id=7)),
    "HtlcOffered, held": lambda n: HtlcOffered(htlc(n)),
    "HtlcSettled": lambda n: HtlcSettled(htlc(n, htlc_id=1).key, sha256(b"finished" + block(n).key).digest()),
    "HtlcFailed": lambda n: HtlcFailed(htlc(n, htlc_id=1).key),
    "HtlcGone": lambda n: HtlcGone(htlc(n, htlc_id=1).key),
    "PeerConnected": lambda n: PeerConnected(client(n)),
    "PeerDisconnected": lambda n: PeerDisconnected(client(n)),
    "LinkChanged, a client's": lambda n: LinkChanged(link(n, usable=True)),
    "LinkChanged, the router's": lambda n: LinkChanged(router_link(usable=bool(n % 2))),
    "LinkClosed": lambda n: LinkClosed(link(n).channel_id),
    "OnionInTransit": onion,
    "BlockRequested": lambda n: BlockRequested(client(n), request(n)),
    "CancelRequested": lambda n: CancelRequested(
        client(n), CancelRequest(unblock_hash=block(n).key, signature=bytes(65))
    ),
    "ReleaseSeen": lambda n: ReleaseSeen(pid(n)),
    "RefusalSeen": lambda n: RefusalSeen(pid(n)),
    "DeliveryReported": lambda n: DeliveryReported(client(n), sha256(block(n).key).digest(), Delivery.DONE),
    "UpdateSent": lambda n: UpdateSent(unblock_hash(pid(n)), BlockState.HELD),
    "NotificationReported": lambda n: NotificationReported(client(n), Method.ONION_MESSAGE, False),
    "WebhookSet": lambda n: WebhookSet(client(n), "another", "https://push.example/2"),
}


def main() -> None:
    """Measure, print, write."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else MANY
    console = Console()
    gc.disable()  # else a collection falls into some event: a service collects between events
    held_bytes = bytes_of_a_held_payment()
    loaded, figures = attach(many)
    figures |= {"held": many, "bytes_of_a_held_payment": held_bytes, "events": events(loaded, many)}
    show(console, figures)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=2) + "\n")
    plotted = [Figure(name, "", each["ratios"], MOST_RATIO) for name, each in figures["events"].items()]
    plotted.append(Figure("attach", "s", [figures["attach_seconds"]], MOST_ATTACH_SECONDS))
    plotted.append(Figure("a held payment", "bytes", [held_bytes], MOST_BYTES))
    plot(OUTPUT.with_suffix(".svg"), f"what an event costs with {many} held payments, as a ratio to {FEW}", plotted)


def bytes_of_a_held_payment(count: int = 20_000) -> float:
    """A block with its courier, and one part, in records and indexes."""
    before = resident_bytes()
    lsp = Lsp(POLICY, CAPABILITIES, [record for n in range(count) for record in islice(records_of(n), 2)])
    return (resident_bytes() - before) / len(lsp.state.records.blocks)


def resident_bytes() -> int:
    """The memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def attach(count: int) -> tuple[LoadedLsp, dict[str, Any]]:
    """Start with so many held payments, and attach: until new events are served, and until all is reviewed."""
    began = time.thread_time()
    loaded = LoadedLsp(count, CAPABILITIES, attach=False)
    load_seconds = time.thread_time() - began
    event = attached(count)
    began = time.thread_time()
    loaded.handle(event)
    attach_seconds = time.thread_time() - began
    for number in range(count):
        loaded.handle(HtlcOffered(htlc(number)))
    snapshot, work_seconds, longest, slices = loaded.snapshot(), 0.0, 0.0, 0
    events: list[Any] = [snapshot]
    while events or loaded.lsp.next_deadline < loaded.now + 0.5:
        loaded.now = max(loaded.now, loaded.lsp.next_deadline) if not events else loaded.now
        began = time.thread_time()
        loaded.handle(events.pop() if events else Tick())
        seconds = time.thread_time() - began
        work_seconds, longest, slices = work_seconds + seconds, max(longest, seconds), slices + 1
    return loaded, {
        "make_and_load_seconds": load_seconds,
        "attach_seconds": attach_seconds,
        "review_seconds": work_seconds,
        "review_slices": slices,
        "longest_slice_seconds": longest,
    }


def events(loaded: LoadedLsp, many: int) -> dict[str, dict[str, Any]]:
    """The median microseconds of each kind of event, with few and with many, and the ratio with its quartiles."""
    figures: dict[str, dict[str, Any]] = {}
    for place, (name, make) in enumerate(EVENTS.items()):
        few = LoadedLsp(FEW, CAPABILITIES)
        times: dict[int, list[float]] = {FEW: [], many: []}
        for sample in range(SAMPLES):
            number = place * SAMPLES + sample if many >= SAMPLES * len(EVENTS) else sample
            for lsp, event, into in ((few, make(sample), times[FEW]), (loaded, make(number), times[many])):
                began = time.thread_time_ns()
                lsp.handle(event)
                into.append((time.thread_time_ns() - began) / 1000)
        low, _, high = quantiles(times[many], n=4)
        base = median(times[FEW])
        figures[name] = {
            "few_microseconds": base,
            "many_microseconds": median(times[many]),
            "ratio": median(times[many]) / base,
            "lower_quartile": low / base,
            "upper_quartile": high / base,
            "ratios": [each / base for each in times[many]],
        }
    return figures


def show(console: Console, figures: dict[str, Any]) -> None:
    """The same for people."""
    table = Table("event", f"{FEW} held: µs", f"{figures['held']} held: µs", "ratio", "quartiles", "target")
    for name, each in figures["events"].items():
        table.add_row(
            name,
            f"{each['few_microseconds']:.0f}",
            f"{each['many_microseconds']:.0f}",
            f"{each['ratio']:.2f}",
            f"{each['lower_quartile']:.2f} - {each['upper_quartile']:.2f}",
            f"{MOST_RATIO}",
        )
    console.print(table)
    console.print(
        f"attach: {figures['attach_seconds']:.2f} s until new events are served (target {MOST_ATTACH_SECONDS:.0f} s); "
        f"then {figures['review_slices']} slices, {figures['review_seconds']:.2f} s in all, "
        f"the longest {1000 * figures['longest_slice_seconds']:.0f} ms"
    )
    console.print(f"a held payment: {figures['bytes_of_a_held_payment']:.0f} bytes (target {MOST_BYTES})")


if __name__ == "__main__":
    main()
