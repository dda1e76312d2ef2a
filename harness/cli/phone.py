"""`testbed phone A VERB`: control of a phone and its link."""

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.common import AsJson, Which, errors_as_sentences, out, phones
from harness.services import phone_verbs

if TYPE_CHECKING:
    from harness.checks.status import PhoneStatus
    from harness.testbed import Testbed

app = typer.Typer(no_args_is_help=True, subcommand_metavar="VERB ...", help="Put a phone to sleep, cut its link, ...")


@app.callback()
def name_it(
    context: typer.Context, phone: Annotated[str, typer.Argument(help="the phone's name: A, B", autocompletion=phones)]
) -> None:
    """Put a phone to sleep, suspend it, cut or impair its link. Each verb returns when its effect is visible."""
    context.obj = phone


def _verb(name: str) -> None:
    def command(context: typer.Context, which: Which = None) -> None:
        with errors_as_sentences():
            from harness import verbs

            _show(verbs.do_to_phone(_testbed(which), context.obj, name))

    app.command(name, help=phone_verbs.WITHOUT_ARGUMENTS[name])(command)


def _testbed(which: str | None) -> "Testbed":
    from harness.testbed import Testbed

    return Testbed.attach(which)


for _name in phone_verbs.WITHOUT_ARGUMENTS:
    _verb(_name)


@app.command()
def blackhole(
    context: typer.Context,
    direction: Annotated[
        Literal["upstream", "downstream"] | None,
        typer.Option(help="only this direction: upstream is from the phone to its LSP, downstream back"),
    ] = None,
    which: Which = None,
) -> None:
    """Drop all data, while both ends stay connected."""
    from harness import verbs

    with errors_as_sentences():
        _show(verbs.blackhole(_testbed(which), context.obj, direction))


@app.command()
def latency(
    context: typer.Context, delay: Annotated[str, typer.Argument(help="300ms or 0.5s")], which: Which = None
) -> None:
    """Add latency in each direction: a round trip takes twice as long."""
    from harness import verbs

    with errors_as_sentences():
        milliseconds = phone_verbs.milliseconds(delay)
        _show(verbs.latency(_testbed(which), context.obj, milliseconds))


@app.command()
def bandwidth(
    context: typer.Context, rate: Annotated[str, typer.Argument(help="per second: 1kB or 1MB")], which: Which = None
) -> None:
    """Limit the throughput in each direction."""
    from harness import verbs

    with errors_as_sentences():
        kilobytes = phone_verbs.kilobytes(rate)
        _show(verbs.bandwidth(_testbed(which), context.obj, kilobytes))


@app.command()
def register(context: typer.Context, which: Which = None) -> None:
    """Register a new webhook with the LSP: for an LSP without one, such as your own LSP with a new store."""
    from harness import verbs

    with errors_as_sentences():
        verbs.register(_testbed(which), context.obj)
    out.print(f"{context.obj} is registered")


@app.command("status")
def status_(context: typer.Context, which: Which = None, as_json: AsJson = False) -> None:
    """Show the phone's state, its link and its apps."""
    from harness.checks import status

    with errors_as_sentences():
        phone = _testbed(which).phone(context.obj)
        if as_json:
            link = phone.link()
            said = {"enabled": link.enabled, "toxics": [dict(type=kind, **values) for kind, values in link.by_kind()]}
            print(json.dumps(phone.container.status() | {"link": said}, indent=2))
        else:
            _show(status.look_at_phone(phone))


def _show(seen: "PhoneStatus") -> None:
    apps = ", ".join(f"{app['name']} {_app(app)}" for app in seen.apps)
    out.print(f"{seen.name} is {seen.state}; link to {seen.lsp}: {seen.link}; {apps}", soft_wrap=True)


def _app(app: dict[str, object]) -> str:
    if app["pid"] is None:
        return "stays down" if app["stays_down"] else "does not run"
    return "is suspended" if "T" in str(app["process_states"]) else "runs"
