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
        ("", "lsp.toml: node: Field required"),
        ("[node", "lsp.toml is not TOML"),
        (
            GOOD.replace('"lnd"', '"eclair"'),
            "lsp.toml: node: Input tag 'eclair' found using 'implementation' does not match any of the expected tags",
        ),
        (GOOD.replace("localhost:10009", "localhost"), "lsp.toml: node.lnd.address: "),
        (GOOD.replace("macaroon =", "makaroon ="), "lsp.toml: node.lnd.makaroon: Extra inputs are not permitted"),
        (
            GOOD + "[policy]\nmax_hold = 1\n",
            "lsp.toml: policy: there is no limit named max_hold; known",
        ),
        (GOOD + '[policy]\nmax_holds = "many"\n', "lsp.toml: policy.max_holds: Input should be a valid integer"),
        (GOOD + '[webhooks]\nallowed_networks = ["here"]\n', "lsp.toml: webhooks.allowed_networks.0"),
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
            "lsp.toml: node.cln.rpc_file: the path of the socket /",
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
    with pytest.raises(ConfigError, match=r"lsp\.toml cannot be read: No such file or directory"):
        load(file, LspConfig)


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
        ("[policy]\nslack = 1\n", "lsp.toml: policy: there is no limit named slack; known"),
        ('[policy]\nslack_blocks = "few"\n', "lsp.toml: policy"),
        ("[webhooks]\n", "lsp.toml: webhooks: Extra inputs are not permitted"),
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
