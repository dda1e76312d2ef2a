"""`testbed phone A VERB`: what a phone goes through."""

import inspect
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated

import typer

from harness.checks import status
from harness.cli.common import AsJson, Which, errors_as_sentences, out
from harness.errors import TestbedError
from harness.services.phone import Phone
from harness.services.toxiproxy import Direction
from harness.testbed import Testbed

app = typer.Typer(no_args_is_help=True, subcommand_metavar="VERB ...", help="Put a phone to sleep, cut its link, ...")


@app.callback()
def name_it(context: typer.Context, phone: Annotated[str, typer.Argument(help="the phone's name: A, B")]) -> None:
    """Put a phone to sleep, suspend it, cut or spoil its link. Each verb ends when its effect is there."""
    context.obj = phone


def _verb(name: str, act: Callable[[Phone], None]) -> None:
    """A command without arguments, with the method's own words as its help."""

    def command(context: typer.Context, which: Which = None) -> None:
        with errors_as_sentences():
            phone = Testbed.attach(which).phone(context.obj)
            act(phone)
            _show(phone)

    app.command(name, help=inspect.getdoc(act))(command)


for _name, _act in {
    "sleep": Phone.sleep,
    "wake": Phone.wake,
    "freeze": Phone.freeze,
    "unfreeze": Phone.unfreeze,
    "disconnect": Phone.disconnect,
    "reconnect": Phone.reconnect,
    "reset": Phone.reset,
}.items():
    _verb(_name, _act)


@app.command()
def blackhole(
    context: typer.Context,
    direction: Annotated[
        Direction | None,
        typer.Option(help="this direction alone: upstream is from the phone to its LSP, downstream back"),
    ] = None,
    which: Which = None,
) -> None:
    """Let nothing pass any more, while both ends keep their connection."""
    with errors_as_sentences():
        phone = Testbed.attach(which).phone(context.obj)
        phone.blackhole(*([direction] if direction else []))
        _show(phone)


@app.command()
def latency(
    context: typer.Context, delay: Annotated[str, typer.Argument(help="300ms or 0.5s")], which: Which = None
) -> None:
    """Delay everything by so much each way: an answer takes twice as long."""
    with errors_as_sentences():
        milliseconds = _quantity(delay, {"ms": 1, "s": 1_000}, "a delay: write it like 300ms or 0.5s")
        phone = Testbed.attach(which).phone(context.obj)
        phone.latency(milliseconds)
        _show(phone)


@app.command()
def bandwidth(
    context: typer.Context, rate: Annotated[str, typer.Argument(help="each second: 1kB or 1MB")], which: Which = None
) -> None:
    """Let only so much pass each way."""
    with errors_as_sentences():
        kilobytes = _quantity(rate, {"kb": 1, "mb": 1_000}, "a rate: write it like 1kB or 1MB, for each second")
        phone = Testbed.attach(which).phone(context.obj)
        phone.bandwidth(kilobytes)
        _show(phone)


_verb("restore", Phone.restore)


@app.command("status")
def status_(context: typer.Context, which: Which = None, as_json: AsJson = False) -> None:
    """The phone's state, its link and its apps."""
    with errors_as_sentences():
        phone = Testbed.attach(which).phone(context.obj)
        if as_json:
            link = phone.link()
            said = {"enabled": link.enabled, "toxics": [dict(type=kind, **values) for kind, values in link.by_kind()]}
            print(json.dumps(phone.container.status() | {"link": said}, indent=2))
        else:
            _show(phone)


def _show(phone: Phone) -> None:
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
