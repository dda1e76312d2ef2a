"""The matrix as SVG, HTML and JSON."""

import html
import json
from pathlib import Path
from xml.etree import ElementTree as ET

from harness.scenarios.matrix import ALL_STEPS, COMBINED, Cell, Result
from harness.topology import IMPLEMENTATIONS

COLOURS = {Result.PASSED: "#2e9d5b", Result.FAILED: "#c8412f", Result.UNAVAILABLE: "#b9a25a"}
CELL_WIDTH, CELL_HEIGHT, MARGIN_LEFT, MARGIN_TOP = 190, 74, 150, 70
_PAYER_SIDE, _PAYEE_SIDE = COMBINED[:2], COMBINED[2:]


def write_all(cells: list[Cell], folder: Path) -> list[Path]:
    """Write matrix.svg, matrix.html and matrix.json. Return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "matrix.svg": svg(cells),
        "matrix.html": page(cells),
        "matrix.json": json.dumps([cell.model_dump(mode="json") | {"name": cell.name} for cell in cells], indent=2)
        + "\n",
    }
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in contents]


def svg(cells: list[Cell]) -> str:
    """Rows: A and LSP_a; columns: LSP_b and B; in each cell its result, seconds and steps."""
    seen = {implementation for cell in cells for implementation in cell.implementations.values()}
    combined = [implementation for implementation in IMPLEMENTATIONS if implementation in seen]
    sides = [(one, other) for one in combined for other in combined]
    width, height = MARGIN_LEFT + len(sides) * CELL_WIDTH, MARGIN_TOP + len(sides) * CELL_HEIGHT
    root = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}", width=str(width))
    root.set("font-family", "sans-serif")
    root.set("font-size", "13")
    _text(root, 8, 24, "A / LSP_a", bold=True)
    _text(root, MARGIN_LEFT + 8, 24, "LSP_b / B", bold=True)
    for number, (one, other) in enumerate(sides):
        _text(root, 8, MARGIN_TOP + number * CELL_HEIGHT + 40, f"{one} / {other}")
        _text(root, MARGIN_LEFT + number * CELL_WIDTH + 8, 54, f"{one} / {other}")
    for cell in cells:
        column, row = sides.index(_of(cell, _PAYEE_SIDE)), sides.index(_of(cell, _PAYER_SIDE))
        _draw_cell(root, cell, MARGIN_LEFT + column * CELL_WIDTH, MARGIN_TOP + row * CELL_HEIGHT)
    return ET.tostring(root, encoding="unicode") + "\n"


def _of(cell: Cell, roles: tuple[str, ...]) -> tuple[str, str]:
    one, other = (cell.implementations[role] for role in roles)
    return one, other


def _draw_cell(root: ET.Element, cell: Cell, x: int, y: int) -> None:
    group = ET.SubElement(root, "g")
    ET.SubElement(group, "title").text = f"{cell.name}: {cell.failure or cell.how}"
    box = {"x": x + 2, "y": y + 2, "width": CELL_WIDTH - 4, "height": CELL_HEIGHT - 4, "rx": 6}
    ET.SubElement(group, "rect", {name: str(value) for name, value in box.items()} | {"fill": COLOURS[cell.result]})
    _text(group, x + 12, y + 22, cell.result.value, "white", bold=True)
    if cell.result is not Result.UNAVAILABLE:
        _text(group, x + 110, y + 22, f"{cell.seconds:g} s", "white")
    _text(group, x + 12, y + 42, _steps(cell), "white")
    _text(group, x + 12, y + 60, f"router {cell.implementations['router']}", "white")


def _steps(cell: Cell) -> str:
    if cell.result is Result.UNAVAILABLE:
        return "not run"
    if cell.steps == ALL_STEPS:
        return f"all {len(ALL_STEPS)} steps"
    return "steps " + (", ".join(map(str, cell.steps)) or "none")


def _text(parent: ET.Element, x: int, y: int, text: str, colour: str = "#222", bold: bool = False) -> None:
    weight = {"font-weight": "bold"} if bold else {}
    ET.SubElement(parent, "text", {"x": str(x), "y": str(y), "fill": colour} | weight).text = text


def page(cells: list[Cell]) -> str:
    """Return a page with the picture, and a table with how each cell released the payment or why it failed."""
    rows = "\n".join(
        f'<tr><td>{_linked(cell)}</td><td style="color:{COLOURS[cell.result]}">{cell.result.value}</td>'
        f"<td>{cell.seconds:g}</td><td>{_steps(cell)}</td><td>{html.escape(cell.failure or cell.how)}</td></tr>"
        for cell in cells
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Async Lightning payments: interop matrix</title>
<style>body {{ font-family: sans-serif; margin: 2em }} td, th {{ text-align: left; padding: .2em 1em .2em 0 }}</style>
<h1>Interop matrix</h1>
<p>A pays B, never online at the same time, for each combination of A, LSP_a, LSP_b and B. Names link to timelines.</p>
{svg(cells)}
<table><tr><th>A-LSP_a-LSP_b-B</th><th>result</th><th>seconds</th><th>reached</th><th>how, or why not</th></tr>
{rows}
</table></html>
"""


def _linked(cell: Cell) -> str:
    """Return the name, linked to the cell's timeline if it has one."""
    name = html.escape(cell.name)
    return f'<a href="{html.escape(cell.timeline)}">{name}</a>' if cell.timeline else name
