"""`asyncpay lsp` and `asyncpay wallet` under thousands of hostile inputs, on both kinds of node.

$FUZZ_INPUTS says how many inputs these tests get together (5,000), $FUZZ_SEED which ones; `make fuzz` gives many.
After each input the component must live, answer somebody else's request, and be able to read what it has stored.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.unit.lsps.https_server import Authority, answer, answer_without_end, make_authority, say_nothing, serve

from . import inputs
from .identities import CLIENT, THIRD
from .inputs import Input
from .lightningd import Lightningd
from .lnd import Lnd
from .shells import LspShell, Shell, WalletShell

INPUTS = int(os.environ.get("FUZZ_INPUTS", "5000"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))

CASES: dict[str, tuple[Callable[[Path], Any], type[Shell], list[Input], Callable[[Random], Input]]] = {
    "LSP on Core Lightning": (Lightningd, LspShell, inputs.CHOSEN_FOR_LSP, inputs.lsp_input),
    "LSP on LND": (Lnd, LspShell, inputs.CHOSEN_FOR_LND + inputs.CHOSEN_FOR_LSP, inputs.lsp_input),
    "wallet on Core Lightning": (Lightningd, WalletShell, inputs.CHOSEN_FOR_WALLET, inputs.wallet_input),
    "wallet on LND": (Lnd, WalletShell, inputs.CHOSEN_FOR_LND + inputs.CHOSEN_FOR_WALLET, inputs.wallet_input),
}


async def send(shell: Shell, given: Input, number: int) -> None:
    try:
        sending = given.send(shell)
        if sending is not None:
            await sending
        await shell.check()
    except Exception as error:
        raise AssertionError(f"FUZZ_SEED={SEED}, input {number}: {given.name:.2000}: {error!r}") from error


@pytest.mark.parametrize("case", CASES)
def test_nothing_from_outside_ends_it(case: str, tmp_path: Path) -> None:
    node_of, shell_of, chosen, chance = CASES[case]

    async def run() -> None:
        node = node_of(tmp_path)
        async with node.running():
            shell = shell_of(node, tmp_path)
            await shell.start()
            stream = inputs.endless(Random(f"{case} {SEED}"), inputs.CHOSEN_FOR_BOTH + chosen, chance)
            for number, given in enumerate(islice(stream, INPUTS // len(CASES))):
                await send(shell, given, number)
            await shell.stop()

    asyncio.run(run())


def test_at_least_a_hundred_are_chosen_by_hand_and_all_are_sent() -> None:
    chosen = inputs.CHOSEN_FOR_BOTH + inputs.CHOSEN_FOR_LSP
    assert 100 <= len(chosen) <= 5000 // len(CASES)
    assert len(inputs.CHOSEN_FOR_WALLET) >= 10


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


def test_webhook_servers_that_answer_anything(tmp_path: Path, authority: Authority) -> None:
    """Each server is told of its registration, and says what it likes: at once, slowly, without an end."""
    behaviours = [answer(text) for text in inputs.ANSWERS]
    behaviours += [say_nothing, answer_without_end("HTTP/1.1 200 OK\n\n", "x" * 65_536)]
    behaviours += [
        answer_without_end("", "HTTP/1.1 100 Continue\n\n"),
        answer_without_end("HTTP/1.1 200 OK\n", "a: b\n"),
    ]

    async def run() -> None:
        node = Lightningd(tmp_path)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(node.running())
            shell = LspShell(node, tmp_path, ca_file=authority.ca_file, allowed_networks=["127.0.0.0/8"])
            await shell.start()
            for number, behaviour in enumerate(behaviours):
                server = await stack.enter_async_context(serve(authority, behaviour))
                url = f"https://127.0.0.1:{server.port}/"
                client = (CLIENT, THIRD)[number % 2]  # an LSP posts to one client only so often
                await send(shell, inputs.set_webhook(url, f"phone {number % 5}", client), number)
                async with asyncio.timeout(60):
                    while not server.requests:  # the post may come some time after the answer
                        await shell.check()
                await shell.check()
            await shell.stop()

    asyncio.run(run())
