"""`testbed matrix`."""

import fnmatch
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asyncpay.terminal import SafeConsole, styled
from harness.cli.common import errors_as_sentences, out
from harness.errors import TestbedError

if TYPE_CHECKING:
    from rich.table import Table

    from harness.scenarios.matrix import Cell

DEFAULT = "lnd,cln"
STYLES = {"passed": "green", "failed": "red", "UNAVAILABLE": "yellow"}
"""The style of each value of harness.scenarios.matrix.Result."""


def run(
    only: Annotated[
        str, typer.Option(metavar="A-LSP_a-LSP_b-B", help="only these combinations: `lnd-cln-*-*`, quoted")
    ] = "*",
    implementations: Annotated[str, typer.Option(help="the implementations to combine")] = DEFAULT,
    folder: Annotated[Path, typer.Option(help="folder for results and pictures")] = Path("artifacts/matrix"),
    allow_unavailable: Annotated[
        bool, typer.Option("--allow-unavailable", help="exit code 0 even if some cells cannot be run here")
    ] = False,
) -> None:
    """Run the async payment for each combination of implementations: matrix.html, .svg, .json, and .xml (JUnit).

    Exit code 0 if all passed, 1 if one failed, 3 if one is UNAVAILABLE on this machine.
    """
    from harness.scenarios import matrix, matrix_report
    from harness.topology import IMPLEMENTATIONS

    with errors_as_sentences():
        combined = tuple(implementations.split(","))
        if unknown := set(combined) - set(IMPLEMENTATIONS):
            raise TestbedError(
                f"--implementations: unknown: {', '.join(sorted(unknown))}. Choose from: {', '.join(IMPLEMENTATIONS)}"
            )
        chosen = [each for each in matrix.combinations(combined) if fnmatch.fnmatch(matrix.name_of(each), only)]
        if not chosen:
            raise TestbedError(f"no combination matches {only!r}. Use names like lnd-cln-lnd-cln")
        cells = _run(chosen, folder)
        files = [*matrix_report.write_all(cells, folder), folder / "matrix.xml"]
    out.print(_table(cells))
    out.print("pictures and records: " + ", ".join(map(str, files)), soft_wrap=True)
    raise typer.Exit(matrix.exit_code(cells, allow_unavailable))


def _run(chosen: list[dict[str, str]], folder: Path) -> "list[Cell]":
    """Run the combinations; write the results after each, so that none is lost if the command is interrupted."""
    from harness.progress import bar
    from harness.scenarios import matrix, matrix_report
    from harness.scenarios.matrix import Result

    console = SafeConsole(file=sys.stderr)  # pytest captures sys.stderr meanwhile
    cells: list[Cell] = []
    with bar(console, len(chosen)) as advance:

        def ended(cell: "Cell") -> None:
            cells.append(cell)
            advance(len(cells), "")
            said = f" in {cell.seconds:g} s" if cell.result is Result.PASSED else f": {cell.failure}"
            console.print(styled(f"{cell.name} ", (cell.result.value, STYLES[cell.result.value]), said), soft_wrap=True)
            matrix_report.write_all(cells, folder)

        return matrix.run(chosen, folder, lambda name: advance(len(cells), name), ended)


def _table(cells: "list[Cell]") -> "Table":
    from rich.table import Table

    from harness.scenarios.matrix import ALL_STEPS

    table = Table("A-LSP_a-LSP_b-B", "router", "result", "seconds", "steps", "how, or why not")
    for cell in cells:
        result = styled((cell.result.value, STYLES[cell.result.value]))
        steps = "all" if cell.steps == ALL_STEPS else ",".join(map(str, cell.steps)) or "none"
        table.add_row(
            cell.name,
            cell.implementations["router"],
            result,
            f"{cell.seconds:g}",
            steps,
            cell.failure or cell.how,
        )
    return table
