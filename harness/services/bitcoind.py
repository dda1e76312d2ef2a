"""The regtest chain: bitcoind over its RPC, and the testbed's own coins, whose key is used by bitcoinlib.

bitcoind runs without a wallet. Every block pays to the testbed's key; bitcoinlib signs its transactions. It is
imported only when a transaction is signed or parsed: the import takes seconds, and creates folders.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import requests

from harness.errors import NodeError
from harness.nodes.base import volume
from harness.paths import cache_folder
from harness.services import local_http
from harness.topology import ChainSpec

if TYPE_CHECKING:
    from bitcoinlib.keys import Key
    from bitcoinlib.transactions import Transaction

NAME = "bitcoind"
RPC_PORT = 18443
RPC_USER = "testbed"
COINBASE_MATURITY_BLOCKS = 100
FEE_SAT = 10_000
"""The fee of the testbed's own transactions: sufficient for fifty outputs."""

MINER_ADDRESS = "bcrt1q6m9l3p500nxv4485sjhf44vyffewtx3dnetmd2"
"""The address of `miner_key`, to which every mined block pays."""
RIVAL_ADDRESS = "bcrt1qlxv7ctvpy9v7agyae9fw9kf7m2jcl0qjs7msvx"
"""The address to which the blocks of a reorganisation pay, so that they differ from those that they replace."""


BITCOIND_DIR = "/home/bitcoin/.bitcoin"
MINER = "miner"
FRESH_SECONDS = 3600
LOOK_SECONDS = 60
"""The age of the last block at which a chain that is kept fresh gets another one, and the polling interval."""
BLOCKS_AT_START = COINBASE_MATURITY_BLOCKS + 30
"""Enough blocks for mature coins, and so that no transaction has a lock time of 21.

Against fee sniping, Core Lightning sometimes sets a lock time up to 99 blocks in the past (`default_locktime`), and
Bitcoin Knots relays no transaction with 21 (`parasite-cat21`).
"""


def bitcoin_cli(password: str) -> tuple[str, ...]:
    """Return the bitcoin-cli command, without arguments."""
    return ("bitcoin-cli", "-regtest", f"-rpcuser={RPC_USER}", f"-rpcpassword={password}")


def bitcoind_service(chain: ChainSpec, image: str, password: str) -> dict[str, Any]:
    """Return bitcoind's compose service. It flushes its state to disk after each block, so that SIGKILL loses no block:
    nodes do not recover on a chain that is shorter than the one they have seen. A loop in its container keeps the chain
    fresh.
    """
    flush = f"{' '.join(bitcoin_cli(password))} gettxoutsetinfo none"
    # At most one flush runs and one waits, even if many blocks arrive at the same time.
    notify = f"[ -e /tmp/flush ] || {{ touch /tmp/flush; flock /tmp/flushing sh -c 'rm -f /tmp/flush; {flush}'; }}"
    return {
        "image": chain.image or image,
        "entrypoint": ["bitcoind"],
        "command": [
            "-regtest",
            f"-datadir={BITCOIND_DIR}",
            "-printtoconsole",
            "-server",
            "-listen=0",
            "-disablewallet",
            "-txindex",
            f"-rpcuser={RPC_USER}",
            f"-rpcpassword={password}",
            "-rpcbind=0.0.0.0",
            "-rpcallowip=0.0.0.0/0",
            "-rpcworkqueue=256",
            f"-blocknotify={notify} >/dev/null 2>&1",
            "-zmqpubrawblock=tcp://0.0.0.0:28332",
            "-zmqpubrawtx=tcp://0.0.0.0:28333",
            *([f"-startupnotify={_keep_fresh(password)}"] if chain.keep_fresh else []),
            *chain.args,
        ],
        "volumes": [volume("bitcoind", BITCOIND_DIR)],
        "ports": [f"127.0.0.1::{RPC_PORT}"],
        "stop_grace_period": "30s",
    }


def _keep_fresh(password: str) -> str:
    """Return an endless shell script that mines a block when the last is FRESH_SECONDS old, by this machine's clock."""
    return f"""while sleep {LOOK_SECONDS}; do
  {_mine_if_stale(" ".join(bitcoin_cli(password)))}
done >/dev/null 2>&1"""


def miner_service(image: str, password: str, keep_fresh: bool) -> dict[str, Any]:
    """Return the service that mines the first blocks and exits. If they exist, after a restart or from a snapshot, it
    mines at most one: if the chain is kept fresh and the last block is FRESH_SECONDS old.
    """
    cli = " ".join([*bitcoin_cli(password), "-rpcconnect=bitcoind", "-rpcwait", "-rpcwaittimeout=60"])
    return {
        "image": image,
        "entrypoint": ["sh", "-c"],
        "command": [
            f"""height=$({cli} getblockcount) || exit 1
[ "$height" -ge {BLOCKS_AT_START} ] || exec {cli} generatetoaddress {BLOCKS_AT_START} {MINER_ADDRESS}"""
            + (f"\n{_mine_if_stale(cli)}" if keep_fresh else "")
        ],
        "depends_on": ["bitcoind"],
    }


def _mine_if_stale(cli: str) -> str:
    """Return a shell script that mines a block if the last one is FRESH_SECONDS old, and bitcoind answers."""
    return f"""mined=$({cli} getblockheader "$({cli} getbestblockhash)" | sed -n 's/.*"time": *\\([0-9]*\\).*/\\1/p')
  if [ -n "$mined" ] && [ $(($(date +%s) - mined)) -ge {FRESH_SECONDS} ]; then
    {cli} generatetoaddress 1 {MINER_ADDRESS}
  fi"""


def miner_key() -> "Key":
    """The key of the testbed's coins. It is not secret: regtest coins have no value."""
    _prepare_bitcoinlib()
    from bitcoinlib.keys import Key

    return Key(hashlib.sha256(b"testbed miner").digest(), network="regtest")


def _prepare_bitcoinlib() -> None:
    """Redirect bitcoinlib's settings and log, which it writes when it is imported, to the testbed's cache."""
    os.environ.setdefault("BCL_DATA_DIR", str(cache_folder("bitcoinlib")))


class Chain:
    """One bitcoind. Safe to use from several threads."""

    def __init__(self, address: str, password: str) -> None:
        self._url = f"http://{address}/"
        self._authentication = (RPC_USER, password)

    def call(self, method: str, *arguments: Any) -> Any:
        """Call any RPC of bitcoind; amounts in BTC are Decimal. Raises NodeError with bitcoind's message."""
        request = {"method": method, "params": arguments, "id": 1}
        try:
            answer = local_http.call("POST", self._url, body=request, auth=self._authentication, timeout_seconds=30)
            said = json.loads(answer.text, parse_float=Decimal)
            error, result = said["error"], said["result"]
        except (requests.RequestException, ValueError, LookupError, TypeError) as problem:
            raise NodeError(f"bitcoind does not answer {method}: {problem}") from None
        if error is not None:
            raise NodeError(f"bitcoind refused {method}: {error['message']}")
        return result

    @property
    def height_blocks(self) -> int:
        """The height of the best block."""
        return int(self.call("getblockcount"))

    def mine(self, blocks: int = 1) -> int:
        """Mine blocks immediately and return the new height."""
        self.call("generatetoaddress", blocks, MINER_ADDRESS)
        return self.height_blocks

    def reorganise(self, blocks: int) -> int:
        """Replace the last blocks by one more block than there were. Return the new height.

        Their transactions return to the mempool, and are mined again.
        """
        self.call("invalidateblock", self.call("getblockhash", self.height_blocks - blocks + 1))
        self.call("generatetoaddress", blocks + 1, RIVAL_ADDRESS)
        return self.height_blocks

    def mempool(self) -> list[str]:
        """Return the ids of the transactions in the mempool."""
        return list(self.call("getrawmempool"))

    def transaction(self, txid: str, block_hash: str | None = None) -> "Transaction":
        """Return a transaction of the mempool, or of the given block, decoded by bitcoinlib."""
        _prepare_bitcoinlib()
        from bitcoinlib.transactions import Transaction

        raw = self.call("getrawtransaction", txid, False, *([block_hash] if block_hash else []))
        # In strict mode bitcoinlib parses every witness item as a script, and rejects preimages.
        return Transaction.parse_hex(raw, strict=False, network="regtest")

    def spender(self, txid: str, output: int, since_height: int) -> "Transaction | None":
        """The transaction that spends this output, in the mempool or in a block from this height on; None: unspent."""
        for candidate in self._transactions(since_height):
            for spent in candidate.inputs:
                if (spent.prev_txid.hex(), spent.output_n_int) == (txid, output):
                    return candidate
        return None

    def _transactions(self, since_height: int) -> "Iterator[Transaction]":
        for height in range(since_height, self.height_blocks + 1):
            block_hash = self.call("getblockhash", height)
            _, *others = self.call("getblock", block_hash)["tx"]  # the first one is the coinbase
            yield from (self.transaction(txid, block_hash) for txid in others)
        yield from map(self.transaction, self.mempool())

    def send(self, outputs_sat: list[tuple[str, int]]) -> str:
        """Pay many addresses in one transaction from the testbed's coins. Return its id. It is not mined yet.


        Raises NodeError if the testbed's mature coins do not suffice.
        """
        needed_sat = sum(sat for _, sat in outputs_sat) + FEE_SAT
        coins = self._coins(needed_sat)
        key = miner_key()
        from bitcoinlib.transactions import Transaction

        transaction = Transaction(network="regtest", witness_type="segwit")
        for coin in coins:
            transaction.add_input(
                coin["txid"],
                coin["vout"],
                keys=key,
                value=_sat(coin),
                witness_type="segwit",
                sequence=0xFFFFFFFD,
            )
        for address, sat in outputs_sat:
            transaction.add_output(sat, address)
        change_sat = sum(map(_sat, coins)) - needed_sat
        if change_sat > 1_000:  # less is dust
            transaction.add_output(change_sat, MINER_ADDRESS)
        transaction.sign(key)
        return str(self.call("sendrawtransaction", transaction.raw_hex()))

    def _coins(self, needed_sat: int) -> list[Mapping[str, Any]]:
        """Return mature coins of the testbed, oldest first, that suffice for the amount."""
        found = self.call("scantxoutset", "start", [f"addr({MINER_ADDRESS})"])
        mature_height = found["height"] - COINBASE_MATURITY_BLOCKS + 1
        spendable = sorted(
            (coin for coin in found["unspents"] if not coin["coinbase"] or coin["height"] <= mature_height),
            key=lambda coin: int(coin["height"]),
        )
        chosen: list[Mapping[str, Any]] = []
        for coin in spendable:
            if sum(map(_sat, chosen)) >= needed_sat:
                break
            chosen.append(coin)
        if sum(map(_sat, chosen)) < needed_sat:
            raise NodeError(
                f"the testbed needs {needed_sat} sat and has {sum(map(_sat, chosen))} sat mature. Mine blocks first"
            )
        return chosen


def _sat(coin: Mapping[str, Any]) -> int:
    return int(coin["amount"] * 100_000_000)
