"""Topology files: read them, change them by settings, and check them. Every error names file, line and field."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness import paths
from harness.topology.model import (
    COMPONENT_SUFFIX,
    FUNDS_SAT,
    OPENER_RESERVE_SAT,
    RESERVED_NAMES,
    WALLET_SUFFIX,
    ChainSpec,
    ChannelSpec,
    NodeSpec,
    Role,
    Topology,
    TopologyError,
)
from harness.topology.yaml_source import Location, YamlProblem, YamlSource

SHIPPED = paths.TOPOLOGIES
SIDECAR_PREFIX = "sidecar-"
"""Prefix of the names of temporary services that share another service's volumes (Engine.sidecar)."""


def load(topology: str | Path, settings: Mapping[str, str] | None = None) -> Topology:
    """Read a topology: a path, or the name of a shipped one (`line`, `line-mixed`, ...).

    `settings` changes it without a new file: `{"LSP_a": "cln"}` sets a node's implementation,
    `{"LSP_a.version": "v0.21.1-beta"}` sets any scalar field of a node.

    Raises TopologyError.
    """
    path = _find(topology)
    try:
        source = YamlSource(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise TopologyError(f"{path}: not a text file: {error}") from None
    except YamlProblem as problem:
        raise TopologyError(f"{path}:{problem.line}: {problem.message}") from None
    if not isinstance(source.data, dict):
        raise TopologyError(f"{path}:1: a topology has the sections chain, nodes and channels; this file has none")
    data = source.data | {"name": path.stem}
    _apply(settings or {}, data)
    try:
        result = Topology.model_validate(data)
        problems = list(_contradictions(result))
    except ValidationError as error:
        problems = [(tuple(e["loc"]), _sentence(e) + _known_fields(e)) for e in error.errors()]
    if problems:
        raise TopologyError("\n".join(_lines(path, source, problems)))
    return result


def shipped() -> list[Path]:
    """The topology files that come with the testbed, by name."""
    return sorted(SHIPPED.glob("*.yaml"))


def _find(topology: str | Path) -> Path:
    path = Path(topology)
    for candidate in (path, SHIPPED / f"{topology}.yaml"):
        if candidate.is_file():
            return candidate
    known = ", ".join(p.stem for p in shipped())
    raise TopologyError(f"{topology}: no such topology file, and none of the shipped ones ({known})")


_SETTABLE = NodeSpec.model_fields.keys() - {"args"}


def _apply(settings: Mapping[str, str], data: dict[str, Any]) -> None:
    for target, value in settings.items():
        name, _, field = target.partition(".")
        nodes = data.get("nodes")
        node = nodes.get(name) if isinstance(nodes, dict) else None
        if not isinstance(node, dict):
            known = ", ".join(nodes) if isinstance(nodes, dict) else "none"
            raise TopologyError(f"--set {target}={value}: there is no node {name} (nodes: {known})")
        field = field or "implementation"
        if field not in _SETTABLE:
            raise TopologyError(
                f"--set {target}={value}: {field} cannot be set this way; {', '.join(sorted(_SETTABLE))} can"
            )
        node[field] = value


def _contradictions(topology: Topology) -> Iterator[tuple[Location, str]]:
    """Yield the problems of a topology whose fields are all valid by themselves."""
    yield from _of_nodes(topology)
    yield from _of_phones(topology)
    yield from _of_channels(topology)


def _of_nodes(topology: Topology) -> Iterator[tuple[Location, str]]:
    folded = Counter(name.lower() for name in topology.nodes)
    for name, spec in topology.nodes.items():
        if reason := _reserved(name.lower()):
            yield ("nodes", name), f"{name} is {reason}; choose another name"
        if folded[name.lower()] > 1:
            yield (
                ("nodes", name),
                "another node's name differs only in case, which host names do not tell apart",
            )
        if spec.component and spec.role is Role.ROUTER:
            yield ("nodes", name, "component"), "a router cannot have one: it does not take part in the protocol"


def _reserved(name: str) -> str | None:
    """Return why a node cannot have this name, given in lower case."""
    if name in RESERVED_NAMES or name.startswith(SIDECAR_PREFIX) or name.endswith((COMPONENT_SUFFIX, WALLET_SUFFIX)):
        return "a name that the testbed uses itself"
    if name == "localhost" or name.startswith("ip6-"):
        return "a name by which a container reaches itself, not another one"
    return None


def _of_phones(topology: Topology) -> Iterator[tuple[Location, str]]:
    for name in topology.phones:
        peers = topology.peers_of(name) & topology.nodes.keys()
        if len(peers) != 1:
            seen = " and ".join(sorted(peers)) or "no node"
            yield ("nodes", name), f"a phone has channels to one node, its LSP; {name} has them to {seen}"
        elif topology.nodes[next(iter(peers))].is_phone:
            yield ("nodes", name), f"{name} and {next(iter(peers))} are both phones: neither can dial the other"


def _of_channels(topology: Topology) -> Iterator[tuple[Location, str]]:
    for index, channel in enumerate(topology.channels):
        here = ("channels", index)
        for field, end in (("from", channel.opener), ("to", channel.peer)):
            if end not in topology.nodes:
                known = ", ".join(topology.nodes)
                yield (*here, field), f"there is no node {end} (nodes: {known})"
        if channel.opener == channel.peer:
            yield (*here, "to"), f"{channel.peer} cannot have a channel to itself"
        if channel.push_sat > channel.capacity_sat - OPENER_RESERVE_SAT:
            yield (
                (*here, "push_sat"),
                f"no funds left for {channel.opener}: of {channel.capacity_sat} sat it must keep "
                f"{OPENER_RESERVE_SAT} sat for reserve and fees, so it can push at most "
                f"{channel.capacity_sat - OPENER_RESERVE_SAT} sat",
            )
    total_sat = sum(channel.capacity_sat for channel in topology.channels)
    if total_sat > FUNDS_SAT * 9 // 10:
        yield (
            ("channels",),
            f"no funds: the channels need {total_sat} sat, the testbed's first block pays {FUNDS_SAT}",
        )


def _sentence(error: Any) -> str:
    """Return pydantic's message, reworded if the author of a YAML file would not understand it."""
    match error["type"]:
        case "string_type":
            return f"YAML reads this as {error['input']!r}, which is not a string; put it in quotes"
        case "missing":
            return "is missing"
        case "extra_forbidden" | "unexpected_keyword_argument":
            return "is not a known field"
        case "string_pattern_mismatch":
            return f"{error['input']!r} is not a valid node name: use a letter, then up to 30 letters, digits, - or _"
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            return f"{error['msg']}, not {error['input']!r}"


def _known_fields(error: Any) -> str:
    """Return the fields that a node, a channel, the chain or the file has, if the error is an unknown one."""
    if error["type"] != "extra_forbidden":
        return ""
    match error["loc"]:
        case ("nodes", _, _):
            known: Iterable[str] = NodeSpec.model_fields
        case ("channels", _, _):
            known = (field.alias or name for name, field in ChannelSpec.model_fields.items())
        case ("chain", _):
            known = ChainSpec.model_fields
        case (_,):
            known = Topology.model_fields.keys() - {"name"}
        case _:
            return ""
    return f" (known: {', '.join(sorted(known))})"


def _lines(path: Path, source: YamlSource, problems: Iterable[tuple[Location, str]]) -> Iterator[str]:
    for location, message in problems:
        keys = tuple(key for key in location if key != "[key]")
        field = ".".join(str(key) for key in keys) or "topology"
        yield f"{path}:{source.line(keys)}: {field}: {message}"
