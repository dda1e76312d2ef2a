"""What a phone's init is told, and what it calls the phone's states."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from harness.inside.app import AppSpec

CONFIG_VARIABLE = "PHONE_CONFIG"
"""In the environment: the path of a JSON file, see `Config`."""


class Config(BaseModel):
    """apps: in the order in which they are started; they are stopped in the opposite order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int
    apps: tuple[AppSpec, ...]


class State(StrEnum):
    """What the phone's system does with its apps."""

    AWAKE = "awake"
    ASLEEP = "asleep"
    FROZEN = "frozen"
