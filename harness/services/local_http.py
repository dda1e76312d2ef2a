"""HTTP to services of a testbed on this machine, bypassing every proxy that the environment names."""

from typing import Any

import requests


def call(
    verb: str,
    url: str,
    *,
    timeout_seconds: float,
    body: Any = None,
    headers: dict[str, str] | None = None,
    auth: tuple[str, str] | None = None,
) -> requests.Response:
    """Return the response, whatever its status. body: sent as JSON. Raises requests.RequestException."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(verb, url, json=body, headers=headers, auth=auth, timeout=timeout_seconds)
