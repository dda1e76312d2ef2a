"""A Docker engine and registries as far as harness/images/store.py uses them."""

from dataclasses import dataclass, field

from docker.errors import ImageNotFound

from harness.images.store import RegistryError


@dataclass
class FakeEngine:
    """An engine that has the images in `present`."""

    present: set[str] = field(default_factory=set)

    @property
    def images(self):
        return self

    def get(self, reference):
        if reference not in self.present:
            raise ImageNotFound(reference)


@dataclass
class FakeRegistries:
    """Registries that have the images in `published`; `asked` is what was wanted of them."""

    engine: FakeEngine
    published: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def pull(self, reference, _report):
        self.asked.append(reference)
        if reference not in self.published:
            raise RegistryError(f"{reference} cannot be pulled: no such host")
        self.engine.present.add(reference)
