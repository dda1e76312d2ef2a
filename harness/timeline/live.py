"""Live events from log lines and blocks: the same events as in a story, one line after the other.

A message gives an event when the first of its two ends has logged it, and none when the other end does. Data that would
have to be queried from a node, such as the payment hash of a new HTLC, is missing here, and is in the story.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from harness.nodes import node_class
from harness.services.push_gateway import NAME as PUSH
from harness.timeline import chain, components, node_logs, testbed_actions
from harness.timeline.htlcs import Htlcs
from harness.timeline.lines import Clock, json_object, stamped
from harness.timeline.model import Event
from harness.timeline.node_logs import Pairing
from harness.timeline.on_chain import ChainTransaction, Closes
from harness.timeline.payments import Payments
from harness.timeline.recording import Context
from harness.timeline.story import message_event, with_hash
from harness.topology import COMPONENT_SUFFIX

FORGET_AFTER_EVENTS = 100_000
"""After this number of events the state that links related events is reset, which bounds the memory over days."""


class Live:
    """Turns lines into events. context: that of the testbed at the start."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._names: Mapping[str, str] = {node_id: name for name, node_id in context.node_ids.items()}
        self._nodes = {name: node_class(node.implementation) for name, node in context.nodes.items()}
        self._phones = {name for name, node in context.nodes.items() if node.is_phone}
        self._closes = Closes(context.channels)
        self._component_clocks, self._node_clocks = defaultdict[str, Clock](Clock), defaultdict[str, Clock](Clock)
        self._begin()

    def _begin(self) -> None:
        self._pairing = Pairing(self._names)
        self._htlcs = Htlcs(self._context.channels, self._context.htlcs, self._names)
        self._payments = Payments()
        self._left = FORGET_AFTER_EVENTS

    def line(self, service: str, line: bytes) -> Event | None:
        """Return the event of a line of a service's log; None if there is nothing new."""
        event = self._of_line(service, line)
        if event is None:
            return None
        self._left -= 1
        if self._left < 0:
            self._begin()
        event = with_hash(event, self._htlcs)
        for payment_hash in event.payment_hashes:
            self._closes.add_hash(payment_hash)
        return self._payments.take(event)

    def add_earlier(self, mined: Iterable[ChainTransaction]) -> None:
        """Add the transactions of earlier blocks: of the channels that may be closed, and of those that are."""
        for each in mined:
            self._closes.take(each, 0.0)

    def block(self, mined: Iterable[ChainTransaction], time: float) -> list[Event]:
        """Return the events of a block's transactions; time: when it arrived (Unix seconds)."""
        return [self._payments.take(event) for each in mined for event in self._closes.take(each, time)]

    def action(self, line: bytes) -> Event | None:
        """Return the event of a line of the testbed's own log."""
        return testbed_actions.of_line(line, self._nodes, self._phones)

    def _of_line(self, service: str, text: bytes) -> Event | None:
        line = stamped(text)
        if line is None:
            return None
        if service == chain.LANE:
            return chain.of_line(line)
        lane = service.removesuffix(COMPONENT_SUFFIX)
        if line.text.startswith("{"):
            said = json_object(line.text)
            known = lane in self._nodes or service == PUSH
            clock = self._component_clocks[service]
            return components.of_line(service, lane, line, said, self._names, clock) if said and known else None
        if service not in self._nodes:
            return None
        found = node_logs.of_line(service, self._nodes[service], line, self._names, self._node_clocks[service])
        if found is None or isinstance(found, Event):
            return found
        passed = self._pairing.take(found)
        if passed is None:
            return None
        self._htlcs.take(passed)
        return message_event(passed, self._htlcs)
