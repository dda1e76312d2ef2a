"""The interface between the testbed and its own programs in containers, a phone's init and the push gateway.

A program reads its configuration from a JSON file, whose path is in its environment.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

PHONE_CONFIG_VARIABLE, PUSH_CONFIG_VARIABLE = "PHONE_CONFIG", "PUSH_CONFIG"
"""Environment variables with the path of the JSON file with a PhoneConfig or a PushConfig."""


class AppSpec(BaseModel):
    """How to run an app."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    command: tuple[str, ...]
    stop_command: tuple[str, ...] = ()
    """The command that shuts it down cleanly; SIGTERM if there is none."""
    stop_seconds: float = 30
    """It is killed if it has not stopped after this time."""
    final_exits: tuple[int, ...] = ()
    """Exit codes after which it is not restarted, because its arguments or configuration are wrong."""
    control: Path | None = None
    """Its control socket (asyncpay.service.common.control), if it has one."""
    output: Literal["stdout", "stderr"] = "stderr"
    """The destination of its standard output: `stdout` only for JSON lines."""


class PhoneConfig(BaseModel):
    """The configuration of a phone's init. apps: in the order of their start; they are stopped in reverse."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int
    apps: tuple[AppSpec, ...]


class PhoneState(StrEnum):
    """The state of the phone."""

    AWAKE = "awake"
    ASLEEP = "asleep"
    FROZEN = "frozen"


class PushConfig(BaseModel):
    """phones: the URL that accepts pushes, by the phone's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int
    certificate: str
    """Path of a PEM file with certificate and key."""
    state: str
    """Path of the file that stores subscriptions and pushes."""
    phones: dict[str, str]


class Behaviour(StrEnum):
    """How the gateway answers LSPs: normally, or like a broken gateway."""

    NORMALLY = "normally"
    ERROR = "500"
    HANG = "hang"
    REDIRECT = "redirect"


class Subscription(BaseModel):
    """A webhook of a phone. token: the last part of its URL; lsp: the LSP's node id, 33 bytes in hex."""

    token: str
    phone: str
    lsp: Annotated[str, StringConstraints(pattern=r"^0[23][0-9a-f]{64}$")]


class Push(BaseModel):
    """One post of an LSP. Times are Unix seconds."""

    time: float
    phone: str
    method: str | None
    """None if the body does not contain it."""
    body: str
    refused: str | None = None
    """Why it is not pushed to the phone; None if it is signed by the phone's LSP, recent, and not a replay."""
    checked: bool = True
    """False if the gateway answered like a broken one, and did not check whether the push is genuine."""
    attempts: int = 0
    """The number of delivery attempts."""
    delivered: float | None = None


class Records(BaseModel):
    """The stored state of a gateway."""

    subscriptions: dict[str, Subscription] = {}
    """By token."""
    pushes: list[Push] = []
    """Oldest first."""
