"""`testbed`: real Lightning nodes on regtest, in containers, from a topology file."""

import json
import signal
from typing import Annotated

import typer

from harness.cli import channels, lifecycle, matrix, nodes, phone, push, snapshots, timeline, ui, wait
from harness.cli.common import AsJson, errors_as_sentences, out

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=__doc__,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"testbed {version('asyncpay-testbed')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """The options of `testbed` itself."""


def images() -> None:
    """Pull or build the container images, as far as possible on this machine."""
    from harness import service_images

    raise typer.Exit(service_images.main())


def doctor(as_json: AsJson = False) -> None:
    """Check what this machine has and lacks. Exit code 1 if something is missing that every testbed needs."""
    from harness import doctor as checked

    with errors_as_sentences():
        checks = checked.checks()
    if as_json:
        print(json.dumps([vars(check) for check in checks], indent=2))
    else:
        from harness.cli.tables import doctor_table

        out.print(doctor_table(checks))
    raise typer.Exit(int(any(check.state is checked.State.MISSING for check in checks)))


app.command("up")(lifecycle.up)
app.command("status")(nodes.status)
app.command("pay")(nodes.pay)
app.command("exec", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(nodes.exec_)
app.command("env")(nodes.env)
app.command("logs")(nodes.logs)
app.command("mine")(nodes.mine)
app.command("fund")(channels.fund)
app.command("open-channel")(channels.open_channel)
app.command("close-channel")(channels.close_channel)
app.add_typer(wait.app, name="wait")
app.command("timeline")(timeline.timeline)
app.command("follow")(timeline.follow)
app.command("ui")(ui.ui)
app.add_typer(phone.app, name="phone")
app.command("pushes")(push.pushes)
app.command("push-gateway")(push.push_gateway)
app.command("stop")(lifecycle.stop)
app.command("start")(lifecycle.start)
app.command("restart")(lifecycle.restart)
app.command("kill")(lifecycle.kill)
app.command("down")(lifecycle.down)
app.command("reset")(snapshots.reset)
app.add_typer(snapshots.app, name="snapshot")
app.command("demo")(lifecycle.demo)
app.command("matrix")(matrix.run)
app.command("list")(lifecycle.list_)
app.command("images")(images)
app.command("doctor")(doctor)


def main() -> None:
    """The `testbed` command."""
    # On SIGTERM `up` cleans up as on Ctrl-C; also in the background, where shells make programs ignore SIGINT.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with errors_as_sentences():
        app()
