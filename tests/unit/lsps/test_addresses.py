"""Where webhooks may point: the public internet, and what the operator adds."""

from ipaddress import ip_network

import pytest

from asyncpay.lsps import addresses


def permitted(text: str, *networks: str) -> bool:
    return addresses.permitted(addresses.read(text), [ip_network(each) for each in networks])


@pytest.mark.parametrize("text", ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"])
def test_public_addresses(text: str) -> None:
    assert permitted(text)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.0.1",
        "169.254.169.254",  # metadata of most clouds
        "168.63.129.16",  # of Azure
        "100.100.100.200",  # of Alibaba
        "192.0.0.192",  # of Oracle
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "ff0e::1",
        "2001:db8::1",
        # IPv4 in other clothes: mapped, compatible, 6to4, NAT64, Teredo
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:a9fe:a9fe",
        "::7f00:1",
        "2002:7f00:1::",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "2001:0:a00:1::",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    assert not permitted(text)


def test_the_operator_may_allow_networks() -> None:
    assert permitted("172.20.0.5", "172.16.0.0/12")
    assert permitted("fd00::5", "10.0.0.0/8", "fd00::/8")
    assert permitted("1.1.1.1", "172.16.0.0/12")
    assert not permitted("192.168.0.1", "172.16.0.0/12")
    assert not permitted("::1", "127.0.0.0/8")


def test_an_allowed_network_holds_for_its_mapped_form_too() -> None:
    assert permitted("::ffff:172.20.0.5", "172.16.0.0/12")
    assert str(addresses.read("::ffff:172.20.0.5")) == "172.20.0.5"
