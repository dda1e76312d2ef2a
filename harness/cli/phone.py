"""`testbed phone A VERB`: what a phone goes through."""

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.common import AsJson, Which, errors_as_sentences, out, phones
from harness.errors import TestbedError

if TYPE_CHECKING:
    from harness.services.phone import Phone

VERBS = {
    "sleep": "Stop node and wallet in good order. A push wakes the phone.",
    "wake": "Start node and wallet.",
    "freeze": "Suspend node and wallet: the LSP believes in the connection, and nothing answers it.",
    "unfreeze": "Let a frozen phone continue.",
    "disconnect": "Cut the link: both ends see it, and no push gets through either.",
    "reconnect": "Restore a link that was cut.",
    "reset": "Break the connection, and reset every later one (TCP RST) as soon as something is sent through it.",
    "restore": "Undo everything: the phone is awake, all of its apps run, and its link is whole.",
}
"""The verbs that take no argument, with their help; each is a method of harness.services.phone.Phone."""

app = typer.Typer(no_args_is_help=True, subcommand_metavar="VERB ...", help="Put a phone to sleep, cut its link, ...")


@app.callback()
def name_it(
    context: typer.Context, phone: Annotated[str, typer.Argument(help="the phone's name: A, B", autocompletion=phones)]
) -> None:
    """Put a phone to sleep, suspend it, cut or spoil its link. Each verb ends when its effect is there."""
    context.obj = phone


def _verb(name: str) -> None:
    def command(context: typer.Context, which: Which = None) -> None:
        with errors_as_sentences():
            phone = _phone(context, which)
            getattr(phone, name)()
            _show(phone)

    app.command(name, help=VERBS[name])(command)


def _phone(context: typer.Context, which: str | None) -> "Phone":
    from harness.testbed import Testbed

    return Testbed.attach(which).phone(context.obj)


for _name in VERBS:
    _verb(_name)


@app.command()
def blackhole(
    context: typer.Context,
    direction: Annotated[
        Literal["upstream", "downstream"] | None,
        typer.Option(help="this direction alone: upstream is from the phone to its LSP, downstream back"),
    ] = None,
    which: Which = None,
) -> None:
    """Let nothing pass any more, while both ends keep their connection."""
    from harness.services.toxiproxy import Direction

    with errors_as_sentences():
        phone = _phone(context, which)
        phone.blackhole(*([Direction(direction)] if direction else []))
        _show(phone)


@app.command()
def latency(
    context: typer.Context, delay: Annotated[str, typer.Argument(help="300ms or 0.5s")], which: Which = None
) -> None:
    """Delay everything by so much each way: an answer takes twice as long."""
    with errors_as_sentences():
        milliseconds = _quantity(delay, {"ms": 1, "s": 1_000}, "a delay: write it like 300ms or 0.5s")
        phone = _phone(context, which)
        phone.latency(milliseconds)
        _show(phone)


@app.command()
def bandwidth(
    context: typer.Context, rate: Annotated[str, typer.Argument(help="each second: 1kB or 1MB")], which: Which = None
) -> None:
    """Let only so much pass each way."""
    with errors_as_sentences():
        kilobytes = _quantity(rate, {"kb": 1, "mb": 1_000}, "a rate: write it like 1kB or 1MB, for each second")
        phone = _phone(context, which)
        phone.bandwidth(kilobytes)
        _show(phone)


@app.command()
def register(context: typer.Context, which: Which = None) -> None:
    """Give the LSP a webhook of this phone anew: for an LSP that has none, such as one of yours with a new store."""
    from harness import bringup
    from harness.testbed import Testbed

    with errors_as_sentences():
        testbed = Testbed.attach(which)
        bringup.register(testbed, testbed.phone(context.obj))
    out.print(f"{context.obj} is registered")


@app.command("status")
def status_(context: typer.Context, which: Which = None, as_json: AsJson = False) -> None:
    """The phone's state, its link and its apps."""
    with errors_as_sentences():
        phone = _phone(context, which)
        if as_json:
            link = phone.link()
            said = {"enabled": link.enabled, "toxics": [dict(type=kind, **values) for kind, values in link.by_kind()]}
            print(json.dumps(phone.container.status() | {"link": said}, indent=2))
        else:
            _show(phone)


def _show(phone: "Phone") -> None:
    from harness.checks import status

    seen = status.look_at_phone(phone)
    apps = ", ".join(f"{app['name']} {_app(app)}" for app in phone.container.status()["apps"])
    out.print(f"{phone.name} is {seen.state}; link to {seen.lsp}: {seen.link}; {apps}", soft_wrap=True)


def _app(app: dict[str, object]) -> str:
    if app["pid"] is None:
        return "stays down" if app["stays_down"] else "does not run"
    return f"runs ({app['process_states']})"


def _quantity(text: str, units: dict[str, int], wanted: str) -> int:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)", text.strip().lower())
    value = Decimal(match[1]) * units.get(match[2], 0) if match else Decimal()
    if value != int(value) or value <= 0:
        raise TestbedError(f"{text!r} is not {wanted}")
    return int(value)
