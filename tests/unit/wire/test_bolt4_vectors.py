"""What the official vectors fix, byte for byte."""

from dataclasses import replace
from typing import Any

import pytest
from coincurve import PrivateKey

from asyncpay.wire import blinding, ecdh, onion
from asyncpay.wire.blinding import BlindedHop, BlindedPath, Hop, HopData
from asyncpay.wire.onion import Final, Forward, Payload
from tests.support.vectors import bolt04

unhex = bytes.fromhex


def public(secret: str) -> bytes:
    return PrivateKey(unhex(secret)).public_key.format()


def path_of(route: dict[str, Any], data_field: str) -> BlindedPath:
    hops = [BlindedHop(unhex(hop["blinded_node_id"]), unhex(hop[data_field])) for hop in route["hops"]]
    return BlindedPath(unhex(route["first_node_id"]), unhex(route["first_path_key"]), tuple(hops))


def own_part(data: HopData) -> HopData:
    """What the maker of a path writes by hand where `join` adds the rest."""
    return replace(data, next_path_key_override=None, next_node_id=None)


class TestOnionMessage:
    """blinded-onion-message-onion-test.json: Bob -> Carol -> Dave, joined behind Alice."""

    @pytest.fixture
    def vector(self) -> Any:
        return bolt04("blinded-onion-message-onion-test.json")

    @pytest.fixture
    def hops(self, vector: Any) -> list[Hop]:
        made = vector["generate"]["hops"]
        return [
            Hop(public(peeled["privkey"]), HopData.decode(unhex(hop["encrypted_data_tlv"])))
            for hop, peeled in zip(made, vector["decrypt"]["hops"], strict=True)
        ]

    def test_hop_data(self, vector: Any, hops: list[Hop]) -> None:
        alice, bob, carol, dave = (hop.data for hop in hops)
        tlvs = [hop["tlvs"] for hop in vector["generate"]["hops"]]
        assert alice == HopData(
            next_node_id=unhex(tlvs[0]["next_node_id"]),
            next_path_key_override=unhex(tlvs[0]["next_path_key_override"]),
        )
        assert bob == HopData(next_node_id=unhex(tlvs[1]["next_node_id"]), unknown_records=((561, unhex("123456")),))
        assert carol == HopData(padding=bytes(5), next_node_id=unhex(tlvs[2]["next_node_id"]))
        assert dave == HopData(
            padding=b"", path_id=unhex(tlvs[3]["path_id"]), unknown_records=((65535, unhex("06c1")),)
        )
        for hop, made in zip(hops, vector["generate"]["hops"], strict=True):
            assert hop.data.encode().hex() == made["encrypted_data_tlv"]

    def test_path_is_built_and_joined(self, vector: Any, hops: list[Hop]) -> None:
        alice, *foreign_hops = hops
        secrets = [unhex(hop["path_key_secret"]) for hop in vector["generate"]["hops"]]
        foreign = blinding.build(foreign_hops, secrets[1])
        path = blinding.join([replace(alice, data=own_part(alice.data))], foreign, secrets[0])
        assert path == path_of(vector["route"], "encrypted_recipient_data")

    def test_chain(self, vector: Any, hops: list[Hop]) -> None:
        secrets = [unhex(hop["path_key_secret"]) for hop in vector["generate"]["hops"]]
        alice = ecdh.chain(secrets[0], [hops[0].node_id])
        others = ecdh.chain(secrets[1], [hop.node_id for hop in hops[1:]])
        for (ephemeral, secret), made in zip([*alice, *others], vector["generate"]["hops"], strict=True):
            assert ephemeral.hex() == made["E"]
            assert secret.hex() == made["ss"]
            assert ecdh.derive(b"blinded_node_id", secret).hex() == made["HMAC256('blinded_node_id', ss)"]
            assert ecdh.derive(b"rho", secret).hex() == made["rho"]

    def test_onion_is_built(self, vector: Any) -> None:
        hello = Payload(unknown_records=((1, unhex(vector["onionmessage"]["unknown_tag_1"])),))
        path = path_of(vector["route"], "encrypted_recipient_data")
        message = onion.build(path, hello, unhex(vector["generate"]["session_key"]))
        assert message.path_key == path.first_path_key
        assert message.packet.hex() == vector["onionmessage"]["onion_message_packet"]

    def test_every_hop_is_peeled(self, vector: Any, hops: list[Hop]) -> None:
        *forwarding, last = vector["decrypt"]["hops"]
        for i, hop in enumerate(forwarding):
            peeled = peel_type_513(hop)
            assert isinstance(peeled, Forward)
            assert peeled.data == hops[i].data
            assert peeled.data.next_node_id == unhex(hop["next_node_id"])
            following = unhex(vector["decrypt"]["hops"][i + 1]["onion_message"])
            assert type_513(peeled.message) == following
        end = peel_type_513(last)
        assert isinstance(end, Final)
        assert end.data == hops[-1].data
        assert end.payload == Payload(
            encrypted_recipient_data=unhex(last["tlvs"]["encrypted_recipient_data"]),
            unknown_records=((1, b"hello"),),
        )


def peel_type_513(hop: dict[str, str]) -> Forward | Final:
    message = unhex(hop["onion_message"])
    return onion.peel(message[37:], message[2:35], PrivateKey(unhex(hop["privkey"])).ecdh)


def type_513(message: onion.OnionMessage) -> bytes:
    size = len(message.packet).to_bytes(2, "big")
    return unhex("0201") + message.path_key + size + message.packet


class TestRouteBlinding:
    """route-blinding-test.json: Bob -> Carol, joined in front of Dave -> Eve."""

    @pytest.fixture
    def vector(self) -> Any:
        return bolt04("route-blinding-test.json")

    def test_path_is_built_and_joined(self, vector: Any) -> None:
        made = vector["generate"]["hops"]
        hops = [Hop(unhex(hop["node_id"]), HopData.decode(unhex(hop["encoded_tlvs"]))) for hop in made]
        assert [hop.data.encode().hex() for hop in hops] == [hop["encoded_tlvs"] for hop in made]
        assert hops[0].data.short_channel_id == 1729
        bob, carol, dave, eve = hops
        foreign = blinding.build([dave, eve], unhex(made[2]["session_key"]))
        carol = replace(carol, data=own_part(carol.data))
        path = blinding.join([bob, carol], foreign, unhex(made[0]["session_key"]))
        assert path == path_of(vector["route"], "encrypted_data")

    def test_every_hop_is_opened(self, vector: Any) -> None:
        for hop, blinded in zip(vector["unblind"]["hops"], vector["route"]["hops"], strict=True):
            key = PrivateKey(unhex(hop["node_privkey"]))
            path_key = unhex(hop["path_key"])
            opened = blinding.open_hop(path_key, unhex(blinded["encrypted_data"]), key.ecdh)
            assert opened.data.encode().hex() == hop["decrypted_data"]
            assert opened.next_path_key.hex() == hop.get("next_path_key_override", hop["next_path_key"])
            assert ecdh.next_ephemeral(path_key, opened.shared_secret).hex() == hop["next_path_key"]
            blinded_key = key.multiply(ecdh.derive(b"blinded_node_id", opened.shared_secret))
            assert blinded_key.secret.hex() == hop["blinded_privkey"]
            assert ecdh.blind(key.public_key.format(), opened.shared_secret) == blinded_key.public_key.format()


class TestPaymentOnions:
    """Payments are not ours to wrap; the keys, and the blinded data in their onions, are the same."""

    def test_blinded_data_is_opened(self) -> None:
        vector = bolt04("blinded-payment-onion-test.json")
        route = vector["generate"]["blinded_route"]
        told = [hop["tlvs"]["encrypted_recipient_data"] for hop in vector["generate"]["full_route"]["hops"][1:]]
        path_key = unhex(route["first_path_key"])
        for i, peeled in enumerate(vector["decrypt"]["hops"][1:]):
            oracle = PrivateKey(unhex(peeled["node_privkey"])).ecdh
            opened = blinding.open_hop(path_key, unhex(route["hops"][i]["encrypted_data"]), oracle)
            assert (opened.data.padding or b"").hex() == told[i].get("padding", "")
            assert (opened.data.path_id or b"").hex() == told[i].get("path_id", "")
            assert f"0x0x{opened.data.short_channel_id}" == told[i].get("short_channel_id", "0x0xNone")
            assert opened.next_path_key.hex() == peeled["next_path_key"]
            path_key = opened.next_path_key

    def test_chain_of_a_plain_onion(self) -> None:
        vector = bolt04("onion-test.json")
        points = [unhex(hop["pubkey"]) for hop in vector["generate"]["hops"]]
        links = list(ecdh.chain(unhex(vector["generate"]["session_key"]), points))
        assert links[0][0] == unhex(vector["onion"])[1:34]
        for (ephemeral, secret), key in zip(links, vector["decode"], strict=True):
            assert PrivateKey(unhex(key)).ecdh(ephemeral) == secret

    def test_chain_of_a_blinded_onion(self) -> None:
        vector = bolt04("blinded-payment-onion-test.json")
        points = [unhex(hop["pubkey"]) for hop in vector["generate"]["full_route"]["hops"]]
        links = list(ecdh.chain(unhex(vector["generate"]["session_key"]), points))
        for (ephemeral, secret), peeled, following in zip(
            links, vector["decrypt"]["hops"], [*links[1:], None], strict=True
        ):
            assert ephemeral == unhex(peeled["onion"])[1:34]
            assert following is None or ecdh.next_ephemeral(ephemeral, secret) == following[0]
