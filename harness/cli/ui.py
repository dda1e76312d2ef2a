"""`testbed ui`: a page for a running testbed, and its HTTP API."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import AsJson, Which, err, errors_as_sentences, out


def ui(
    which: Which = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port")] = 0,
    bind: Annotated[
        str,
        typer.Option(
            metavar="IP", help="an address other than loopback: everyone who reaches it and knows the token can use it"
        ),
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option("--open", help="open it in the browser of this desktop")] = False,
    openapi: Annotated[bool, typer.Option("--openapi", help="print the API's OpenAPI document, and exit")] = False,
    as_json: AsJson = False,
) -> None:
    """Serve a page that shows and controls a running testbed, and the HTTP API of that page, until Ctrl-C.

    The printed address contains a token, which grants the same access as this command line. See docs/ui.md.
    """
    if openapi:
        from harness.ui.api import web
        from harness.ui.watcher import Watcher

        print(json.dumps(web(Watcher("any")).openapi(), indent=2))
        return
    with errors_as_sentences():
        from harness.testbed import Testbed
        from harness.ui.server import Server
        from harness.ui.watcher import Watcher

        name = Testbed.attach(which).name
        server = Server(Watcher(name), bind, port)
        url = server.address.url
        if as_json:
            print(json.dumps({"testbed": name, "url": url, "api": f"{url}api/"}), flush=True)
        else:
            out.print(f"testbed {name}: {url}", soft_wrap=True, highlight=False)
            err.print("Ctrl-C stops it; the testbed stays up.")
        with _opened(url) if browser else nullcontext(), suppress(KeyboardInterrupt):
            server.run()
    # A request that still waits in a thread must not keep this process alive.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(130)


@contextmanager
def _opened(url: str) -> Iterator[None]:
    """Open the page by a file that only this user can read: the browser's command line is visible to all users."""
    import tempfile
    import webbrowser

    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as file:  # mode 0600
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0;url={url}"><title>testbed</title>')
        file.flush()
        webbrowser.open(Path(file.name).as_uri())
        yield
