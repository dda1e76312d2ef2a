"""A testbed's compose file on disk: written as YAML for Compose and for people, and read by every command.

The parsed content is also stored as JSON in the same folder, with a digest of the YAML, because parsing YAML would take
longer than the rest of a command. A compose file that was changed since then is parsed again.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.errors import TestbedError
from harness.folders import EXTENSION, PARSED_FILE, PART
from harness.topology import Topology

if TYPE_CHECKING:
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import ScalarNode
    from ruamel.yaml.representer import RoundTripRepresenter


def _yaml() -> "YAML":
    """Return a YAML writer that keeps multi-line text, such as a component's configuration, readable."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 120
    yaml.representer.add_representer(str, _represent_text)
    return yaml


def _represent_text(representer: "RoundTripRepresenter", text: str) -> "ScalarNode":
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def write(content: Mapping[str, Any], path: Path) -> None:
    """Write the compose file atomically, keeping the order of keys."""
    literal = _each_text(content, lambda text: text.replace("$", "$$"))  # or Compose would substitute variables
    part = path.with_name(path.name + PART)
    with part.open("w", encoding="utf-8") as file:
        _yaml().dump(literal, file)
    parsed = {"digest": _digest(part.read_bytes()), "content": content}
    path.with_name(PARSED_FILE).write_text(json.dumps(parsed), encoding="utf-8")
    part.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Return the content of a compose file that `write` wrote. Raises TestbedError if it is not one."""
    try:
        written = path.read_bytes()
        content = _parsed_before(path, _digest(written)) or _parse(written)
    except (OSError, ValueError) as error:
        raise TestbedError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict) or EXTENSION not in content:
        raise TestbedError(f"{path} is not a testbed's compose file: it has no {EXTENSION}")
    return content


def _parsed_before(path: Path, digest: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(path.with_name(PARSED_FILE).read_text(encoding="utf-8"))
        return parsed["content"] if parsed["digest"] == digest else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _parse(written: bytes) -> Any:
    """Raises ValueError if it is not YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe", pure=True).load(written.decode())
    except YAMLError as error:
        raise ValueError(str(error)) from None
    return _each_text(content, lambda text: text.replace("$$", "$"))


def _digest(written: bytes) -> str:
    return hashlib.sha256(written).hexdigest()


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """Return the value with every string changed, except keys."""
    match value:
        case str():
            return change(value)
        case Mapping():
            return {key: _each_text(item, change) for key, item in value.items()}
        case list() | tuple():
            return [_each_text(item, change) for item in value]
    return value


def topology_of(path: Path) -> Topology:
    """Return the topology that a rendered compose file contains. Raises TestbedError."""
    try:
        return Topology.model_validate(read(path)[EXTENSION]["topology"])
    except (ValidationError, LookupError, TypeError):
        raise TestbedError(f"{path} was written by another release of the testbed") from None


def snapshot_of(path: Path) -> str | None:
    """Return the name of the snapshot that this testbed can be restored from; None if there can be none."""
    name = read(path)[EXTENSION].get("snapshot")
    return None if name is None else str(name)


def beginnings_of(path: Path) -> dict[str, dict[str, str]]:
    """Return the images of initial volumes (see service_images.beginnings); empty if the file has none."""
    return dict(read(path)[EXTENSION].get("beginnings", {}))


def ca_of(path: Path) -> str:
    """The certificate of the testbed's own authority (PEM) in a rendered compose file."""
    return str(read(path)[EXTENSION]["ca"])


def password_of(path: Path) -> str:
    """The password of bitcoind's RPC in a rendered compose file."""
    command = read(path)["services"]["bitcoind"]["command"]
    return next(str(word).partition("=")[2] for word in command if word.startswith("-rpcpassword="))


def address_of(path: Path, service: str) -> str:
    """The fixed address of a service in the testbed's network, in a rendered compose file."""
    return str(read(path)["services"][service]["networks"]["default"]["ipv4_address"])
