"""The configuration of a component: a TOML file. Example for an LSP:

[node]
implementation = "lnd"
address = "localhost:10009"
tls_certificate = "/root/.lnd/tls.cert"
macaroon = "/root/.lnd/admin.macaroon"
                                        # or, for Core Lightning with our plugin:
# implementation = "cln"
# rpc_file = "/root/.lightning/bitcoin/lightning-rpc"
                                        # or, for LDK, run by our daemon ldkd (docker/ldk):
# implementation = "ldk"
# socket = "/run/ldk/rpc.sock"

[store]
path = "/var/lib/asyncpay/lsp.sqlite"

[webhooks]                              # optional
ca_file = "/etc/ssl/our-ca.pem"         # trusted in addition to the usual authorities
allowed_networks = ["172.16.0.0/12"]    # private networks that webhooks may point into; none by default

[metrics]                               # optional: for Prometheus, at http://HOST:PORT/metrics
port = 9464
host = "127.0.0.1"                      # the default

[policy]                                # optional: any field of asyncpay.engine.policy.LspPolicy
max_holds = 100

A wallet's file has the same [node] and [store], and

[lsp]                                   # optional
node_id = "02..."                       # the LSP, if the phone has channels with several peers
address = "lsp.example.com:9735"        # the address that the node dials, if the node does not know one itself

[policy]                                # optional: any field of PayerPolicy, PayeePolicy, DialPolicy (asyncpay.engine)
slack_blocks = 288
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic_core import ErrorDetails

from asyncpay.engine.policy import DialPolicy, LspPolicy, PayeePolicy, PayerPolicy
from asyncpay.lightning import NodeId

MAX_SOCKET_PATH_BYTES = 107
"""The longest path of a Unix socket on Linux (sun_path, without its terminating zero byte)."""

MAX_LIMIT = 2**63
"""Every number of a policy is below this, so that SQLite can store it and sums with it are exact integers."""


class ConfigError(Exception):
    """The configuration is invalid; the text names the file and each invalid field, with the reason."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LndConfig(_Section):
    """How to reach LND. The macaroon needs admin rights: the component pays and resolves HTLCs with it."""

    implementation: Literal["lnd"]
    address: str = Field(pattern=r"^[^:/]+:[0-9]+$")
    tls_certificate: Path
    macaroon: Path

    def __str__(self) -> str:
        return f"LND at {self.address}"


class ClnConfig(_Section):
    """How to reach Core Lightning: its RPC socket (--rpc-file), which this process must be allowed to write to."""

    implementation: Literal["cln"]
    rpc_file: Path

    @field_validator("rpc_file")
    @classmethod
    def _fits(cls, value: Path) -> Path:
        return _as_socket(value, value)

    def __str__(self) -> str:
        return f"CLN at {self.rpc_file}"


class LdkConfig(_Section):
    """How to reach LDK: the socket of our daemon ldkd (--socket), which this process must be allowed to write to."""

    implementation: Literal["ldk"]
    socket: Path

    @field_validator("socket")
    @classmethod
    def _fits(cls, value: Path) -> Path:
        return _as_socket(value, value)

    def __str__(self) -> str:
        return f"LDK at {self.socket}"


NodeConfig: TypeAlias = Annotated[LndConfig | ClnConfig | LdkConfig, Field(discriminator="implementation")]
"""How to reach the Lightning node."""


class StoreConfig(_Section):
    """The file of the store. The control socket is in the same folder."""

    path: Path

    @field_validator("path")
    @classmethod
    def _fits(cls, value: Path) -> Path:
        _as_socket(_socket_of(value), value)
        return value

    @property
    def socket(self) -> Path:
        """The Unix socket on which the running component answers its command line."""
        return _socket_of(self.path)


class WebhooksConfig(_Section):
    """An additional certificate authority, and the private networks that webhooks may point into."""

    ca_file: Path | None = None
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @field_validator("allowed_networks", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        return tuple(_network(each) for each in value) if isinstance(value, (list, tuple)) else value


class MetricsConfig(_Section):
    """The address at which Prometheus scrapes the LSP. Every host that reaches the port can read how much is held."""

    port: int = Field(ge=1, le=65535)
    host: IPv4Address | IPv6Address = IPv4Address("127.0.0.1")


class LspConfig(_Section):
    """The whole configuration file of an LSP."""

    node: NodeConfig
    store: StoreConfig
    webhooks: WebhooksConfig = WebhooksConfig()
    metrics: MetricsConfig | None = None
    policy: LspPolicy = LspPolicy()

    @field_validator("policy", mode="before")
    @classmethod
    def _known_and_in_range(cls, value: Any) -> Any:
        return _checked(value, LspPolicy)


class LspOfWalletConfig(_Section):
    """The peer that is the LSP; without node_id, the only peer with which there are channels.

    address: the host:port that the node dials; without it, the node must know one from gossip or an earlier connection.
    """

    node_id: NodeId | None = None
    address: str | None = Field(default=None, pattern=r"^[^\s/@]{1,255}:[0-9]{1,5}$")

    @field_validator("node_id", mode="before")
    @classmethod
    def _from_hex(cls, value: Any) -> Any:
        try:
            node_id = bytes.fromhex(value)
        except (TypeError, ValueError):
            node_id = b""
        if len(node_id) != 33:
            raise ValueError("a node id is 66 hex digits")
        return node_id


class WalletConfig(_Section):
    """The whole configuration file of a wallet.

    policy: the fields of PayerPolicy, PayeePolicy and DialPolicy together; no field name is in two of them.
    """

    node: NodeConfig
    store: StoreConfig
    lsp: LspOfWalletConfig = LspOfWalletConfig()
    policy: Mapping[str, Any] = {}

    @field_validator("policy")
    @classmethod
    def _all_policies(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        _checked(value, PayerPolicy, PayeePolicy, DialPolicy)
        for policy in (PayerPolicy, PayeePolicy, DialPolicy):
            try:
                TypeAdapter(policy).validate_python(_of(policy, value))
            except ValidationError as error:
                wrong = error.errors()[0]
                raise ValueError(f"{wrong['loc'][0]} {_reason(wrong)}") from None
        return value

    @property
    def payer_policy(self) -> PayerPolicy:
        """The fields of the policy that belong to PayerPolicy."""
        return PayerPolicy(**_of(PayerPolicy, self.policy))

    @property
    def payee_policy(self) -> PayeePolicy:
        """The fields of the policy that belong to PayeePolicy."""
        return PayeePolicy(**_of(PayeePolicy, self.policy))

    @property
    def dial_policy(self) -> DialPolicy:
        """The fields of the policy that belong to DialPolicy."""
        return DialPolicy(**_of(DialPolicy, self.policy))


def _socket_of(store: Path) -> Path:
    if not store.name:
        raise ValueError(f"{store} is a directory. Name a file")
    return store.with_name(store.name + ".sock")


def _as_socket(socket: Path, named: Path) -> Path:
    """Return the path. Raises ValueError if it cannot be that of a Unix socket."""
    length = len(os.fsencode(socket))
    if "\0" in str(socket):
        raise ValueError("the path contains a zero byte")
    if length > MAX_SOCKET_PATH_BYTES:
        raise ValueError(
            f"the path of the socket {socket} has {length} bytes, and the maximum is {MAX_SOCKET_PATH_BYTES}. "
            + ("Choose a shorter path" if socket == named else "It is in the store's folder: choose a shorter path")
        )
    return socket


def _of(policy: type, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(policy)}
    return {name: value for name, value in values.items() if name in names}


def _network(value: Any) -> IPv4Network | IPv6Network:
    if isinstance(value, str):
        try:
            return ip_network(value)
        except ValueError as error:
            raise ValueError(f"{error}. Write a network like 10.1.0.0/16") from None
    raise ValueError(f'{value!r} is not text. Write a network like "10.1.0.0/16"')


def _checked(value: Any, *policies: type) -> Any:
    """Return the section [policy]. Raises ValueError for an unknown limit, and for a number that no limit can have."""
    if isinstance(value, Mapping):
        known = [field.name for policy in policies for field in fields(policy)]
        if unknown := sorted(set(value) - set(known)):
            raise ValueError(f"there is no limit named {', '.join(unknown)}{_suggested(unknown, known)}")
        for name, number in value.items():
            if isinstance(number, (int, float)) and not 0 <= number < MAX_LIMIT:
                raise ValueError(f"{name} must be a number from 0 to 2^63-1, not {number}")
    return value


def _suggested(unknown: list[str], known: list[str]) -> str:
    near = [name for each in unknown for name in difflib.get_close_matches(each, known, n=1, cutoff=0.75)]
    return f". Did you mean {' and '.join(near)}?" if near else f"; known limits are {', '.join(known)}"


C = TypeVar("C", LspConfig, WalletConfig)


def load(path: Path, kind: type[C]) -> C:
    """Read the file. Raises ConfigError, which lists every problem of the file."""
    try:
        return kind.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        variable = "ASYNCPAY_WALLET_CONFIG" if issubclass(kind, WalletConfig) else "ASYNCPAY_LSP_CONFIG"
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}. Name the configuration file with --config or {variable}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {_sentence(kind, each)}" for each in error.errors())) from None


_NODES: Mapping[Any, type[_Section]] = {"lnd": LndConfig, "cln": ClnConfig, "ldk": LdkConfig}


def _sentence(kind: type[_Section], error: ErrorDetails) -> str:
    """Return the field as it is named in the file, and what is wrong with it."""
    where = error["loc"]
    names = where[:1] + where[2:] if where[0] == "node" else where  # pydantic puts the implementation between
    field = ".".join(map(str, names))
    match error["type"]:
        case "missing":
            return f"{field}: is missing"
        case "extra_forbidden":
            return f"{field}: is not a known field (known: {', '.join(_section(kind, where).model_fields)})"
        case "union_tag_invalid":
            return f"{field}.implementation: there is no implementation {error['ctx']['tag']!r} (there are: {_ALL})"
        case "union_tag_not_found":
            return f"{field}.implementation: is missing (one of: {_ALL})"
        case "model_type" | "model_attributes_type":
            return f"{field}: must be a section, [{field}]"
        case "string_pattern_mismatch":
            return f"{field}: must be HOST:PORT, not {error['input']!r}"
        case "value_error":
            return f"{field}: {error['msg'].removeprefix('Value error, ')}"
    return f"{field}: {_reason(error)}"


def _reason(error: ErrorDetails) -> str:
    """Return what is wrong with a value, for example "must be a valid integer, not 'many'"."""
    expected = error["msg"].replace("Input should be", "must be").partition(", unable")[0]
    return f"{expected}, not {error['input']!r}"


_ALL = ", ".join(_NODES)


def _section(kind: type[_Section], where: tuple[int | str, ...]) -> type[_Section]:
    """Return the section that contains the field at `where`."""
    if len(where) == 1:
        return kind
    if where[0] == "node":
        return _NODES[where[1]]
    annotation = kind.model_fields[str(where[0])].annotation
    return next(
        each for each in (annotation, *get_args(annotation)) if isinstance(each, type) and issubclass(each, _Section)
    )
