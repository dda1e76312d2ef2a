"""A release that comes to the payer itself, because it is online or its LSP did not see it pass."""

from asyncpay.engine.payer.effects import SendAlong, SendToLsp
from asyncpay.engine.payer.events import ReleaseSeen
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.stages import UNPAID, Stage
from asyncpay.engine.payer.turn import Turn
from asyncpay.wire import messages
from asyncpay.wire.messages import BlockState, PaymentRelease, ReleaseReply, ReleaseStatus


def seen(turn: Turn, event: ReleaseSeen) -> None:
    """Pass the pid on to the LSP, which may be shown it any number of times, and tell the payee how things stand.

    While PAYING the wallet has told nobody the pid: only the LSP's courier can have been quicker, and then
    the LSP answers.
    """
    name = messages.unblock_hash(event.pid)
    payment = turn.payments.of_block(name)
    if payment is None or payment.stage in UNPAID:
        return
    status = _status(payment)
    turn.log("release seen", payment.key, because=status.name)
    if status is ReleaseStatus.RELEASED and payment.stage is not Stage.SETTLED:
        turn.do(SendToLsp(payment.lsp, PaymentRelease(pid=event.pid)))
    if event.reply_path is not None and payment.stage is not Stage.PAYING:
        turn.do(SendAlong(event.reply_path, ReleaseReply(unblock_hash=name, status=status)))


def _status(payment: OutgoingPayment) -> ReleaseStatus:
    returned = payment.told is BlockState.FAILED_BACK and payment.stage is not Stage.SETTLED
    ended = payment.stage is Stage.FAILED or payment.cancelled or returned
    return ReleaseStatus.TOO_LATE if ended else ReleaseStatus.RELEASED
