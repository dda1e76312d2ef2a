"""The page is one file that needs nothing else, and nothing that came from outside becomes a part of it."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.timeline import recording
from harness.timeline.model import Event, Kind, Lane, Timeline, read_story
from harness.timeline.page import data_block, page
from harness.timeline.story import tell

RECORDINGS = Path(__file__).parent / "recordings"
HOSTILE = "</script><img src=x onerror=alert(1)><!--<script>\u2028]]>'\"`${1}&lt;@STORY@"


class Parts(HTMLParser):
    """What a browser takes the page apart into: tags, attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._within = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._within = tag
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_data(self, data: str) -> None:
        if self._within in self.raw:
            self.raw[self._within][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._within = ""


def story_in(data: str) -> bytes:
    """The JSON in a page's data block."""
    return gzip.decompress(base64.b64decode(data))


@pytest.fixture(scope="module")
def told() -> str:
    return page(tell(recording.read(RECORDINGS / "mixed")))


def test_the_page_has_its_story_and_loads_nothing(told: str) -> None:
    parts = Parts(told)
    data, _ = parts.raw["script"]
    assert len(read_story(story_in(data), "x").payments[0].steps) == 8
    assert not {"link", "img", "iframe", "object", "base"} & set(parts.tags)
    assert not {"src", "href", "action", "style"} & {name for name, _ in parts.attributes}
    assert not [name for name, _ in parts.attributes if name.startswith("on")]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", told)


def test_the_policy_allows_this_script_and_this_style_and_nothing_else(told: str) -> None:
    parts = Parts(told)
    (policy,) = [value for name, value in parts.attributes if value and value.startswith("default-src")]

    def digest(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "script-src": digest(parts.raw["script"][1]),
        "style-src": digest(parts.raw["style"][0]),
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_script_makes_no_markup_of_texts(told: str) -> None:
    script = Parts(told).raw["script"][1]
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|setTimeout\(\s*['\"]|DOMParser|srcdoc"
    )
    assert not re.search(forbidden, script)


def hostile_story(text: str) -> Timeline:
    event = Event(time=1, lane=text, kind=Kind.COMPONENT, what=text, text=text, because=text, to=text, source=text)
    return Timeline(testbed=text, topology=text, lanes=(Lane(name=text, kind=text),), events=(event,), problems=(text,))


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=80) | st.sampled_from([HOSTILE, "</SCRIPT >", "<!--", "-->", "@SCRIPT@"]))
def test_no_text_leaves_its_data_block(text: str) -> None:
    story = hostile_story(text)
    # Browsers end a script at more than this parser does: `</script` and a space is enough.
    assert re.fullmatch(r"[A-Za-z0-9+/]+=*", data_block(story))
    parts = Parts(page(story))
    plain = Parts(page(Timeline(testbed="x")))
    assert parts.tags == plain.tags
    assert parts.raw["script"][1] == plain.raw["script"][1]
    assert json.loads(story_in(parts.raw["script"][0])) == json.loads(json.dumps(story.as_json()))
