"""Topologies: which nodes a testbed has and which channels connect them, read from a YAML file.

A topology file has three sections, of which only `nodes` is needed:

    chain:
      args: [-minrelaytxfee=0.00001]
    nodes:
      A: {role: payer}
      LSP_a: {role: lsp, component: asyncpay}
    channels:
      - {from: A, to: LSP_a, capacity_sat: 5_000_000, push_sat: 1_000_000, private: true}

Every complaint names the file, the line and the field; all complaints are reported at once.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from asyncpay.engine.lsp.policy import LspPolicy
from asyncpay.engine.payee.policy import PayeePolicy
from asyncpay.engine.payer.policy import PayerPolicy
from harness import files
from harness.errors import TestbedError
from harness.yaml_source import Location, YamlProblem, YamlSource

SHIPPED = files.TOPOLOGIES

FUNDS_SAT = 50 * 100_000_000
"""What the first regtest block pays: all channels of a topology are funded out of it."""
MAX_CAPACITY_SAT = 16_777_215
"""The largest channel without `option_support_large_channel` (BOLT 2)."""
OPENER_RESERVE_SAT = 50_000
"""What the opener must keep on its side: channel reserve, commitment fee and anchors, with room to spare."""
RESERVED_NAMES = frozenset({"bitcoind", "miner", "slow-miner", "toxiproxy", "push"})
"""Services of the testbed's own."""
BESIDE_PREFIX = "beside-"
"""Makes a service's name that of a container that helps it for a while."""
COMPONENT_SUFFIX, WALLET_SUFFIX = "-lsp", "-wallet"
"""Make a node's name that of its LSP's component or of its wallet; no node's name may end like this."""
ASYNCPAY = "asyncpay"
"""Names, in place of an image, the component of this checkout."""


class TopologyError(TestbedError):
    """The topology cannot be used; the message has one line for each problem: file:line: field: what is wrong."""


class Implementation(StrEnum):
    """The Lightning node software."""

    LND = "lnd"
    CLN = "cln"


class Role(StrEnum):
    """What the node is to the protocol."""

    PAYER = "payer"
    LSP = "lsp"
    ROUTER = "router"
    PAYEE = "payee"


NodeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,30}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class ChainSpec(_Strict):
    """The bitcoind that all nodes share.

    keep_fresh: mine a block whenever the last one is an hour old. LND takes a chain whose last block is two hours
    old for stale: a node that is started then waits for the next block.
    """

    image: str | None = None
    args: tuple[str, ...] = Field(default=(), strict=False)
    keep_fresh: bool = True


class ComponentSpec(_Strict):
    """The LSP's component, in a container beside its node. `component: IMAGE` is short for `component: {image: IMAGE}`.

    An image of your own has a program `asyncpay` on its search path that takes the same arguments
    (`asyncpay lsp [status|health] --config FILE`) and the same file.
    """

    model_config = ConfigDict(strict=False)  # strictly, only an instance is a LspPolicy

    image: str = Field(default=ASYNCPAY, description="asyncpay of this checkout, or an image of your own")
    policy: LspPolicy = Field(default=LspPolicy(), description="limits that differ from the defaults")
    ca: str | None = Field(default=None, description="certificates (PEM) trusted beside the public ones, for webhooks")
    args: tuple[str, ...] = Field(default=(), description="more arguments for `asyncpay lsp`")
    disk_mb: int | None = Field(default=None, ge=1, description="a disk in memory, which a test can fill")


class WalletSpec(_Strict):
    """The wallet that makes a phone of a payer or payee, in one container with the node. `component: IMAGE` is short.

    An image of your own is built upon the testbed's image of a phone (`docker inspect` of a phone names it) and brings
    another program `asyncpay` that takes the same arguments (`asyncpay wallet ...`) and the same file, and answers
    `status` and `payments` at the socket beside its store, as asyncpay.service.common.control does.
    """

    model_config = ConfigDict(strict=False)

    image: str = Field(default=ASYNCPAY, description="asyncpay of this checkout, or an image of your own")
    policy: dict[str, Any] = Field(default={}, description="limits that differ from the defaults")
    args: tuple[str, ...] = Field(default=(), description="more arguments for `asyncpay wallet run`")

    @field_validator("policy")
    @classmethod
    def _limits_of_payer_and_payee(cls, value: dict[str, Any]) -> dict[str, Any]:
        known = {policy: {field.name for field in fields(policy)} for policy in (PayerPolicy, PayeePolicy)}
        unknown = [name for name in value if not any(name in names for names in known.values())]
        if unknown:
            problems = [InitErrorDetails(type="extra_forbidden", loc=(name,), input=value[name]) for name in unknown]
            raise ValidationError.from_exception_data("policy", problems)
        for policy, names in known.items():
            TypeAdapter(policy).validate_python({name: limit for name, limit in value.items() if name in names})
        return value


class NodeSpec(_Strict):
    """One Lightning node."""

    role: Role = Field(strict=False)
    implementation: Implementation = Field(default=Implementation.LND, strict=False)
    image: str | None = Field(default=None, description="an image of your own instead of the pinned one")
    version: str | None = Field(default=None, description="another tag of the official image")
    args: tuple[str, ...] = Field(default=(), strict=False, description="more arguments for the node")
    component: ComponentSpec | WalletSpec | None = Field(default=None, description="makes an LSP or a phone of it")

    @field_validator("component", mode="before")
    @classmethod
    def _by_role(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None or isinstance(value, BaseModel):
            return value
        of_phone = info.data.get("role") in (Role.PAYER, Role.PAYEE)
        kind = WalletSpec if of_phone else ComponentSpec
        return kind.model_validate({"image": value} if isinstance(value, str) else value)

    @model_validator(mode="after")
    def _image_or_version(self) -> "NodeSpec":
        if self.image and self.version:
            raise ValueError("give an image or a version, not both")
        return self

    @property
    def is_phone(self) -> bool:
        """The node is an app of a phone: beside it there is a wallet, and nobody can dial it."""
        return isinstance(self.component, WalletSpec)


class ChannelSpec(_Strict):
    """One channel; `from` opens and funds it. Several between the same pair are fine."""

    opener: NodeName = Field(alias="from")
    peer: NodeName = Field(alias="to")
    capacity_sat: int = Field(ge=100_000, le=MAX_CAPACITY_SAT)
    push_sat: int = Field(default=0, ge=0)
    private: bool = False


class Topology(_Strict):
    """A whole network; `name` is the file's, and becomes the testbed's unless another is given."""

    name: str
    chain: ChainSpec = ChainSpec()
    nodes: dict[NodeName, NodeSpec] = Field(min_length=1)
    channels: tuple[ChannelSpec, ...] = Field(default=(), strict=False)

    @property
    def implementations(self) -> frozenset[Implementation]:
        """The node software that this topology needs."""
        return frozenset(node.implementation for node in self.nodes.values())

    @property
    def components(self) -> dict[str, ComponentSpec]:
        """The LSPs' components, by the name of the node that each stands beside."""
        return {name: spec.component for name, spec in self.nodes.items() if isinstance(spec.component, ComponentSpec)}

    @property
    def phones(self) -> dict[str, WalletSpec]:
        """The phones' wallets, by the name of the phone and its node."""
        return {name: spec.component for name, spec in self.nodes.items() if isinstance(spec.component, WalletSpec)}

    def lsp_of(self, phone: str) -> str:
        """The one node that a phone has channels to."""
        return next(iter(self.peers_of(phone)))

    def peers_of(self, node: str) -> set[str]:
        """The nodes that this one has channels to."""
        ends = ({channel.opener, channel.peer} for channel in self.channels)
        return {peer for pair in ends if node in pair for peer in pair - {node}}


def load(topology: str | Path, settings: Mapping[str, str] | None = None) -> Topology:
    """Read a topology: a path, or the name of one that is shipped (`line`, `line-mixed`, ...).

    `settings` changes it without a new file: `{"LSP_a": "cln"}` sets a node's implementation,
    `{"LSP_a.version": "v0.21.1-beta"}` any plain field of a node.

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
        problems = [(tuple(e["loc"]), _sentence(e)) for e in error.errors()]
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


def _apply(settings: Mapping[str, str], data: dict[str, Any]) -> None:
    for target, value in settings.items():
        name, _, field = target.partition(".")
        nodes = data.get("nodes")
        node = nodes.get(name) if isinstance(nodes, dict) else None
        if not isinstance(node, dict):
            known = ", ".join(nodes) if isinstance(nodes, dict) else "none"
            raise TopologyError(f"--set {target}={value}: there is no node {name} (nodes: {known})")
        field = field or "implementation"
        if field not in NodeSpec.model_fields or field == "args":
            raise TopologyError(f"--set {target}={value}: {field} cannot be set this way")
        node[field] = value


def _contradictions(topology: Topology) -> Iterator[tuple[Location, str]]:
    """What is well-formed by itself and still cannot stand."""
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
            yield ("nodes", name, "component"), "not for a router: it has no part in the protocol"


def _reserved(name: str) -> str | None:
    """Why no node may have this name, written in lower case."""
    if name in RESERVED_NAMES or name.startswith(BESIDE_PREFIX) or name.endswith((COMPONENT_SUFFIX, WALLET_SUFFIX)):
        return "a name that the testbed uses itself"
    if name == "localhost" or name.startswith("ip6-"):
        return "a name by which a container reaches itself, not another one"
    return None


def _of_phones(topology: Topology) -> Iterator[tuple[Location, str]]:
    for name in topology.phones:
        peers = topology.peers_of(name) & topology.nodes.keys()
        if len(peers) != 1:
            seen = " and ".join(sorted(peers)) or "nobody"
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
    """Pydantic's message in our words where its own would puzzle somebody who writes YAML."""
    match error["type"]:
        case "string_type":
            return f"{error['input']!r} is what YAML makes of it, and no text; put it in quotes"
        case "missing":
            return "is missing"
        case "extra_forbidden" | "unexpected_keyword_argument":
            return "is not a field that a topology knows here"
        case "string_pattern_mismatch":
            return f"{error['input']!r} is no node name: a letter, then up to 30 letters, digits, - or _"
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            return f"{error['msg']}, not {error['input']!r}"


def _lines(path: Path, source: YamlSource, problems: Iterable[tuple[Location, str]]) -> Iterator[str]:
    for location, message in problems:
        keys = tuple(key for key in location if key != "[key]")
        field = ".".join(str(key) for key in keys) or "topology"
        yield f"{path}:{source.line(keys)}: {field}: {message}"
