"""The metrics of a running LSP for Prometheus: held payments, deadlines, mailbox, pushes, decisions, times.

Off unless the configuration has a section [metrics]. Gauges are read from the engine when Prometheus scrapes; counters
and histograms are kept from the start of the process. docs/operating.md explains each metric, with alerts.
"""

import asyncio
import math
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address
from socketserver import ThreadingMixIn
from threading import BoundedSemaphore, Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from asyncpay.config import MetricsConfig
from asyncpay.engine.core import Tick
from asyncpay.engine.lsp import interface as lsp_io
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.records import Method
from asyncpay.engine.lsp.states import State, Trigger
from asyncpay.lightning import Resolution
from asyncpay.wire.messages import BlockReply, BlockStatus

READ_SECONDS = 5
"""How long a scrape waits for the LSP's event loop."""
MAX_READERS = 8
"""The most connections that are served at the same time."""
SILENCE_SECONDS = 2
"""How long a connection may be silent before it is closed."""
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STATES = {state.value: state for state in State}
_REASONS = {trigger.value for trigger in Trigger}


class MetricsError(ValueError):
    """The server cannot listen at the address for metrics; the text gives the reason and a remedy."""


class LspMetrics:
    """The counters of the process, which outlive its engines (`following`).

    It is a Measure of asyncpay.service.common.loop. version: of asyncpay. implementation: of the node.
    """

    def __init__(self, version: str, implementation: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._lsp: Lsp | None = None
        self._now: Callable[[], float] = lambda: 0
        self._event_seconds = self._histogram("event", "From an event's arrival until its decision is stored")
        self._store_seconds = self._histogram("store", "For one transaction of the store")
        self._decisions = self._counter("decisions", "Blocks that came into a state", ["state", "reason"])
        self._resolutions = self._counter("resolutions", "HTLCs resolved at the node", ["resolution"])
        self._replies = self._counter("block_replies", "block_requests answered", ["status"])
        self._pushes = self._counter("pushes", "Notifications to webhooks", ["method", "result"])
        self._force_closes = self._counter("force_closes", "Channels closed to claim an HTLC on chain", [])
        self._detachments = self._counter("detachments", "Times that the node's events ended", [])
        started = Gauge("asyncpay_lsp_start_time_seconds", "Unix time of the process's start", registry=self.registry)
        started.set(time.time())
        about = {"version": version, "implementation": implementation}
        Info("asyncpay_lsp_build", "This LSP", registry=self.registry).info(about)
        # A series that first appears with the value 1 has not increased for Prometheus: begin them at 0.
        for resolution in Resolution:
            self._resolutions.labels(resolution.value)
        for status in BlockStatus:
            self._replies.labels(status.name)
        for method in Method:
            for result in ("delivered", "failed"):
                self._pushes.labels(method.value, result)

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(f"asyncpay_lsp_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"asyncpay_lsp_{name}_seconds", text, registry=self.registry, buckets=_SECONDS)

    # --- reports of the LSP ---

    @contextmanager
    def following(self, lsp: Lsp, now: Callable[[], float]) -> Iterator[None]:
        """Read the gauges from this engine in this context. now: the engine's time."""
        self._lsp, self._now = lsp, now
        try:
            yield
        finally:
            self._lsp = None

    def stored(self, seconds: float) -> None:
        """Record the duration of a transaction."""
        self._store_seconds.observe(seconds)

    def decided(self, event: object, seconds: float) -> None:
        """Record that the decision on an event was stored this many seconds after its arrival."""
        if not isinstance(event, Tick):
            self._event_seconds.observe(seconds)

    def performed(self, effect: lsp_io.Effect) -> None:
        """Count an effect that begins."""
        match effect:
            case lsp_io.Log(what) if what in _STATES:
                reason = effect.because if effect.because in _REASONS else "request"
                self._decisions.labels(what, reason).inc()
            case lsp_io.ResolveHtlc():
                self._resolutions.labels(effect.resolution.value).inc()
            case lsp_io.ForceClose():
                self._force_closes.inc()
            case lsp_io.SendToClient(message=BlockReply(status=status)):
                self._replies.labels(status.name).inc()

    def reported(self, event: lsp_io.LspEvent) -> None:
        """Count the result of an effect."""
        if isinstance(event, lsp_io.NotificationReported):
            self._pushes.labels(event.method.value, "delivered" if event.delivered else "failed").inc()

    def detached(self) -> None:
        """Count an end of the node's events."""
        self._detachments.inc()

    # --- scrapes of Prometheus ---

    def gauges(self) -> Iterator[Metric]:
        """Yield the gauges from the engine. Must run on the LSP's event loop."""
        lsp = self._lsp
        attached = lsp is not None and lsp.state.node.attached
        yield _gauge("node_attached", "1 while the node's events are received", float(attached))
        if lsp is None:
            return
        state, totals = lsp.state, lsp.state.records.totals
        blocks = GaugeMetricFamily("asyncpay_lsp_blocks", "Payers' requests by state", labels=["state"])
        for each in State:
            blocks.add_metric([each.value], totals.blocks[each])
        yield blocks
        yield _gauge("held_parts", "HTLCs of blocks that are not resolved", totals.held_parts)
        yield _gauge("held_msat", "What they are worth, in millisatoshi", totals.held_msat)
        oldest = totals.held_since.first
        age = 0 if math.isinf(oldest) else max(0.0, self._now() - oldest)
        yield _gauge("oldest_held_seconds", "Since when the oldest of them is held", age)
        yield _gauge("waiting_htlcs", "HTLCs without a block that wait for an offline client", totals.waiting_htlcs)
        yield _gauge("waiting_msat", "What they are worth, in millisatoshi", totals.waiting_msat)
        yield _gauge("claimed_msat", "Claimed parts that payers have not let go of", state.records.claimed_msat())
        yield _gauge("mailbox_messages", "Onion messages stored for clients", totals.messages)
        yield _gauge("mailbox_bytes", "What they take up", totals.message_bytes)
        yield _gauge("clients", "Nodes that have registered a webhook", len(state.records.clients()))
        if (height := state.node.height) is not None:
            yield _gauge("node_height_blocks", "The node's best block", height)
            if not math.isinf(first := state.schedule.by_height.first):
                yield _gauge(
                    "nearest_deadline_blocks", "Blocks until the first held payment is returned", first - height
                )


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"asyncpay_lsp_{name}", text, value)


class _Gauges(Collector):
    """Collect the gauges for a thread of the HTTP server, on the event loop of the engine."""

    def __init__(self, metrics: LspMetrics, loop: asyncio.AbstractEventLoop) -> None:
        self._metrics, self._loop = metrics, loop

    def collect(self) -> list[Metric]:
        return asyncio.run_coroutine_threadsafe(self._read(), self._loop).result(READ_SECONDS)

    async def _read(self) -> list[Metric]:
        return list(self._metrics.gauges())


class _Server(ThreadingMixIn, WSGIServer):
    """A server with one thread for each reader, a limit on threads, and a time-out for silent readers."""

    daemon_threads = True

    def __init__(self, config: MetricsConfig) -> None:
        self._free = BoundedSemaphore(MAX_READERS)
        if isinstance(config.host, IPv6Address):
            self.address_family = socket.AF_INET6
        super().__init__((str(config.host), config.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._free.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore readers that disconnect or send nothing."""


class _Handler(WSGIRequestHandler):
    timeout = SILENCE_SECONDS

    def log_message(self, *_: Any) -> None:
        """Log nothing: the event log is for payments."""


@contextmanager
def serving(config: MetricsConfig, metrics: LspMetrics) -> Iterator[None]:
    """Answer Prometheus at http://HOST:PORT/metrics in this context. Raises MetricsError.

    It must be entered on the event loop of the engine.
    """
    metrics.registry.register(_Gauges(metrics, asyncio.get_running_loop()))
    try:
        server = _Server(config)
    except OSError as error:
        raise MetricsError(
            f"metrics cannot be served at {config.host}:{config.port}: {error.strerror or error}. "
            "Stop the process that uses this port, perhaps an LSP that runs already, or choose another host or port in "
            "the section [metrics]."
        ) from None
    server.set_app(make_wsgi_app(metrics.registry))
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
