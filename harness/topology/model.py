"""The parts of a topology: nodes, channels, the chain, each with the limits of its values."""

import pkgutil
from dataclasses import fields
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
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

from asyncpay.engine.policy import LspPolicy, PayeePolicy, PayerPolicy
from harness.errors import TestbedError
from harness.paths import PACKAGE

DEFAULT_IMPLEMENTATION = "lnd"
"""The implementation of a node for which the topology names none."""
_OTHER_FILES = ("base", "predicates")
_FILES = [module.name for module in pkgutil.iter_modules([str(PACKAGE / "nodes")])]
IMPLEMENTATIONS: tuple[str, ...] = tuple(
    sorted(
        (name for name in _FILES if name not in _OTHER_FILES and "_" not in name),
        key=lambda name: (name != DEFAULT_IMPLEMENTATION, name),
    )
)
"""The node implementations, the default first: one file of harness/nodes each. None is imported here.

Names with an underscore are helpers of these (`lnd_access`).
"""
FUNDS_SAT = 50 * 100_000_000
"""The reward of the first regtest block, which funds all channels of a topology."""
MAX_CAPACITY_SAT = 16_777_215
"""The largest channel without `option_support_large_channel` (BOLT 2)."""
OPENER_RESERVE_SAT = 50_000
"""The amount that the opener must keep on its side: channel reserve, commitment fee and anchors, with a margin."""
RESERVED_NAMES = frozenset({"bitcoind", "miner", "toxiproxy", "push"})
"""Services of the testbed's own."""
COMPONENT_SUFFIX, WALLET_SUFFIX = "-lsp", "-wallet"
"""Suffixes of the names of LSP components and wallets; the name of a node must not end with them."""
ASYNCPAY = "asyncpay"
"""The value of `image` for the component of this checkout."""


class TopologyError(TestbedError):
    """The topology cannot be used; the message has one line for each problem: file:line: field: what is wrong."""


class Role(StrEnum):
    """The node's role in the protocol."""

    PAYER = "payer"
    LSP = "lsp"
    ROUTER = "router"
    PAYEE = "payee"


NodeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,30}$")]


def _known(implementation: str) -> str:
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(f"there is no implementation {implementation!r} (there are: {', '.join(IMPLEMENTATIONS)})")
    return implementation


ImplementationName = Annotated[str, AfterValidator(_known)]
"""The name of a node implementation: a file of harness/nodes."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class ChainSpec(_Strict):
    """The bitcoind that all nodes share.

    keep_fresh: mine a block whenever the last one is an hour old. LND regards a chain whose last block is two hours
    old as stale: a node that is started then waits for the next block.
    """

    image: str | None = None
    args: tuple[str, ...] = Field(default=(), strict=False)
    keep_fresh: bool = True


class ComponentSpec(_Strict):
    """The LSP's component, in its own container. `component: IMAGE` is short for `component: {image: IMAGE}`.


    An image of your own has a program `asyncpay` on its search path that takes the same arguments
    (`asyncpay lsp [status|health] --config FILE`) and the same file.
    """

    model_config = ConfigDict(strict=False)  # strictly, only an instance is a LspPolicy

    image: str = Field(default=ASYNCPAY, description="asyncpay of this checkout, or an image of your own")
    policy: LspPolicy = Field(default=LspPolicy(), description="limits that differ from the defaults")
    ca: str | None = Field(
        default=None, description="certificates (PEM) trusted for webhooks in addition to public CAs"
    )
    args: tuple[str, ...] = Field(default=(), description="additional arguments for `asyncpay lsp`")
    disk_mb: int | None = Field(default=None, ge=1, description="a disk in memory, which a test can fill")


class WalletSpec(_Strict):
    """The wallet that turns a payer or payee into a phone, in one container with the node. `component: IMAGE` is short.

    An image of your own is built on the testbed's image of a phone (`docker inspect` of a phone names it) and has
    another program `asyncpay` that takes the same arguments (`asyncpay wallet ...`) and the same file, and answers
    `status` and `payments` on the socket next to its store, like asyncpay.service.common.control.
    """

    model_config = ConfigDict(strict=False)

    image: str = Field(default=ASYNCPAY, description="asyncpay of this checkout, or an image of your own")
    policy: dict[str, Any] = Field(default={}, description="limits that differ from the defaults")
    args: tuple[str, ...] = Field(default=(), description="additional arguments for `asyncpay wallet run`")

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
    implementation: ImplementationName = DEFAULT_IMPLEMENTATION
    image: str | None = Field(default=None, description="an image of your own instead of the pinned one")
    version: str | None = Field(default=None, description="another tag of the official image")
    args: tuple[str, ...] = Field(default=(), strict=False, description="additional arguments for the node")
    rest: bool = Field(default=False, strict=False, description="LND's REST, or the plugin clnrest, for `testbed env`")
    component: ComponentSpec | WalletSpec | None = Field(
        default=None, description="turns the node into an LSP or a phone"
    )

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
        """Whether the node is an app of a phone: it has a wallet, and cannot be dialled."""
        return isinstance(self.component, WalletSpec)


class ChannelSpec(_Strict):
    """One channel; `from` opens and funds it. A pair of nodes may have several channels."""

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
    def implementations(self) -> frozenset[str]:
        """The node implementations that this topology needs."""
        return frozenset(node.implementation for node in self.nodes.values())

    @property
    def components(self) -> dict[str, ComponentSpec]:
        """The LSPs' components, by the name of the LSP's node."""
        return {name: spec.component for name, spec in self.nodes.items() if isinstance(spec.component, ComponentSpec)}

    @property
    def phones(self) -> dict[str, WalletSpec]:
        """The phones' wallets, by the name of the phone and its node."""
        return {name: spec.component for name, spec in self.nodes.items() if isinstance(spec.component, WalletSpec)}

    def lsp_of(self, phone: str) -> str:
        """Return the only node with which a phone has channels."""
        return next(iter(self.peers_of(phone)))

    def peers_of(self, node: str) -> set[str]:
        """Return the nodes with which this one has channels."""
        ends = ({channel.opener, channel.peer} for channel in self.channels)
        return {peer for pair in ends if node in pair for peer in pair - {node}}
