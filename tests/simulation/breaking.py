"""Importing a module with one defect put into its source: see mutants.py."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any


@dataclass(frozen=True)
class Mutant:
    """A deliberate defect. `old`, which stands once in `module`'s source, is replaced by `new`; also: more pairs."""

    name: str
    module: str
    old: str
    new: str
    also: tuple[tuple[str, str], ...] = ()

    def source(self) -> str:
        """The module with the defect. LookupError if `old` does not stand there exactly once."""
        spec = PathFinder.find_spec(self.module, _path_of(self.module))
        assert spec is not None
        assert spec.origin is not None
        return self.broken(Path(spec.origin).read_text())

    def broken(self, source: str) -> str:
        """The defect put into this source."""
        for old, new in ((self.old, self.new), *self.also):
            if source.count(old) != 1:
                raise LookupError(
                    f"mutant '{self.name}': {old!r} stands {source.count(old)} times in {self.module}. "
                    "The engine has changed: say in mutants.py how to break it now"
                )
            source = source.replace(old, new)
        return source


def break_engine(mutant: Mutant) -> None:
    """From now on, in this process, the module is imported with the defect. It must not be imported yet."""
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
