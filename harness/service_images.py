"""The image of each service of a testbed; and all images, for `make images`."""

import functools
import sys
from collections import defaultdict
from collections.abc import Mapping

from harness.errors import ImageUnavailableError, TestbedError
from harness.images import store
from harness.images.kinds import kinds
from harness.images.recipes import VERSIONS
from harness.nodes import node_class
from harness.progress import Report
from harness.services import lsp, push_gateway, toxiproxy
from harness.topology import ASYNCPAY, IMPLEMENTATIONS, NodeSpec, Topology


def ensure(topology: Topology, report: Report) -> dict[str, str]:
    """Return the image for each service of the compose file; all are on the engine afterwards.

    Raises ImageUnavailableError.
    """
    made = store.ensure(_kinds(topology), report)
    if topology.chain.image:
        made["bitcoind"] = store.ensure_reference(topology.chain.image, report)

    def of_node(spec: NodeSpec) -> str:
        if spec.is_phone and spec.component and spec.component.image != ASYNCPAY:
            return store.ensure_reference(spec.component.image, report)
        if spec.image:
            node = store.ensure_reference(spec.image, report)
        elif spec.version:
            node = store.ensure_reference(_of_version(spec.implementation, spec.version), report)
        else:
            node = made[spec.implementation]
        implementation = node_class(spec.implementation)
        if spec.is_phone:
            return store.ensure_made(implementation.phone_recipe(node, made["asyncpay"]), report)
        recipe = implementation.recipe_with_component(node) if spec.component else None
        return store.ensure_made(recipe, report) if recipe else node

    def of_component(image: str) -> str:
        return made["asyncpay"] if image == ASYNCPAY else store.ensure_reference(image, report)

    return {
        "bitcoind": made["bitcoind"],
        **({toxiproxy.NAME: made["toxiproxy"], push_gateway.NAME: made["asyncpay"]} if topology.phones else {}),
        **{name: of_node(spec) for name, spec in topology.nodes.items()},
        **{lsp.service_name(node): of_component(spec.image) for node, spec in topology.components.items()},
    }


def beginnings(topology: Topology, report: Report) -> dict[str, dict[str, str]]:
    """Return the images with the initial contents of nodes' volumes: for each image the folder for each node.

    The volume of a node whose image is not the pinned one is empty at first, and so are all volumes if the image is not
    available: it only saves time.
    """
    nodes = defaultdict[str, list[str]](list)
    for name, spec in topology.nodes.items():
        kind = node_class(spec.implementation).initial_data_image
        own_image = (
            spec.image or spec.version or (spec.is_phone and spec.component and spec.component.image != ASYNCPAY)
        )
        if kind and not own_image:
            nodes[kind].append(name)
    found = {}
    for kind, names in nodes.items():
        try:
            found[store.ensure([kind], report)[kind]] = {name: str(number) for number, name in enumerate(names)}
        except TestbedError as error:
            report(f"{kind}: {error}; the nodes start without it, which takes longer")
    return found


def identities(references: Mapping[str, str]) -> dict[str, str]:
    """Return the content digest of each of these images, by its reference. All must be on the engine."""
    return {reference: store.identity(reference) for reference in sorted(set(references.values()))}


def _kinds(topology: Topology) -> list[str]:
    """Return the kinds of image that the services need, except images that the topology names itself."""
    needed = {spec.implementation for spec in topology.nodes.values() if not (spec.image or spec.version)}
    if not topology.chain.image:
        needed.add("bitcoind")
    if topology.phones:
        needed |= {"asyncpay", "toxiproxy"}
    if any(component.image == ASYNCPAY for component in topology.components.values()):
        needed.add("asyncpay")
    return sorted(needed)


def _of_version(implementation: str, version: str) -> str:
    """The official image of another version than the pinned one."""
    repository, _, _ = VERSIONS[f"{implementation.upper()}_OFFICIAL"].partition(":")
    return f"{repository}:{version}"


def main() -> int:
    """`make images`: provide every available image. A kind that is not available is reported, and is not an error."""
    report = functools.partial(print, flush=True)
    made: dict[str, str] = {}
    try:
        for kind in kinds():
            try:
                made |= store.ensure([kind], report)
                report(f"{kind}: {made[kind]}")
            except ImageUnavailableError as error:
                report(f"{kind}: UNAVAILABLE: {error}")
        _make_joined(made, report)
    except TestbedError as error:
        print(f"make images: {error}", file=sys.stderr)
        return 1
    return 0


def _make_joined(made: Mapping[str, str], report: Report) -> None:
    """Build the images that combine a node with asyncpay: phones, and nodes that run our plugin."""
    for name in IMPLEMENTATIONS:
        if name in made and "asyncpay" in made:
            node, implementation = made[name], node_class(name)
            recipes = implementation.phone_recipe(node, made["asyncpay"]), implementation.recipe_with_component(node)
            for recipe in dict.fromkeys(filter(None, recipes)):
                report(f"{name} with asyncpay: {store.ensure_made(recipe, report)}")


if __name__ == "__main__":
    sys.exit(main())
