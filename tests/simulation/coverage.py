"""Which states met which events: for each engine a table of stage and event, with how often it was entered."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from asyncpay.engine.lsp.events import LspEvent
from asyncpay.engine.lsp.stages import Stage as LspStage
from asyncpay.engine.payee.events import PayeeEvent
from asyncpay.engine.payee.stages import Stage as PayeeStage
from asyncpay.engine.payer.events import PayerEvent
from asyncpay.engine.payer.stages import Stage as PayerStage

from .lsp import ENGINE, NOTHING
from .process import Cell
from .wallet import PAYEE, PAYER

if TYPE_CHECKING:
    from .world import World

TABLES: dict[str, tuple[Any, Any]] = {
    ENGINE: (LspStage, LspEvent),
    PAYER: (PayerStage, PayerEvent),
    PAYEE: (PayeeStage, PayeeEvent),
}


def all_cells(engine: str) -> list[Cell]:
    """Every cell of an engine's table, whether it can be entered or not."""
    stages, events = TABLES[engine]
    names = [NOTHING, *(stage.value for stage in stages)]
    return [(engine, stage, event.__name__) for stage in names for event in get_args(events)]


@dataclass
class Coverage:
    """How often each cell was entered."""

    cells: Counter[Cell] = field(default_factory=Counter)

    def watch(self, world: "World") -> None:
        """Note what every engine of this world is given."""
        for process in world.processes.values():
            process.on_event = self.cells.update

    def add(self, other: "Coverage") -> None:
        """Together."""
        self.cells.update(other.cells)

    def entered(self, engine: str) -> int:
        """How many cells of an engine's table were entered."""
        return sum(cell in self.cells for cell in all_cells(engine))
