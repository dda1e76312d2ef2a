"""The configuration files: defaults, and complaints that name file and field."""

from pathlib import Path

import pytest
import typer

from asyncpay.cli import common
from asyncpay.config import ClnConfig, ConfigError, LspConfig, WalletConfig, load

GOOD = """
[node]
implementation = "lnd"
address = "localhost:10009"
tls_certificate = "/lnd/tls.cert"
macaroon = "/lnd/admin.macaroon"

[store]
path = "/data/lsp.sqlite"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lsp.toml"


def test_the_shortest_file(file: Path) -> None:
    file.write_text(GOOD, encoding="utf-8")
    config = load(file, LspConfig)
    assert config.policy.max_holds == 483
    assert config.webhooks.allowed_networks == ()
    assert config.store.socket == Path("/data/lsp.sqlite.sock")


def test_core_lightning_instead(file: Path) -> None:
    store = GOOD[GOOD.index("[store]") :]
    file.write_text(f'[node]\nimplementation = "cln"\nrpc_file = "/cln/rpc.sock"\n{store}', encoding="utf-8")
    node = load(file, LspConfig).node
    assert isinstance(node, ClnConfig)
    assert node.rpc_file == Path("/cln/rpc.sock")


def test_limits_and_networks(file: Path) -> None:
    more = '[webhooks]\nallowed_networks = ["172.16.0.0/12"]\n[policy]\nmax_holds = 7\nwake_timeout_seconds = 1.5\n'
    file.write_text(GOOD + more, encoding="utf-8")
    config = load(file, LspConfig)
    assert (config.policy.max_holds, config.policy.wake_timeout_seconds) == (7, 1.5)
    assert str(config.webhooks.allowed_networks[0]) == "172.16.0.0/12"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lsp.toml: node: is missing\nlsp.toml: store: is missing"),
        ("[node", "lsp.toml is not TOML"),
        (
            GOOD.replace('"lnd"', '"eclair"'),
            "lsp.toml: node.implementation: there is no implementation 'eclair' (there are: lnd, cln, ldk)",
        ),
        (
            GOOD.replace('implementation = "lnd"', ""),
            "lsp.toml: node.implementation: is missing (one of: lnd, cln, ldk)",
        ),
        (GOOD.replace("localhost:10009", "localhost"), "lsp.toml: node.address: must be HOST:PORT, not 'localhost'"),
        (
            GOOD.replace("macaroon =", "makaroon ="),
            "lsp.toml: node.macaroon: is missing\nlsp.toml: node.makaroon: is not a known field "
            "(known: implementation, address, tls_certificate, macaroon)",
        ),
        (GOOD + "[metric]\n", "lsp.toml: metric: is not a known field (known: node, store, webhooks, metrics, policy)"),
        (GOOD + "[metrics]\nprt = 1\n", "lsp.toml: metrics.prt: is not a known field (known: port, host)"),
        (GOOD + "[metrics]\nport = 99999\n", "lsp.toml: metrics.port: must be less than or equal to 65535, not 99999"),
        ('node = "lnd"\nstore = 3\n', "lsp.toml: node: must be a section, [node]\nlsp.toml: store: must be a section"),
        (
            GOOD + "[policy]\nmax_hold = 1\n",
            "lsp.toml: policy: there is no limit named max_hold. Did you mean max_holds?",
        ),
        (
            GOOD + "[policy]\nnosuch = 1\n",
            "lsp.toml: policy: there is no limit named nosuch; known limits are max_holds, ",
        ),
        (GOOD + '[policy]\nmax_holds = "many"\n', "lsp.toml: policy.max_holds: must be a valid integer, not 'many'"),
        (GOOD + "[policy]\nmax_holds = -3\n", "policy: max_holds must be a number from 0 to 2^63-1, not -3"),
        (GOOD + "[policy]\npace_seconds = nan\n", "policy: pace_seconds must be a number from 0 to 2^63-1, not nan"),
        (GOOD + "[policy]\npace_seconds = inf\n", "policy: pace_seconds must be a number from 0 to 2^63-1, not inf"),
        (
            GOOD + '[webhooks]\nallowed_networks = ["10.1.0.0/33"]\n',
            "lsp.toml: webhooks.allowed_networks: '10.1.0.0/33' does not appear to be an IPv4 or IPv6 network. "
            "Write a network like 10.1.0.0/16",
        ),
        (GOOD + "[webhooks]\nallowed_networks = [7]\n", "lsp.toml: webhooks.allowed_networks: 7 is not text"),
    ],
)
def test_complaints(file: Path, text: str, said: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, LspConfig)
    assert said in str(caught.value).replace(str(file), "lsp.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GOOD.replace("/data/lsp.sqlite", f"/data/{'x' * 120}"),
            "lsp.toml: store.path: the path of the socket /data/",
        ),
        (GOOD.replace("/data/lsp.sqlite", "/data/\\u0000"), "lsp.toml: store.path: the path contains a zero"),
        (GOOD.replace("/data/lsp.sqlite", "/"), "lsp.toml: store.path: / is a directory. Name a file"),
        (
            f'[node]\nimplementation = "cln"\nrpc_file = "/{"x" * 107}"\n[store]\npath = "lsp.sqlite"\n',
            "lsp.toml: node.rpc_file: the path of the socket /",
        ),
    ],
)
@pytest.mark.parametrize("kind", [LspConfig, WalletConfig])
def test_paths_that_no_socket_can_have(file: Path, kind: type, text: str, said: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, kind)
    assert said in str(caught.value).replace(str(file), "lsp.toml")


def test_the_longest_path_that_a_socket_can_have(file: Path) -> None:
    longest = "/" + "x" * (107 - len("/.sock"))
    file.write_text(GOOD.replace("/data/lsp.sqlite", longest), encoding="utf-8")
    assert load(file, LspConfig).store.path == Path(longest)


def test_no_file(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"lsp\.toml cannot be read: No such file .*--config or ASYNCPAY_LSP_CONFIG"):
        load(file, LspConfig)
    with pytest.raises(ConfigError, match="--config or ASYNCPAY_WALLET_CONFIG"):
        load(file, WalletConfig)


def test_a_wallet_s_shortest_file(file: Path) -> None:
    file.write_text(GOOD, encoding="utf-8")
    config = load(file, WalletConfig)
    assert config.lsp.node_id is None
    assert (config.payer_policy.slack_blocks, config.payee_policy.max_releases) == (432, 20)


def test_a_wallet_s_policy_is_the_payer_s_and_the_payee_s(file: Path) -> None:
    more = f'[lsp]\nnode_id = "{"02" * 33}"\n[policy]\nslack_blocks = 7\nmax_releases = 8\n'
    file.write_text(GOOD + more, encoding="utf-8")
    config = load(file, WalletConfig)
    assert config.lsp.node_id == b"\x02" * 33
    assert (config.payer_policy.slack_blocks, config.payee_policy.max_releases) == (7, 8)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[lsp]\nnode_id = "02ff"\n', "lsp.toml: lsp.node_id: a node id is 66 hex digits"),
        ("[lsp]\naddress = 'lsp.example.com'\n", "lsp.toml: lsp.address: must be HOST:PORT, not 'lsp.example.com'"),
        ("[policy]\nslack = 1\n", "lsp.toml: policy: there is no limit named slack; known"),
        ("[policy]\nmax_relases = 1\n", "there is no limit named max_relases. Did you mean max_releases?"),
        ('[policy]\nslack_blocks = "few"\n', "lsp.toml: policy: slack_blocks must be a valid integer, not 'few'"),
        ("[policy]\nslack_blocks = -1\n", "lsp.toml: policy: slack_blocks must be a number from 0"),
        ("[webhooks]\n", "lsp.toml: webhooks: is not a known field (known: node, store, lsp, policy)"),
    ],
)
def test_complaints_about_a_wallet_s_file(file: Path, text: str, said: str) -> None:
    file.write_text(GOOD + text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, WalletConfig)
    assert said in str(caught.value).replace(str(file), "lsp.toml")


def test_a_sentence_is_shown_to_the_letter(capsys: pytest.CaptureFixture[str]) -> None:
    """Square brackets are no markup of a terminal's."""
    with pytest.raises(typer.Exit):
        common.fail("name it by node_id under [lsp]", 2)
    assert "under [lsp]" in capsys.readouterr().err
