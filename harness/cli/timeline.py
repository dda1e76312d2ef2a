"""`testbed timeline`: the events of all nodes and components, merged."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.common import AsJson, Which, err, errors_as_sentences, out
from harness.errors import TestbedError

if TYPE_CHECKING:
    from harness.timeline.model import Kind, Timeline

Nodes = Annotated[list[str] | None, typer.Option("--node", metavar="NAME", help="only this node's events; repeatable")]
Kinds = Annotated[
    list[str] | None,
    typer.Option("--kind", metavar="KIND", help="only events of this kind: htlc, decision, push, ...; repeatable"),
]


def timeline(
    payment: Annotated[
        str | None,
        typer.Argument(metavar="[PAYMENT]", help="a payment hash or its first digits; default: the last payment"),
    ] = None,
    which: Which = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="a timeline's JSON, or a folder of artifacts, instead of a running testbed"),
    ] = None,
    whole: Annotated[bool, typer.Option("--all", help="the whole run, not only one payment")] = False,
    nodes: Nodes = None,
    kinds: Kinds = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="OTHER", help="compare with the last payment of another run: its JSON, or a folder of artifacts"
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write it as a self-contained page for a browser"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a payment's timeline over all nodes and components: HTLCs, messages, decisions, pushes, blocks, faults."""
    with errors_as_sentences():
        story = _story(source, which)
        if compare or (not whole and (payment or (story.payments and not html))):
            from harness.timeline import select

            story = select.of_payment(story, select.payment_of(story, payment))
        story = _narrowed(story, nodes, kinds)
        if compare:
            _compare(story, _narrowed(_last_payment(read(compare)), nodes, kinds), as_json)
            return
        if html:
            _write(story, html)
        if as_json:
            print(json.dumps(story.as_json(), indent=1))
        elif html:
            out.print(f"the timeline of testbed {story.testbed}: {html}", soft_wrap=True)
        else:
            from harness.timeline import text

            out.print(text.rendered(story), soft_wrap=True)


def _last_payment(story: "Timeline") -> "Timeline":
    from harness.timeline import select

    return select.of_payment(story, select.payment_of(story, None))


def _compare(one: "Timeline", other: "Timeline", as_json: bool) -> None:
    from harness.timeline import compare

    found = compare.compare(one, other)
    if as_json:
        print(json.dumps(found.as_json(), indent=1))
    else:
        out.print(compare.rendered(found))


def _write(story: "Timeline", file: Path) -> None:
    """Write the page. Raises TestbedError."""
    from harness.timeline.page import page

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page(story), encoding="utf-8")
    except OSError as error:
        raise TestbedError(f"{file} cannot be written: {error.strerror}. Name another file") from None


def _narrowed(story: "Timeline", nodes: list[str] | None, kinds: list[str] | None) -> "Timeline":
    from harness.timeline import select

    return select.narrowed(story, nodes or (), kinds_of(kinds)) if nodes or kinds else story


def kinds_of(names: list[str] | None) -> "set[Kind]":
    """Return the kinds with these names. Raises TestbedError."""
    from harness.timeline.model import Kind

    known = {kind.value: kind for kind in Kind}
    if unknown := set(names or ()) - known.keys():
        raise TestbedError(f"--kind: unknown: {', '.join(sorted(unknown))}. Choose from: {', '.join(known)}")
    return {known[name] for name in names or ()}


def _story(source: Path | None, which: str | None) -> "Timeline":
    """Raises TestbedError."""
    if source is None:
        from harness.testbed import Testbed
        from harness.timeline import recording, story

        return story.tell(recording.gather(Testbed.attach(which)))
    return read(source)


def read(source: Path) -> "Timeline":
    """Return the timeline in a JSON file, or of the recording in a folder. Raises TestbedError."""
    from pydantic import ValidationError

    from harness.timeline import recording, story
    from harness.timeline.model import read_story

    if source.is_dir():
        try:
            return story.tell(recording.read(source))
        except ValidationError:
            raise TestbedError(f"the recording in {source} cannot be used: it is damaged, or not a testbed's") from None
    try:
        return read_story(source.read_bytes(), str(source))
    except OSError as error:
        raise TestbedError(f"{source} cannot be read: {error.strerror}. Name a timeline's JSON, or a folder") from None


def follow(
    which: Which = None,
    nodes: Nodes = None,
    kinds: Kinds = None,
    payment: Annotated[
        str | None, typer.Option(metavar="HASH", help="only this payment's events: its hash, or its first digits")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="each event as JSON, as in `timeline --json`")] = False,
) -> None:
    """Print the events of a testbed as they happen, one line each, until Ctrl-C or the testbed's end."""
    from harness.testbed import Testbed
    from harness.timeline import following, select, text

    with errors_as_sentences():
        testbed, chosen = Testbed.attach(which), kinds_of(kinds)
        known = {*testbed.nodes, *testbed.services, "testbed"}
        if unknown := set(nodes or ()) - known:
            raise TestbedError(
                f"--node: unknown: {', '.join(sorted(unknown))}. Choose from: {', '.join(sorted(known))}"
            )
        try:
            for event in following.follow(testbed):
                named = any(each.startswith((payment or "").lower()) for each in event.payment_hashes)
                if not select.matches(event, nodes or (), chosen) or (payment and not named):
                    continue
                if as_json:
                    print(json.dumps(event.model_dump(mode="json", exclude_defaults=True)), flush=True)
                else:
                    out.print(text.event_line(event), soft_wrap=True)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
    err.print(f"testbed {testbed.name} is down")
