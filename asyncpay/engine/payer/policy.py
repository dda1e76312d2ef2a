"""What a payer asks for, and how patient it is: every number a user may set, with the protocol's defaults."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PayerPolicy:
    """slack_blocks: how long the payee may take to release. return_blocks: what is left after that for the payer
    to come back before its own channel is in danger.
    invoice_margin_seconds: a payment is not held any longer than this before its invoice expires.
    request_seconds, request_repeats: between two requests that are not answered, and how many follow the first.
    request_most_seconds: while the node pays the pauses between requests double up to this; so do those between copies
    of the message for the payee, where the wallet repeats it and not its LSP.
    cancel_seconds: between two cancels that are not answered; doubles up to cancel_most_seconds.
    pay_timeout_seconds: the node begins no new attempt after this; less than the LSP's patience for a set.
    max_parts: of one payment.
    fee_base_msat, fee_per_million: the most that a payment may cost, together.
    track_again_seconds: before the node is asked again for a payment that was lost sight of.
    quiet_seconds: an order to pay that was on its way when wallet or node stopped may reach the node for this long.
    Linux sends what a dead process left in a socket for minutes (tcp_orphan_retries), but not for ten.
    """

    slack_blocks: int = 432
    return_blocks: int = 144
    invoice_margin_seconds: int = 600
    request_seconds: float = 10
    request_repeats: int = 3
    request_most_seconds: float = 600
    cancel_seconds: float = 10
    cancel_most_seconds: float = 600
    pay_timeout_seconds: int = 60
    max_parts: int = 16
    fee_base_msat: int = 10_000
    fee_per_million: int = 10_000
    track_again_seconds: float = 5
    quiet_seconds: float = 600
