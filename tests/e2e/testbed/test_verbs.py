"""The command line opens, uses and closes channels on real nodes, and a script can wait for each effect."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.checks import balances
from harness.pytest_plugin import running_testbed
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for
from tests.support.implementations import all_on

COMMAND = str(Path(sys.executable).with_name("testbed"))
CAPACITY_SAT, PUSH_SAT, PAID_SAT = 1_000_000, 300_000, 50_000
FEES_SAT = 30_000
"""More than the cost of a force-close and of sweeping its outputs on regtest."""

pytestmark = pytest.mark.full  # LND's row takes 40 s, for what unit tests mostly cover

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module", params=["lnd", "cln"])
def testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    with running_testbed(all_on(request.param, "pair.yaml"), request.config) as running:
        yield running


@pytest.fixture
def run(testbed: Testbed) -> Run:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([COMMAND, *arguments, "-t", testbed.name], capture_output=True, text=True, check=False)

    return run


def told(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def onchain_sat(testbed: Testbed) -> dict[str, int]:
    return {name: node.onchain_sat() for name, node in testbed.nodes.items()}


def mine_until_onchain(testbed: Testbed, least_sat: int) -> None:
    """Mine until the two nodes together have this amount of confirmed coins."""

    def missing() -> str | None:
        seen_sat = sum(onchain_sat(testbed).values())
        if seen_sat >= least_sat:
            return None
        testbed.mine()
        return f"{seen_sat} sat of {least_sat} sat are on-chain"

    wait_for(Predicate("coins_back", missing), 120, interval_seconds=0.3)


def installed(testbed: Testbed, folder: Path) -> str:
    """Return a PATH on this machine with lncli or lightning-cli, and bitcoin-cli: those of the containers, with all of
    their libraries, because this machine's may be older.
    """

    def take(service: str, path: str, into: Path) -> Path:
        where = testbed.engine.output(service, ["readlink", "-f", path]).stdout.strip()
        taken = into / Path(path).name
        taken.write_bytes(testbed.engine.read(service, where))
        taken.chmod(0o755)
        return taken

    for service, program in {"bitcoind": "bitcoin-cli", "A": testbed["A"].cli[0]}.items():
        libraries = folder / f"{program}-libraries"
        libraries.mkdir()
        path = testbed.engine.output(service, ["sh", "-c", f"command -v {program}"]).stdout.strip()
        taken = take(service, path, libraries)
        needed = re.findall(r"/\S+", testbed.engine.output(service, ["ldd", path]).stdout)
        loaders = [take(service, each, libraries) for each in needed if each != path]
        loader = next((f"{each} --library-path {libraries}" for each in loaders if each.name.startswith("ld-")), "")
        (folder / program).write_text(f'#!/bin/sh\nexec {loader} {taken} "$@"\n')
        (folder / program).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_the_nodes_own_command_lines_work_on_this_machine(testbed: Testbed, run: Run, tmp_path: Path) -> None:
    path = installed(testbed, tmp_path)

    def on_this_machine(node: str, command: str) -> Any:
        evaluated = run("env", node)
        assert evaluated.returncode == 0, evaluated.stderr
        shell = ["/bin/sh", "-c", f"{evaluated.stdout}\n{command}"]
        done = subprocess.run(shell, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
        return told(done)

    program = testbed["A"].cli[0]
    ids = {name: node.node_id for name, node in testbed.nodes.items()}
    for name in ("A", "B"):
        info = on_this_machine(name, f"{program} getinfo")
        assert ids[name] in (info.get("identity_pubkey"), info.get("id"))
    assert on_this_machine("bitcoind", "bitcoin-cli getblockcount") == testbed.chain.height_blocks


@pytest.mark.seconds(40)
def test_a_channel_from_its_coins_to_its_end(testbed: Testbed, run: Run) -> None:
    balances.count(testbed)
    first_sat = onchain_sat(testbed)
    funded = told(run("fund", "B", "200000sat", "--json"))
    assert (funded["amount_sat"], funded["onchain_sat"]) == (200_000, first_sat["B"] + 200_000)
    assert onchain_sat(testbed) == first_sat | {"B": first_sat["B"] + 200_000}

    opened = told(run("open-channel", "A", "B", f"{CAPACITY_SAT}sat", "--push", f"{PUSH_SAT}sat", "--json"))
    held_sat = onchain_sat(testbed)
    assert told(run("wait", "channels-usable", "A", "--json"))["holds"]
    status = told(run("status", "--json"))
    shown = {channel["short_channel_id"]: channel["balances_msat"] for channel in status["channels"]}
    assert len(shown) == 2
    assert shown[opened["short_channel_id"]] == [(CAPACITY_SAT - PUSH_SAT) * 1_000, PUSH_SAT * 1_000]

    paid = told(run("pay", "B", "A", f"{PAID_SAT}sat", "--json"))
    assert told(run("wait", "payment-gone", paid["payment_hash"], "--json"))["holds"]
    assert told(run("wait", "no-htlcs", "--json"))["holds"]
    never = run("wait", "at-height", "99999", "--timeout", "0.5", "--json")
    assert never.returncode == 1
    assert "of 99999" in json.loads(never.stdout)["last_seen"]

    unclear = run("close-channel", "A", "B")
    assert unclear.returncode == 2
    assert "A and B have several channels. Choose one with --channel" in unclear.stderr
    balance_sat = {
        name: channel.local_msat // 1_000
        for name, node in testbed.nodes.items()
        for channel in node.channels()
        if channel.funding == opened["funding"]
    }
    assert sum(balance_sat.values()) == CAPACITY_SAT
    closed = told(run("close-channel", "B", "A", "--channel", opened["short_channel_id"], "--json"))
    outputs = testbed.chain.transaction(closed["closing_txid"]).outputs
    mine_until_onchain(testbed, sum(held_sat.values()) + sum(output.value for output in outputs))
    now_sat = onchain_sat(testbed)
    assert now_sat["B"] - held_sat["B"] == balance_sat["B"], "the opener alone pays for the close"
    assert 0 < balance_sat["A"] - (now_sat["A"] - held_sat["A"]) <= FEES_SAT
    balances.count(testbed)

    private = told(run("open-channel", "A", "B", f"{CAPACITY_SAT}sat", "--private", "--json"))
    before_sat = sum(onchain_sat(testbed).values())
    forced = told(run("close-channel", "A", "B", "--channel", private["short_channel_id"], "--force", "--json"))
    assert forced["forced"]
    mine_until_onchain(testbed, before_sat + CAPACITY_SAT - FEES_SAT)
    assert sum(onchain_sat(testbed).values()) < before_sat + CAPACITY_SAT
    assert [len(node.channels()) for node in testbed.nodes.values()] == [1, 1]
    assert "have no channel 1x1x1" in run("close-channel", "A", "B", "--channel", "1x1x1").stderr
