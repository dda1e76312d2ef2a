"""Mutation tests: import a module with one defect put into its source, and run schedules until one catches it.

This module imports no engine: a mutant must be installed before its module is imported.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from rich.console import Console
from rich.table import Table

MOST_CROWDS = 200
"""The number of crowds within which a mutant with `crowd_payments` must be caught."""


@dataclass(frozen=True)
class Mutant:
    """A deliberate defect. `old`, which occurs once in `module`'s source, is replaced by `new`; also: more pairs.

    crowd_payments: the payments of the crowds that it runs in (crowd.py), because one payment does not show it; or 0.
    """

    name: str
    module: str
    old: str
    new: str
    also: tuple[tuple[str, str], ...] = ()
    crowd_payments: int = 0

    def source(self) -> str:
        """Return the module's source with the defect. Raises LookupError if `old` does not occur exactly once."""
        spec = PathFinder.find_spec(self.module, _path_of(self.module))
        assert spec is not None
        assert spec.origin is not None
        return self.broken(Path(spec.origin).read_text())

    def broken(self, source: str) -> str:
        """Return this source with the defect."""
        for old, new in ((self.old, self.new), *self.also):
            if source.count(old) != 1:
                raise LookupError(
                    f"mutant '{self.name}': {old!r} stands {source.count(old)} times in {self.module}. "
                    "The engine has changed: say in mutants.py how to break it now"
                )
            source = source.replace(old, new)
        return source


def break_engine(mutant: Mutant) -> None:
    """Make later imports of the module in this process include the defect. It must not be imported yet."""
    assert mutant.module not in sys.modules, f"{mutant.module} was imported before it could be broken"
    sys.meta_path.insert(0, _Finder(mutant))


class _Loader(SourceFileLoader):
    mutant: Mutant

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        source = self.mutant.broken(Path(path).read_text())
        return compile(source, path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._mutant.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        loader = _Loader(fullname, spec.origin)
        loader.mutant = self._mutant
        spec.loader = loader
        return spec


def _path_of(module: str) -> Any:
    parent, _, _ = module.rpartition(".")
    return sys.modules[parent].__path__ if parent in sys.modules else __import__(parent, fromlist=["_"]).__path__


@dataclass(frozen=True)
class MutantResult:
    """The result of one mutant. invariant: the one it broke. number: of the schedule that caught it."""

    name: str
    module: str
    caught: bool
    schedules: int
    seconds: float
    invariant: str = ""
    text: str = ""
    number: int | None = None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def run_mutants(console: Console, mutants: Sequence[Mutant], most: int, seed: int) -> list[MutantResult]:
    """Run all mutants, on all cores, and show which invariant caught each."""
    results = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(lambda mutant: run_apart(mutant, most, seed), mutants):
            results.append(result)
            console.print(f"  {result.name}: {_verdict(result)}")
    console.print(_table(results))
    return results


def run_apart(mutant: Mutant, most: int, seed: int) -> MutantResult:
    command = [sys.executable, "-m", "tests.simulation.mutants", mutant.name, str(most), str(seed)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"running '{mutant.name}' ended with an error:\n{done.stderr}")
    return MutantResult(**json.loads(done.stdout.splitlines()[-1]))


def run_here(mutant: Mutant, most: int, seed: int) -> None:
    """Break the engine in this process, and print the result as a line of JSON."""
    break_engine(mutant)
    from .crowd_execution import run_crowds  # imports the engines, one of them broken
    from .runner import numbers_of, run_range

    began = time.monotonic()
    if mutant.crowd_payments:
        total = run_crowds(numbers_of(seed, min(most, MOST_CROWDS)), mutant.crowd_payments, stop_at_first=True)
    else:
        total = run_range(numbers_of(seed, most), stop_at_first=True)
    failures = [(failure.invariant, failure.text, failure.number) for failure in total.failures]
    invariant, text, number = failures[0] if failures else ("", "", None)
    result = MutantResult(
        name=mutant.name,
        module=mutant.module,
        caught=bool(failures),
        schedules=total.schedules,
        seconds=time.monotonic() - began,
        invariant=invariant,
        text=text,
        number=number,
    )
    print(json.dumps(result.plain()))


def _verdict(result: MutantResult) -> str:
    if not result.caught:
        return f"[red]not caught within {result.schedules} schedules[/red]"
    return f"caught by schedule {result.schedules}, after {result.seconds:.1f} s"


def _table(results: list[MutantResult]) -> Table:
    table = Table(
        title=f"{sum(each.caught for each in results)} of {len(results)} mutants caught", title_justify="left"
    )
    for name in ("mutant", "in", "schedules", "seconds", "invariant that it broke"):
        table.add_column(name, justify="right" if name in ("schedules", "seconds") else "left")
    for each in results:
        where = each.module.removeprefix("asyncpay.engine.")
        invariant = each.invariant.replace("_", " ") if each.caught else "[red]none[/red]"
        table.add_row(each.name, where, str(each.schedules), f"{each.seconds:.1f}", invariant)
    return table
