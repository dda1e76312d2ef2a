"""Registration of webhooks: what is kept, what is refused and with which error."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncpay.engine.lsp.interface import WebhookRemoved, WebhookSet
from asyncpay.lsps.lsps5 import Client

from .support import PHONE, ask, webhook

URL = "https://push.example/wake?token=1234"


def client(*app_names: str) -> Client:
    return Client(PHONE, [webhook(app_name, URL) for app_name in app_names])


def set_webhook(who: Client, app_name: str = "phone", url: str = URL) -> tuple[dict[str, Any], Any]:
    return ask(who, "lsps5.set_webhook", {"app_name": app_name, "webhook": url})


def error(app_name: str = "phone", url: str = URL) -> int:
    said, event = set_webhook(client(), app_name, url)
    assert event is None
    code: int = said["error"]["code"]
    return code


# --- set ---


def test_a_new_webhook_is_for_the_engine_to_store() -> None:
    said, event = set_webhook(client("tablet"))
    assert said["result"] == {"num_webhooks": 2, "max_webhooks": 3, "no_change": False}
    assert event == WebhookSet(PHONE, "phone", URL)


def test_another_address_for_a_known_name_is_no_new_webhook_even_at_the_limit() -> None:
    said, event = set_webhook(client("phone", "tablet", "watch"), url="https://push.example/other")
    assert said["result"] == {"num_webhooks": 3, "max_webhooks": 3, "no_change": False}
    assert event == WebhookSet(PHONE, "phone", "https://push.example/other")


def test_the_same_again_changes_nothing() -> None:
    said, event = set_webhook(client("phone"))
    assert said["result"] == {"num_webhooks": 1, "max_webhooks": 3, "no_change": True}
    assert event is None


def test_503_one_more_than_the_limit() -> None:
    said, event = set_webhook(client("tablet", "watch", "fridge"))
    assert said["error"]["code"] == 503
    assert said["error"]["data"] == {"max_webhooks": 3}
    assert event is None


@pytest.mark.parametrize(
    ("longest", "too_long"),
    [
        ("x" * 64, "x" * 65),
        ("\N{SNOWMAN}" * 21, "\N{SNOWMAN}" * 22),  # 3 bytes each
        ("\n" * 32, "\n" * 33),  # 2 bytes with JSON's escape
        ("\0" * 10, "\0" * 11),  # 6 bytes
    ],
)
def test_500_an_app_name_over_64_bytes(longest: str, too_long: str) -> None:
    assert "result" in set_webhook(client(), longest)[0]
    assert error(app_name=too_long) == 500


def test_500_a_url_over_1024_characters() -> None:
    longest = URL + "x" * (1024 - len(URL))
    assert "result" in set_webhook(client(), url=longest)[0]
    assert error(url=longest + "x") == 500


@pytest.mark.parametrize(
    "url",
    [
        "",
        "push.example/x",
        "//push.example/x",
        "/x",
        "https:",
        "https:push.example",
        "https://",
        "https:///x",
        "https://?x",
        "https://[::1/x",
        "https://1.2.3.400/x",
        "https://push.example:0/x",
        "https://push.example:65536/x",
        "https://push.example:http/x",
        "https://push example/x",
        "https://push.example/a b",
        "https://push.example/\n",
        "https://push.example/\x7f",
        "https://push.example/\0",
        "https://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example/x",
        "https://user@push.example/x",
        "https://user:password@push.example/x",
        "https://xn--/",
        "https://xn--a/x",
        f"https://xn--{'a' * 500}/x",
    ],
)
def test_501_what_is_no_url(url: str) -> None:
    assert error(url=url) == 501


@pytest.mark.parametrize(
    "url",
    ["http://push.example/x", "ftp://push.example/x", "mailto:a@push.example", "file:///etc/passwd", "httpss://h"],
)
def test_502_what_is_not_https(url: str) -> None:
    assert error(url=url) == 502


@pytest.mark.parametrize(
    "url", ["https://h", "HTTPS://Push.Example/x", "https://push.example:8443/x?a=b#c", "https://[2001:db8::1]:1/"]
)
def test_https_urls_are_kept_as_they_were_given(url: str) -> None:
    said, event = set_webhook(client(), url=url)
    assert "result" in said
    assert event.url == url


@given(st.text(), st.text() | st.text().map("https://".__add__))
def test_every_name_and_address_is_registered_or_refused_with_a_known_error(app_name: str, url: str) -> None:
    said, event = set_webhook(client(), app_name, url)
    if event is None:
        assert said["error"]["code"] in (500, 501, 502)
    else:
        assert "result" in said
        assert len(event.app_name.encode()) <= 64
        assert event.url.lower().startswith("https://")


def test_a_stranger_cannot_make_the_lsp_remember_anything() -> None:
    said, event = set_webhook(Client(PHONE, has_channel=False))
    assert said["error"]["code"] == 1
    assert event is None


def test_after_the_last_channel_webhooks_can_still_be_listed_and_removed() -> None:
    former = Client(PHONE, [webhook()], has_channel=False)
    assert ask(former, "lsps5.list_webhooks")[0]["result"]["app_names"] == ["phone"]
    assert ask(former, "lsps5.remove_webhook", {"app_name": "phone"})[1] == WebhookRemoved(PHONE, "phone")


# --- list and remove ---


def test_list_tells_the_names() -> None:
    said, event = ask(client("phone", "tablet"), "lsps5.list_webhooks")
    assert said["result"] == {"app_names": ["phone", "tablet"], "max_webhooks": 3}
    assert event is None


def test_remove_takes_one_back() -> None:
    said, event = ask(client("phone", "tablet"), "lsps5.remove_webhook", {"app_name": "tablet"})
    assert said["result"] == {}
    assert event == WebhookRemoved(PHONE, "tablet")


def test_1010_remove_what_is_not_there() -> None:
    said, event = ask(client("phone"), "lsps5.remove_webhook", {"app_name": "tablet"})
    assert said["error"]["code"] == 1010
    assert event is None
