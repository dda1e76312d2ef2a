"""A story as one self-contained HTML file: it needs no network and no other file.

Untrusted text cannot become markup: the story is compressed JSON in base64, and the script shows it only as text. A
content security policy allows only this script and this style, by their hashes.
"""

import base64
import gzip
import hashlib
from importlib.resources import files

from harness.timeline.model import Timeline

SCRIPTS = ("data.js", "draw.js", "views.js", "main.js")


def page(story: Timeline) -> str:
    """Return the HTML file."""
    script = "\n".join([*map(web_file, SCRIPTS), "main();\n"])
    style = web_file("timeline.css")
    policy = (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"CSP": policy, "STYLE": style, "SCRIPT": script, "STORY": data_block(story)}
    head, *pieces = web_file("timeline.html").split("@")
    filled = [parts.get(piece, piece) for piece in pieces]
    return head + "".join(filled)


def data_block(story: Timeline) -> str:
    """Return the story's JSON for a `<script>` element: gzip in base64, a tenth of its size."""
    return base64.b64encode(gzip.compress(story.as_json_bytes(), mtime=0)).decode()


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def web_file(name: str) -> str:
    """Return a script or style of the page; the live page (harness.ui) uses the same ones."""
    return (files("harness.timeline") / "web" / name).read_text(encoding="utf-8")
