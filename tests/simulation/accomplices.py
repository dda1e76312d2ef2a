"""A payer and a payee who carry out a plot (plot.py) against the nodes between them."""

from dataclasses import replace
from typing import TYPE_CHECKING

from asyncpay.wire.messages import UNSIGNED, BlockRequest, PaymentRelease, unblock_hash

from .channels import DELTA_BLOCKS, FEE_MSAT, SimHtlc, Step
from .invoices import Invoices
from .node import SimNode
from .plot import Plot, PlotPart
from .wallet import signed

if TYPE_CHECKING:
    from .world import World

SECONDS_TO_BLOCK = 0.5
"""From the block_request to the payment: an accomplice does not wait for the answer."""


class Accomplices:
    """`sent`: the payer's HTLCs."""

    def __init__(self, world: "World", plot: Plot) -> None:
        self._world, self._plot = world, plot
        self.sent: list[SimHtlc] = []
        world.phone_a.wakes_after = world.phone_b.wakes_after = None
        world.b.invoices = Withholding(world.b, plot, world)
        for channel in world.b_link.channels:
            channel.congestion_blocks = plot.congestion_blocks
        self._text = "lnbcrt1plot"
        invoice = world.decode["lnbcrt1"]
        world.decode[self._text] = replace(
            invoice,
            text=self._text,
            amount_msat=plot.amount_msat,
            min_final_cltv_expiry=plot.final_blocks,
            has_blinded_paths=plot.blinded_blocks is not None,
        )
        if plot.blinded_blocks is not None:
            for node in world.chain.nodes:
                node.payments.blinded_blocks[self._text] = plot.blinded_blocks

    def begin(self) -> None:
        """From here on everything takes its course."""
        plot, world = self._plot, self._world
        world.phone_b.wake(None)
        self._request()
        later = world.kernel.later
        later(SECONDS_TO_BLOCK, self._pay)
        later(SECONDS_TO_BLOCK + plot.shows_pid_after, self._show_pid)
        for seconds, deed in (
            (plot.payer_leaves_after, world.phone_a.sleep),
            (plot.payer_returns_after, lambda: world.phone_a.wake(None)),
            (plot.payer_closes_after, self._close),
        ):
            if seconds is not None:
                later(SECONDS_TO_BLOCK + seconds, deed)

    def _request(self) -> None:
        plot, world = self._plot, self._world
        request = BlockRequest(
            unblock_hash=unblock_hash(world.pid),
            payment_hashes=(world.payment_hash,),
            invoice=self._text if plot.with_invoice else None,
            amount_msat=plot.amount_msat,
            release_by_height=world.a.height + plot.hold_blocks,
            hold_until=int(world.kernel.now) + plot.hold_seconds,
            signature=UNSIGNED,
        )
        world.letters.send_to_peer(world.a, world.lsp_a_node.id, signed(request, world.a, world.lsp_a_node.id))

    def _pay(self) -> None:
        channels = [each for each in self._world.a_link.channels if each.usable_by(self._world.a)]
        for number, part in enumerate(self._plot.parts):
            if channels:
                channel = channels[number % len(channels)]
                if channel.balance_msat["A"] >= part.brings_msat:
                    self.sent.append(self._htlc(part))
                    self.sent[-1].channel = channel
                    channel.add(self.sent[-1])

    def _htlc(self, part: PlotPart) -> SimHtlc:
        """Behind the LSP the numbers are honest ones: there a plot meets nodes and no component that holds."""
        world, height = self._world, self._world.a.height
        steps = [
            Step(
                node.id,
                max(0, part.asks_msat - place * FEE_MSAT),
                min(2**32 - 1, height + part.asks_blocks) - place * DELTA_BLOCKS,
            )
            for place, node in enumerate(world.line[2:])
        ]
        return SimHtlc(
            channel=world.a_link.channels[0],
            number=0,
            offerer=world.a,
            payment_hash=world.payment_hash,
            amount_msat=part.brings_msat,
            expiry=height + part.brings_blocks,
            way=tuple(steps),
            total_msat=self._plot.amount_msat,
        )

    def _show_pid(self) -> None:
        world = self._world
        world.phone_b.wallet.shown.add(world.pid)
        world.letters.send_to(world.b, world.lsp_a_node.id, PaymentRelease(pid=world.pid))
        world.letters.send_to_peer(world.a, world.lsp_a_node.id, PaymentRelease(pid=world.pid))

    def _close(self) -> None:
        for channel in self._world.a_link.channels:
            channel.close()


class Withholding(Invoices):
    """The payee takes an HTLC when its plot says so, whatever its invoice says."""

    def __init__(self, node: SimNode, plot: Plot, world: "World") -> None:
        super().__init__(node)
        self._plot, self._world = plot, world
        self._withheld: list[SimHtlc] = []
        node.chain.on_height.append(self._take_due)

    def take(self, htlc: SimHtlc) -> None:
        """See Invoices.take."""
        if htlc.payment_hash != self._world.payment_hash or self._plot.takes_before_blocks is None:
            htlc.channel.resolve(htlc, None)
            return
        self._withheld.append(htlc)
        if self._plot.payee_leaves:
            self._node.kernel.later(1.0, self._world.phone_b.sleep)

    def _take_due(self, height: int) -> None:
        before = self._plot.takes_before_blocks
        for htlc in list(self._withheld):
            if before is not None and htlc.expiry - height <= before:
                self._withheld.remove(htlc)
                self._node.kernel.tell("B", "takes what it withheld, %d blocks before its expiry", htlc.expiry - height)
                self._world.invoice.times_paid += 1
                self._world.invoice.paid_msat += htlc.amount_msat
                htlc.channel.resolve(htlc, self._world.preimage)
