"""What the wire costs in CPU time: milliseconds, and ECDHs of coincurve in the same run.

    python -m tests.bench.bench_wire

prints a table and writes artifacts/bench/wire.json and wire.svg. The ratio is what to compare between machines.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from timeit import repeat

from coincurve import PrivateKey
from rich.console import Console
from rich.table import Table

from asyncpay.wire import blinding, messages, onion, signature
from asyncpay.wire.blinding import HopData
from asyncpay.wire.onion import OnionMessage, Payload
from tests.bench.figures import Figure, plot

OUTPUT = Path(__file__).parents[2] / "artifacts" / "bench" / "wire.json"
RUNS, CALLS_PER_RUN = 31, 40

KEYS = [PrivateKey(bytes([i]) * 32) for i in range(1, 5)]
NODE_IDS = [key.public_key.format() for key in KEYS]
PID, PATH_KEY, ONION_KEY = bytes(32), b"\5" * 32, b"\6" * 32

PENDING = messages.PaymentPending(
    pid=PID, payment_hashes=(PID,), amount_msat=10**6, release_by_height=10**6, hold_until=2 * 10**9
)
REQUEST = messages.BlockRequest(
    unblock_hash=PID,
    courier=messages.Courier(path_key=NODE_IDS[0], onion=bytes(1366)),
    payment_hashes=(PID,),
    amount_msat=10**6,
    release_by_height=10**6,
    hold_until=2 * 10**9,
    signature=bytes([31]) + bytes([7]) * 64,
).encode()


def build() -> OnionMessage:
    path = blinding.build(blinding.hops_through(NODE_IDS, HopData(path_id=PID)), PATH_KEY)
    return onion.build(path, Payload(async_payment=PENDING.encode()), ONION_KEY)


MESSAGE = build()

# What is measured -> (the call, the most milliseconds it should take, if there is such a target).
MEASURED: dict[str, tuple[Callable[[], object], float | None]] = {
    "one ECDH": (lambda: KEYS[0].ecdh(NODE_IDS[1]), None),
    "build path and onion, 4 hops": (build, 1.5),
    "peel a hop": (lambda: onion.peel(MESSAGE.packet, MESSAGE.path_key, KEYS[0].ecdh), 0.3),
    "decode a block_request with courier": (lambda: messages.decode(REQUEST), None),
    "recover a signer": (lambda: signature.recover("text", bytes([31]) + bytes([7]) * 64), None),
}


def main() -> None:
    """Measure, print, write."""
    ms = {
        name: 1000 * median(repeat(call, timer=time.thread_time, number=CALLS_PER_RUN, repeat=RUNS)) / CALLS_PER_RUN
        for name, (call, _) in MEASURED.items()
    }
    table, figures = Table("", "ms", "ECDHs", "target ms"), {}
    for name, (_, target_ms) in MEASURED.items():
        ecdhs = ms[name] / ms["one ECDH"]
        table.add_row(name, f"{ms[name]:.4f}", f"{ecdhs:.1f}", "" if target_ms is None else f"{target_ms}")
        figures[name] = {"ms": ms[name], "ecdhs": ecdhs, "target_ms": target_ms}
    Console().print(table)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=2) + "\n")
    plotted = [Figure(name, "ms", [ms[name]], target_ms) for name, (_, target_ms) in MEASURED.items()]
    plot(OUTPUT.with_suffix(".svg"), "what the wire costs in CPU time", plotted)


if __name__ == "__main__":
    main()
