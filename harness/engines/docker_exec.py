"""Run a command inside a container, and return its complete output.

The Docker SDK's own `exec_run` bypasses its HTTP client's buffer. The output of a quick command can arrive together
with the response's headers, and be in that buffer: then it is lost (once in a thousand calls on a busy machine), or the
rest is misread ("... is not a valid stream"). This module sends an ordinary request, and reads the whole response.
"""

import struct
from collections.abc import Iterator, Sequence

import docker
import requests
from docker.errors import create_api_error_from_http_exception

from harness.engines.base import Output

_HEADER = struct.Struct(">BxxxI")
"""The header of each piece of output: its stream, and its number of bytes."""
STDOUT, STDERR = 1, 2
MAX_SILENT_SECONDS = 600
"""A command that prints nothing for this time is given up: it may wait for a suspended process."""


def run(engine: docker.DockerClient, container_id: str, command: Sequence[str]) -> Output:
    """Run a command to its end. A non-zero exit code is not an error.

    Raises docker's APIError if it cannot run there, TimeoutError if it prints nothing for MAX_SILENT_SECONDS.
    """
    api = engine.api
    execution = api.exec_create(container_id, list(command))["Id"]
    url = f"{api.base_url}/v{api.api_version}/exec/{execution}/start"
    try:
        answer = api.post(url, json={"Detach": False, "Tty": False}, timeout=MAX_SILENT_SECONDS)
        answer.raise_for_status()
    except (requests.Timeout, requests.ConnectionError) as error:
        # While the body is read, requests reports a timeout as a broken connection.
        if isinstance(error, requests.Timeout) or "Read timed out" in str(error):
            raise TimeoutError(f"it has printed nothing for {MAX_SILENT_SECONDS} s") from None
        raise
    except requests.HTTPError as error:
        raise create_api_error_from_http_exception(error) from None
    printed = {STDOUT: b"", STDERR: b""}
    for stream, piece in pieces(answer.content):
        printed[stream] += piece
    code = api.exec_inspect(execution)["ExitCode"]
    return Output(printed[STDOUT].decode(errors="replace"), printed[STDERR].decode(errors="replace"), code)


def pieces(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the pieces of output in the order in which they were printed: the stream, and its bytes."""
    at = 0
    while at < len(content):
        stream, size = _HEADER.unpack_from(content, at)
        at += _HEADER.size
        yield stream, content[at : at + size]
        at += size
