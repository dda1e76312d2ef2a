"""The testbed's own certificate authority: trusted for the one name that it was made for."""

import asyncio
import ssl
from pathlib import Path

import pytest

from harness.services.push_gateway import Authority


async def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    listening = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=server)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname=name)
        writer.close()


@pytest.fixture
def authority() -> Authority:
    return Authority.for_server("push")


@pytest.fixture
def server(authority: Authority, tmp_path: Path) -> ssl.SSLContext:
    (tmp_path / "server.pem").write_text(authority.server)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem")
    return context


@pytest.mark.parametrize("name", ["push", "127.0.0.1"])
def test_whoever_trusts_it_is_sure_to_talk_to_the_gateway(
    authority: Authority, server: ssl.SSLContext, name: str
) -> None:
    asyncio.run(handshake(server, ssl.create_default_context(cadata=authority.ca), name))


def test_it_vouches_for_no_other_name(authority: Authority, server: ssl.SSLContext) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        asyncio.run(handshake(server, ssl.create_default_context(cadata=authority.ca), "toxiproxy"))


def test_another_testbed_s_authority_does_not_vouch_for_it(server: ssl.SSLContext) -> None:
    other = Authority.for_server("push")
    with pytest.raises(ssl.SSLCertVerificationError):
        asyncio.run(handshake(server, ssl.create_default_context(cadata=other.ca), "push"))
