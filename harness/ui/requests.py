"""The bodies of POST requests. Every text is bounded, and unknown fields are rejected."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=64, description="of a node, a phone or a service")]
Amount = Annotated[str, Field(max_length=32, description="with its unit: 1000sat, 1500msat, 0.01btc")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Nothing(_Request):
    """No arguments: `{}`."""


class Pay(_Request):
    """An ordinary payment from node to node."""

    payer: Name
    payee: Name
    amount: Amount


class Mine(_Request):
    """The number of blocks."""

    blocks: int = Field(default=1, ge=1, le=2016)


class Fund(_Request):
    """Coins from the testbed's wallet for a node."""

    node: Name
    amount: Amount


class OpenChannel(_Request):
    """push: the peer's initial balance."""

    opener: Name
    peer: Name
    capacity: Amount
    push: Amount | None = None
    private: bool = False


class CloseChannel(_Request):
    """channel: its short_channel_id, if the two have several. force: the closer publishes its commitment."""

    closer: Name
    peer: Name
    channel: str | None = Field(default=None, max_length=40)
    force: bool = False


class Blackhole(_Request):
    """direction: `upstream` is from the phone to its LSP; both if it is omitted."""

    direction: Literal["upstream", "downstream"] | None = None


class Latency(_Request):
    """The latency in each direction."""

    delay: str = Field(max_length=32, description="300ms or 0.5s")


class Bandwidth(_Request):
    """The throughput in each direction."""

    rate: str = Field(max_length=32, description="per second: 1kB or 1MB")


class Receive(_Request):
    """An invoice."""

    amount: Amount
    description: str = Field(default="", max_length=500)


class PayInvoice(_Request):
    """A BOLT 11 invoice."""

    invoice: str = Field(pattern=r"^[0-9A-Za-z:]{1,4000}$")


class Cancel(_Request):
    """The payment's hash, or its first digits."""

    payment_hash: str = Field(pattern=r"^[0-9a-fA-F]{4,64}$")


class PushGateway(_Request):
    """How the gateway answers LSPs from now on."""

    answer: Literal["normally", "500", "hang", "redirect"]
