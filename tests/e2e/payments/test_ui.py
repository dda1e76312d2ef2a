"""Another program drives a testbed over HTTP: `testbed ui` on real nodes."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from harness.ui.watcher import Watcher
from harness.waits import Predicate, wait_for
from tests.support.payment_harness import AMOUNT_MSAT, PaymentCase, PaymentHarness
from tests.support.served_ui import served

pytestmark = pytest.mark.seconds(14)

VERB_SECONDS = 120


@pytest.fixture
def api(payments: PaymentHarness) -> Iterator[httpx.Client]:
    with (
        served(Watcher(payments.testbed.name)) as url,
        httpx.Client(base_url=f"{url}api/", timeout=VERB_SECONDS, trust_env=False) as client,
    ):
        yield client


def do(api: httpx.Client, path: str, **arguments: object) -> dict[str, Any]:
    said = api.post(path, json=arguments)
    assert said.status_code == 200, said.text
    answer: dict[str, Any] = said.json()
    return answer


def told(api: httpx.Client) -> list[dict[str, Any]]:
    """All events that the server knows, as a reader gets them."""
    found: list[dict[str, Any]] = []
    after = 0
    while news := (page := api.get("events", params={"after": after}).json())["events"]:
        found += news
        after = page["last"]
    return found


def test_a_payment_that_is_held_is_made_over_http(payments: PaymentHarness, api: httpx.Client) -> None:
    """A pays B while B is away, and each of the two sees the other's part only when it is back."""
    invoice = do(api, "wallets/B/receive", amount=f"{AMOUNT_MSAT}msat", description="<b>coffee</b>")
    case = PaymentCase(payments.a, payments.b, invoice["invoice"], invoice["payment_hash"], AMOUNT_MSAT)
    assert do(api, "phones/B/disconnect")["link"] == "disconnected"
    assert do(api, "wallets/A/pay", invoice=invoice["invoice"])["state"] == "handed over"

    status = api.get("status").json()
    (first,) = [channel for channel in status["channels"] if channel["ends"] == ["A", "LSP_a"]]
    assert (first["htlcs"], first["payment_hashes"]) == (1, [case.payment_hash])
    lsp = next(each for each in status["components"] if each["node"] == "LSP_a")
    (block,) = [each for each in lsp["said"]["blocks"] if case.payment_hash in each["payment_hashes"]]
    assert (block["finished"], block["amount_msat"] >= AMOUNT_MSAT) == (False, True)
    sent = next(phone for phone in status["phones"] if phone["name"] == "A")["payments"]["sent"]
    assert case.payment_hash in [each["payment_hash"] for each in sent]

    do(api, "phones/A/disconnect")
    do(api, "phones/B/reconnect")
    case.wait_until_paid()
    do(api, "phones/A/reconnect")
    case.wait_until("settled")
    payments.assert_paid(case)

    def missing() -> str | None:
        steps = {each.get("step") for each in told(api) if case.payment_hash in each.get("payment_hashes", ())}
        return None if steps >= set(range(1, 9)) else f"the events have the steps {steps}"

    wait_for(Predicate("all_steps_told", missing), 30)
    done = [(each["lane"], each["what"]) for each in told(api) if each.get("source") == "testbed"]
    assert ("A", "disconnect") in done

    refused = api.post("pay", json={"payer": "A", "payee": "nobody", "amount": "1sat"})
    assert (refused.status_code, "has no node nobody" in refused.json()["error"]) == (400, True)
