"""What passes between the testbed and its own programs in containers, a phone's init and the push gateway.

A program finds its configuration in a JSON file, whose path is in its environment.
"""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

PHONE_CONFIG_VARIABLE, PUSH_CONFIG_VARIABLE = "PHONE_CONFIG", "PUSH_CONFIG"
"""In the environment: the path of the JSON file with a PhoneConfig, a PushConfig."""


class AppSpec(BaseModel):
    """How to run an app."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    command: tuple[str, ...]
    stop_command: tuple[str, ...] = ()
    """What makes it shut down in good order; SIGTERM if there is none."""
    stop_seconds: float = 30
    """After this long it is killed."""
    final_exits: tuple[int, ...] = ()
    """Exit codes after which it is not started again: what it was told is wrong, and stays so."""
    control: Path | None = None
    """Where it answers questions (asyncpay.service.common.control), if it does."""
    output: Literal["stdout", "stderr"] = "stderr"
    """Where its standard output goes: `stdout` is for JSON lines alone."""


class PhoneConfig(BaseModel):
    """The configuration of a phone's init. apps: in the order of their start; they are stopped in reverse."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int
    apps: tuple[AppSpec, ...]


class PhoneState(StrEnum):
    """What the phone's system does with its apps."""

    AWAKE = "awake"
    ASLEEP = "asleep"
    FROZEN = "frozen"


class PushConfig(BaseModel):
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
