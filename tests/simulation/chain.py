"""The block chain: a height, and who is told of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from .kernel import Kernel

if TYPE_CHECKING:
    from .channels import Channel
    from .node import SimNode

START_HEIGHT = 500
BLOCK_SECONDS = 600.0
ROW_SECONDS = 2.0


class Chain:
    """Grows by a block every ten minutes, and whenever somebody mines. on_height: told of every height."""

    def __init__(self, kernel: Kernel) -> None:
        self.height = START_HEIGHT
        self.nodes: list[SimNode] = []
        self.channels: list[Channel] = []
        self.on_height: list[Callable[[int], None]] = []
        self._kernel = kernel
        kernel.later(BLOCK_SECONDS, self._tick)

    def mine(self) -> None:
        """A block is found."""
        self.height += 1
        for node in self.nodes:
            if node.running:
                node.on_block(self.height)
        for act in self.on_height:
            act(self.height)
        for channel in self.channels:
            channel.on_block(self.height)

    def mine_in_a_row(self, blocks: int) -> None:
        """So many blocks are found, a few seconds apart."""
        for number in range(blocks):
            self._kernel.later(number * ROW_SECONDS, self.mine)

    def _tick(self) -> None:
        self._kernel.moment("a block is found")
        self.mine()
        self._kernel.later(BLOCK_SECONDS, self._tick)
