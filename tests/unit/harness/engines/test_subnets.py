"""The network of a testbed is in nobody's way."""

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from harness.engines import subnets
from harness.engines.base import EngineError
from harness.engines.subnets import POOL, free_subnet

HEAD = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
DEFAULT = "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"


def little_endian(number: int) -> str:
    return number.to_bytes(4, "little").hex().upper()


def routes(file: Path, *networks: IPv4Network) -> Path:
    lines = [
        f"br-1\t{little_endian(int(each.network_address))}\t00000000\t0001\t0\t0\t0\t"
        f"{little_endian(int(each.netmask))}\t0\t0\t0\n"
        for each in networks
    ]
    file.write_text(HEAD + DEFAULT + "".join(lines))
    return file


@pytest.mark.parametrize(("services", "prefix"), [(5, 26), (60, 26), (62, 25), (300, 23)])
def test_there_is_room_for_every_service(services: int, prefix: int, tmp_path: Path) -> None:
    found = free_subnet(services, routes(tmp_path / "route"))
    assert found.prefixlen == prefix
    assert found.subnet_of(POOL)
    assert len(list(found.hosts())) - 1 >= services


def test_networks_that_are_there_are_left_alone(tmp_path: Path) -> None:
    lower, upper = POOL.subnets()
    file = routes(tmp_path / "route", lower)
    assert all(free_subnet(10, file).subnet_of(upper) for _ in range(50))


def test_none_free_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="remove testbeds"):
        free_subnet(10, routes(tmp_path / "route", POOL))


def test_the_very_table_of_this_machine_can_be_read() -> None:
    assert all(network.prefixlen for network in subnets._routed(subnets.ROUTES))
