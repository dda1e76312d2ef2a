"""Turn a recording into a story: the events of all sources in order, the states of HTLCs, payments with their steps."""

from asyncpay.amounts import show_sat
from harness.nodes import node_class
from harness.services.push_gateway import NAME as PUSH
from harness.timeline import chain, components, node_logs, testbed_actions
from harness.timeline.htlcs import ADD, ENDS, Htlcs, Life
from harness.timeline.model import MOST_EVENTS, Event, Kind, Lane, Timeline
from harness.timeline.node_logs import Passed
from harness.timeline.on_chain import OnChain
from harness.timeline.payments import Payments
from harness.timeline.presence import with_absences
from harness.timeline.recording import Context, Recording
from harness.topology import COMPONENT_SUFFIX, IMPLEMENTATIONS

LSPS0 = "custom_37913"
_MESSAGE_KINDS = {"onion_message": Kind.ONION, ADD: Kind.HTLC, **dict.fromkeys(ENDS, Kind.HTLC)}


def tell(recording: Recording) -> Timeline:
    """Return the story of a recording."""
    context, problems = recording.context, list(recording.problems)
    names = {node_id: name for name, node_id in context.node_ids.items()}
    lanes = _lanes(context)
    known = {
        name: node.implementation for name, node in context.nodes.items() if node.implementation in IMPLEMENTATIONS
    }
    nodes = {name: node_class(implementation) for name, implementation in known.items()}
    problems += [f"the log of {name} is of an unknown implementation" for name in context.nodes.keys() - known.keys()]
    passed, found = node_logs.read(recording.logs, nodes, names)
    blocks = OnChain(context.transactions, chain.tips(recording.logs.get(chain.LANE, b"")))
    htlcs = Htlcs(blocks.channels() | context.channels, context.htlcs, names)
    for each in passed:
        htlcs.take(each)
    for service, log in recording.logs.items():
        lane = service.removesuffix(COMPONENT_SUFFIX)
        if lane in context.nodes or service == PUSH:
            found += components.events(service, lane, log, names, problems)
    found += chain.events(recording.logs.get(chain.LANE, b""))
    phones = {name for name, node in context.nodes.items() if node.is_phone}
    found += testbed_actions.events(recording.actions, {lane.name for lane in lanes}, phones, problems)
    ended = list(blocks.events(htlcs.payment_hashes()))
    htlcs.end_on_chain(ended)
    found += ended
    found.sort(key=lambda event: event.time)  # the component's events about an HTLC must be handled in order
    events = [*(with_hash(event, htlcs) for event in found), *(message_event(each, htlcs) for each in passed)]
    events.sort(key=lambda event: event.time)
    if len(events) > MOST_EVENTS:
        problems.append(f"the first {len(events) - MOST_EVENTS} events are omitted: there are over {MOST_EVENTS}")
        events = events[-MOST_EVENTS:]
    payments = Payments()
    events = [payments.take(event) for event in events]
    return Timeline(
        testbed=context.testbed,
        topology=context.topology,
        lanes=tuple(with_absences(lanes, events, phones)),
        payments=tuple(payments.all()),
        htlcs=tuple(htlcs.all()),
        events=tuple(events),
        problems=tuple(problems),
    )


def _lanes(context: Context) -> list[Lane]:
    """Return the lanes in the topology's order, which for a line is that of the payment; services come last."""
    nodes = [Lane(name=name, kind=node.role, runs=node.implementation) for name, node in context.nodes.items()]
    push = [PUSH] if any(node.is_phone for node in context.nodes.values()) else []
    services = [chain.LANE, *push, testbed_actions.SOURCE]
    return nodes + [Lane(name=name, kind="service") for name in services]


def with_hash(event: Event, htlcs: Htlcs) -> Event:
    """Return a component's event about an HTLC with the HTLC's payment hash, and its channel's usual name."""
    life = htlcs.heard(event)
    if life is None:
        return event
    known = (life.payment_hash,) if life.payment_hash else ()
    return event.model_copy(update={"payment_hashes": event.payment_hashes or known, "channel": life.channel})


def message_event(passed: Passed, htlcs: Htlcs) -> Event:
    """Return a message as an event, with the known data of its HTLC."""
    message = passed.message
    life = htlcs.of(passed)
    payment_hash = life.payment_hash if life else message.payment_hash
    added = life if message.name == ADD else None
    return Event(
        time=passed.time,
        arrived=passed.arrived,
        lane=passed.sender,
        to=passed.receiver,
        kind=_MESSAGE_KINDS.get(message.name, Kind.CUSTOM if message.name.startswith("custom_") else Kind.PEER),
        what=message.name,
        source=passed.sender if passed.sent is not None else passed.receiver,
        payment_hashes=(payment_hash,) if payment_hash else (),
        channel=life.channel if life else "",
        htlc_id=message.htlc_id,
        text=_text(passed, f"{(life.channel if life else '') or '?'}/{message.htlc_id}", added),
        amount_msat=added.amount_msat if added else None,
        expiry_blocks=added.expiry_blocks if added else None,
        clock_offset_seconds=passed.offset_seconds,
    )


def _text(passed: Passed, name: str, added: Life | None) -> str:
    if passed.message.htlc_id is None:
        return "LSPS0" if passed.message.name == LSPS0 else ""
    if added is None:
        return f"HTLC {name}"
    amount = "of unknown amount" if added.amount_msat is None else f"of {show_sat(added.amount_msat)}"
    expiry = "" if added.expiry_blocks is None else f", expires at block {added.expiry_blocks}"
    return f"HTLC {name} {amount}{expiry}"
