"""`testbed pushes` and `testbed push-gateway`."""

import json
import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from asyncpay.terminal import styled
from harness.cli.common import AsJson, Which, errors_as_sentences, out, phones

if TYPE_CHECKING:
    from rich.table import Table

    from harness.inside.interface import Push


def pushes(
    phone: Annotated[str | None, typer.Argument(help="only this phone's", autocompletion=phones)] = None,
    which: Which = None,
    as_json: AsJson = False,
) -> None:
    """Show LSPs' notifications of phones: time, method, whether it was genuine, and the time of delivery."""
    from harness.testbed import Testbed

    with errors_as_sentences():
        testbed = Testbed.attach(which)
        seen = testbed.push.pushes(testbed.phone(phone).name if phone else None)
    if as_json:
        print(json.dumps([push.model_dump() for push in seen], indent=2))
    else:
        out.print(_table(seen))


def push_gateway(
    answer: Annotated[
        Literal["normally", "500", "hang", "redirect"],
        typer.Argument(help="normally, or like a broken gateway: for every LSP, with immediate effect"),
    ],
    which: Which = None,
) -> None:
    """Set how the push gateway answers LSPs from now on."""
    from harness import verbs
    from harness.testbed import Testbed

    with errors_as_sentences():
        verbs.push_gateway(Testbed.attach(which), answer)


def _table(seen: "list[Push]") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("time", "phone", "method"):
        table.add_column(heading, no_wrap=True)
    table.add_column("genuine", overflow="fold")
    table.add_column("delivered", min_width=12)
    for push in seen:
        method = "?" if push.method is None else push.method.rpartition(".")[2]
        if push.refused is None:
            genuine = styled("yes")
        elif push.checked:
            genuine = styled((f"no: {push.refused}", "red"))
        else:
            genuine = styled((f"not checked: {push.refused}", "yellow"))
        if push.refused is not None:
            had = styled("never")
        elif push.delivered is None:
            had = styled((f"not yet, tried {push.attempts} times", "yellow"))
        else:
            had = styled(_clock(push.delivered))
        table.add_row(_clock(push.time), push.phone, method, genuine, had)
    return table


def _clock(unix_seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(unix_seconds)) + f".{int(unix_seconds * 1_000) % 1_000:03}"
