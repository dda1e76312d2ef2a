"""The LSP's configuration, a TOML file:

[node]
implementation = "lnd"
address = "localhost:10009"
tls_certificate = "/root/.lnd/tls.cert"
macaroon = "/root/.lnd/admin.macaroon"

[store]
path = "/var/lib/asyncpay/lsp.sqlite"

[webhooks]                              # optional
ca_file = "/etc/ssl/our-ca.pem"         # trusted beside the usual authorities
allowed_networks = ["172.16.0.0/12"]    # private networks that webhooks may point into; none by default

[policy]                                # optional: any field of asyncpay.engine.lsp.Policy
max_holds = 100
"""

import tomllib
from dataclasses import fields
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from asyncpay.engine.lsp import Policy


class ConfigError(Exception):
    """The configuration cannot be used; the text names the file and each field, and says what is wrong."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeConfig(_Section):
    """How to reach the Lightning node. The macaroon needs LND's admin rights: it pays and answers HTLCs."""

    implementation: Literal["lnd"]
    address: str = Field(pattern=r"^[^:/]+:[0-9]+$")
    tls_certificate: Path
    macaroon: Path


class StoreConfig(_Section):
    """Where decisions are kept. The status socket lies beside the file."""

    path: Path

    @property
    def status_socket(self) -> Path:
        """The Unix socket on which the running LSP tells its status."""
        return self.path.with_name(self.path.name + ".sock")


class WebhooksConfig(_Section):
    """Whom to trust, and where webhooks may point, beyond the public internet."""

    ca_file: Path | None = None
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()


class LspConfig(_Section):
    """The whole file."""

    node: NodeConfig
    store: StoreConfig
    webhooks: WebhooksConfig = WebhooksConfig()
    policy: Policy = Policy()

    @field_validator("policy", mode="before")
    @classmethod
    def _no_unknown_limits(cls, value: Any) -> Any:
        if isinstance(value, dict):
            known = [field.name for field in fields(Policy)]
            if unknown := sorted(set(value) - set(known)):
                raise ValueError(f"there is no limit named {', '.join(unknown)}; known are {', '.join(known)}")
        return value


def load(path: Path) -> LspConfig:
    """Read the file. Raises ConfigError with every problem that it has."""
    try:
        return LspConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        lines = (f"{path}: {'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise ConfigError("\n".join(lines)) from None
