"""The timeline of a held payment, from running real nodes."""

import json
import subprocess
import sys
from typing import Any

import pytest

from harness.waits import Predicate, wait_for
from tests.support.payment_harness import PaymentHarness

pytestmark = pytest.mark.seconds(12)

STEPS = [(1, "A"), (2, "LSP_a"), (3, "LSP_a"), (4, "A"), (5, "B"), (6, "B"), (7, "LSP_a"), (8, "A")]
HOPS = [("A", "LSP_a"), ("LSP_a", "router"), ("router", "LSP_b"), ("LSP_b", "B")]


def told(testbed: str, payment_hash: str) -> dict[str, Any]:
    """Return the output of the command."""
    call = [sys.executable, "-c", "from harness.cli.main import main; main()"]
    arguments = ["timeline", payment_hash[:12], "--json", "--testbed", testbed]
    done = subprocess.run([*call, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    story: dict[str, Any] = json.loads(done.stdout)
    return story


def test_the_story_of_a_held_payment(payments: PaymentHarness) -> None:
    """All eight steps in order, each hop's HTLC with all its states, and the phones' offline times."""
    case = payments.new_case()
    payments.b.disconnect()
    case.hand_over()
    payments.a.disconnect()
    payments.b.reconnect()
    case.wait_until_paid()
    payments.a.reconnect()
    case.wait_until("settled")
    payments.assert_paid(case)

    story: dict[str, Any] = {}

    def unfinished() -> str | None:
        """The engine receives log lines slightly later than nodes and wallets write them."""
        story.update(told(payments.testbed.name, case.payment_hash))
        ends = [htlc.get("end") for htlc in story.get("htlcs", ())]
        return None if len(story["payments"][0]["steps"]) == 8 and ends == ["settled"] * 4 else f"HTLCs: {ends}"

    wait_for(Predicate("story_told", unfinished), 20)
    (payment,) = story["payments"]
    assert [(step["number"], step["lane"]) for step in payment["steps"]] == STEPS
    times = [step["time"] for step in payment["steps"]]
    assert times == sorted(times)
    marked = [(event["step"], event["lane"]) for event in story["events"] if event.get("step")]
    assert marked == STEPS, "the events say the same, in the same order"

    assert [(htlc["from_lane"], htlc["to"]) for htlc in story["htlcs"]] == HOPS
    assert {htlc["payment_hash"] for htlc in story["htlcs"]} == {case.payment_hash}
    assert [htlc["amount_msat"] for htlc in story["htlcs"]][-1] == case.amount_msat
    first = story["htlcs"][0]
    assert first["offered"] < first["held"] < first["resolved"] <= first["ended"]
    assert payment["steps"][3]["time"] < first["resolved"], "it was held when A handed over"
    kinds = {event["kind"] for event in story["events"]}
    assert {"decision", "htlc", "onion message", "custom message", "push", "phone", "component"} <= kinds
    done = [(event["lane"], event["what"]) for event in story["events"] if event["source"] == "testbed"]
    assert ("A", "disconnect") in done
    assert ("B", "reconnect") in done
