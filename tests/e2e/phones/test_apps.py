"""Node and wallet are apps of the phone: they sleep, wake, freeze, crash, and stay down when they are stopped."""

from typing import Any

import pytest

from harness.checks import balances
from harness.errors import NodeError
from harness.inside.interface import PhoneState
from harness.nodes.predicates import peers_connected, ready
from harness.services.phone import Phone
from harness.services.phone_container import NODE, WALLET, apps_running
from harness.testbed import Testbed
from harness.waits import Predicate, wait_for

AMOUNT_MSAT = 2_000_000


def apps(phone: Phone) -> dict[str, dict[str, Any]]:
    return {app["name"]: app for app in phone.container.status()["apps"]}


def started(phone: Phone, app: str, times: int) -> Predicate:
    def missing() -> str | None:
        starts = apps(phone)[app]["starts"]
        return None if starts == times and apps(phone)[app]["pid"] else f"{app} was started {starts} times"

    return Predicate(f"{app}_started", missing)


def test_a_sleeping_phone_runs_nothing_and_its_lsp_knows(testbed: Testbed, phone: Phone) -> None:
    before = balances.count(testbed)
    said = len(phone.events())
    with phone.asleep():
        assert phone.state() is PhoneState.ASLEEP
        assert [app["pid"] for app in apps(phone).values()] == [None, None]
        assert phone.node.node_id not in testbed["LSP"].peers()
        assert testbed.running() == [testbed["LSP"], testbed["sender"]]
        testbed.mine()  # does not wait for a sleeping node

        def missing() -> str | None:
            return None if "stopped" in (event["what"] for event in phone.events()[said:]) else "it is not in the log"

        wait_for(Predicate("last_word_of_the_wallet", missing))
        stopped = [event["what"] for event in phone.events()[said:]]
    assert not any("killed" in what for what in stopped)

    assert apps(phone)[NODE]["last_exit"] is None
    wait_for(testbed.channels_usable("A"), 60)
    testbed.pay("sender", "A", AMOUNT_MSAT)
    assert balances.count(testbed).moved_since(before)["A"] == AMOUNT_MSAT


def test_a_frozen_phone_leaves_its_connection_half_open(testbed: Testbed, phone: Phone) -> None:
    with phone.frozen():
        assert phone.state() is PhoneState.FROZEN
        assert [app["process_states"] for app in apps(phone).values()] == ["T", "T"]
        assert phone.node.node_id in testbed["LSP"].peers()
        with pytest.raises(NodeError, match="the phone is frozen"):
            phone.wake()
    assert not any("T" in app["process_states"] for app in apps(phone).values())
    testbed.pay("sender", "A", AMOUNT_MSAT)


@pytest.mark.parametrize("app", [NODE, WALLET])
def test_an_app_that_crashes_is_started_again(testbed: Testbed, phone: Phone, app: str) -> None:
    before = apps(phone)
    phone.container.do_to_app(app, "crash")
    wait_for(started(phone, app, before[app]["starts"] + 1))
    other = WALLET if app == NODE else NODE
    assert apps(phone)[other]["pid"] == before[other]["pid"]
    wait_for(ready(phone.node), 60)
    wait_for(phone.wallet.ready(), 60)


def test_an_app_that_was_killed_stays_down_until_it_is_started(phone: Phone) -> None:
    phone.container.do_to_app(WALLET, "kill")
    starts = apps(phone)[WALLET]["starts"]
    with phone.asleep():
        pass
    seen = apps(phone)[WALLET]
    assert (seen["pid"], seen["last_exit"], seen["starts"], seen["stays_down"]) == (None, -9, starts, True)
    phone.container.do_to_app(WALLET, "start")
    wait_for(started(phone, WALLET, starts + 1))
    wait_for(phone.wallet.ready(), 60)


def test_the_first_process_reaps_what_others_leave_behind(testbed: Testbed, phone: Phone) -> None:
    testbed.engine.output("A", ["sh", "-c", "sleep 0.1 & exit"])

    def missing() -> str | None:
        stats = testbed.engine.output("A", ["sh", "-c", "cat /proc/[0-9]*/stat"]).stdout.splitlines()
        states = {line.partition(" ")[2].rpartition(")")[0]: line.rpartition(")")[2].split()[0] for line in stats}
        return None if "Z" not in states.values() and "(sleep" not in states else f"processes {states}"

    wait_for(Predicate("no_zombie", missing))


def test_a_phone_whose_battery_is_taken_out_comes_back(testbed: Testbed, phone: Phone) -> None:
    testbed.engine.kill("A")
    testbed.engine.start("A")
    phone.node.forget_connection()
    wait_for(apps_running(phone.container))
    wait_for(ready(phone.node), 60)
    wait_for(peers_connected(phone.node, testbed["LSP"]), 60)
    wait_for(phone.wallet.ready(), 60)
