"""A Docker engine and registries as far as harness/images/store.py uses them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from docker.errors import ImageNotFound

from harness.images.store import RegistryError
from harness.progress import Report


@dataclass
class FakeEngine:
    """An engine that has the images in `present`, and says `about` itself."""

    present: set[str] = field(default_factory=set)
    about: Mapping[str, Any] = field(default_factory=dict)

    def info(self) -> Mapping[str, Any]:
        return self.about

    @property
    def images(self) -> Self:
        return self

    def get(self, reference: str) -> None:
        if reference not in self.present:
            raise ImageNotFound(reference)


@dataclass
class FakeRegistries:
    """Registries that have the images in `published`; `asked` is what was wanted of them."""

    engine: FakeEngine
    published: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def pull(self, reference: str, _report: Report) -> None:
        self.asked.append(reference)
        if reference not in self.published:
            raise RegistryError(f"{reference} cannot be pulled: no such host")
        self.engine.present.add(reference)
