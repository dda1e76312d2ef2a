"""docs/comparison.md's tables and its picture, from what `harness.scenarios.comparison` has measured.

`python -m harness.scenarios.comparison_page FILE PAGE` draws the tables between two marked lines of the page, and the
picture in the same folder (the page's name, ending in .svg).
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from harness.scenarios.comparison import CASES, PLAIN
from harness.scenarios.designs import DESIGNS

BEGIN = "<!-- drawn by `make comparison` from docs/comparison.json: begin -->\n"
END = "<!-- comparison: end -->\n"
NAMES = tuple(design.name for design in DESIGNS)
LABEL_WIDTH, CELL_WIDTH, ROW_HEIGHT, TOP = 520, 250, 34, 40
PAID_COLOUR, RETURNED_COLOUR, UNKNOWN_COLOUR = "#2e9d5b", "#c8412f", "#b9a25a"

Row = dict[str, Any]
Measured = dict[str, dict[str, Row]]
"""By design, then by case."""


def tables(measured_at: str, designs: Measured) -> str:
    """Both tables, as Markdown."""
    runs = [designs[name][PLAIN] for name in NAMES]
    numbers = (
        ("A online, from its order until its phone may go offline (s)", "a_seconds"),
        ("B online, from its return until it has the money (s)", "b_seconds"),
        ("A online again, until it has the preimage (s)", "a_again_seconds"),
        ("onion messages from node to node", "messages"),
        ("blocks for which LSP_a holds the payment", "hold_blocks"),
    )
    lines = [
        f"Measured on {measured_at}.",
        "",
        *_header("without a fault, median of three"),
        *(f"| {title} | {' | '.join(_number(run[key]) for run in runs)} |" for title, key in numbers),
        "",
        *_header("fault"),
        *(f"| {case.what} | {' | '.join(_ended(designs[name].get(case.name)) for name in NAMES)} |" for case in CASES),
    ]
    return "\n".join(lines) + "\n"


def _header(title: str) -> Iterator[str]:
    yield f"| {title} | {' | '.join(NAMES)} |"
    yield "|---|" + "---|" * len(NAMES)


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:g}"


def _ended(row: Row | None) -> str:
    """In a few words how a payment ended."""
    if row is None:
        return "not run"
    if not row["paid"]:
        late = f" after {row['blocks']} blocks" if row["blocks"] else ""
        return _joined(f"returned to A{late}", row["note"])
    if row["b_seconds"] is None:
        return _joined("paid once A is back", row["note"])
    return _joined(f"paid, {row['b_seconds']:g} s after B is back", row["note"])


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def picture(designs: Measured) -> str:
    """The second table as an SVG: what each design survives."""
    width, height = LABEL_WIDTH + len(NAMES) * CELL_WIDTH, TOP + len(CASES) * ROW_HEIGHT
    root = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}", width=str(width))
    root.set("font-family", "sans-serif")
    root.set("font-size", "13")
    for column, name in enumerate(NAMES):
        _text(root, LABEL_WIDTH + column * CELL_WIDTH + 8, 26, name)
    for number, case in enumerate(CASES):
        y = TOP + number * ROW_HEIGHT
        _text(root, 8, y + 22, case.what)
        for column, name in enumerate(NAMES):
            _cell(root, LABEL_WIDTH + column * CELL_WIDTH, y, designs[name].get(case.name))
    return ET.tostring(root, encoding="unicode") + "\n"


def _cell(root: ET.Element, x: int, y: int, row: Row | None) -> None:
    group = ET.SubElement(root, "g")
    ET.SubElement(group, "title").text = _ended(row)
    colour = UNKNOWN_COLOUR if row is None else PAID_COLOUR if row["paid"] else RETURNED_COLOUR
    box = {"x": x + 2, "y": y + 2, "width": CELL_WIDTH - 4, "height": ROW_HEIGHT - 4, "rx": 6}
    ET.SubElement(group, "rect", {name: str(value) for name, value in box.items()} | {"fill": colour})
    _text(group, x + 12, y + 22, _ended(row).partition(";")[0], "white")


def _text(parent: ET.Element, x: int, y: int, text: str, colour: str = "#222") -> None:
    ET.SubElement(parent, "text", {"x": str(x), "y": str(y), "fill": colour}).text = text


def main(arguments: list[str]) -> int:
    """Draw what was measured (first argument) into a page (second); the exit code."""
    file, page = map(Path, arguments)
    measured = json.loads(file.read_text(encoding="utf-8"))
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        print(f"{page} has lost the lines between which the tables are:\n{BEGIN}{END}", file=sys.stderr)
        return 1
    drawn = tables(measured["measured_at"], measured["designs"])
    page.write_text(before + begin + drawn + end + after, encoding="utf-8")
    page.with_suffix(".svg").write_text(picture(measured["designs"]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
