"""What the push gateway keeps, and how its web interface says it."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

CONFIG_VARIABLE = "PUSH_CONFIG"
"""In the environment: the path of a JSON file, see `Config`."""


class Config(BaseModel):
    """phones: where each phone takes its pushes (a URL), by its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int
    certificate: str
    """Path of a PEM file with certificate and key."""
    state: str
    """Path of the file in which subscriptions and pushes are kept."""
    phones: dict[str, str]


class Behaviour(StrEnum):
    """How the gateway answers LSPs: as it should, or as a broken one would."""

    NORMALLY = "normally"
    ERROR = "500"
    HANG = "hang"
    REDIRECT = "redirect"


class Subscription(BaseModel):
    """Where a phone's LSP posts to. token: the last part of the webhook's URL; lsp: node id, 33 bytes in hex."""

    token: str
    phone: str
    lsp: str


class Push(BaseModel):
    """One post of an LSP. Times are Unix seconds."""

    time: float
    phone: str
    method: str | None
    """None if the body does not say."""
    body: str
    refused: str | None = None
    """Why it is not pushed to the phone; None: signed by the phone's LSP, in time, for the first time."""
    checked: bool = True
    """False while the gateway answers as a broken one would: it did not look whether the push is genuine."""
    attempts: int = 0
    """How often the phone was tried."""
    delivered: float | None = None


class Records(BaseModel):
    """Everything that a gateway remembers."""

    subscriptions: dict[str, Subscription] = {}
    """By token."""
    pushes: list[Push] = []
    """Oldest first."""
