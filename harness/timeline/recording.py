"""The input of a story: the logs of a testbed's run by service, and the context that is needed to parse them.

A recording is collected from a running testbed, or read from a folder of artifacts.
"""

import json
import stat
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import TestbedError
from harness.nodes.wire_log import HtlcRecord
from harness.testbed import Testbed
from harness.timeline import on_chain
from harness.timeline.channel_ids import channel_id
from harness.timeline.on_chain import ChainTransaction

CONTEXT_FILE = "recording.json"
ACTIONS_FILE = "testbed.log"
MOST_LOG_BYTES = 512 * 1024 * 1024


class NodeContext(BaseModel):
    """The properties of a node. is_phone: it is in one container with its wallet, whose events are in the same log."""

    model_config = ConfigDict(extra="ignore")

    role: str
    implementation: str
    is_phone: bool = False


class Context(BaseModel):
    """The identities in a testbed. nodes: by name, in the topology's order. node_ids: node id by name.

    channels: short_channel_id by LND's channel_id in hex. htlcs: of each node whose log has no payment hashes.
    transactions: those in blocks.
    """

    model_config = ConfigDict(extra="ignore")

    testbed: str
    topology: str = ""
    nodes: dict[str, NodeContext] = {}
    node_ids: dict[str, str] = {}
    channels: dict[str, str] = {}
    htlcs: dict[str, list[HtlcRecord]] = {}
    transactions: list[ChainTransaction] = Field(default=[], max_length=on_chain.MOST_TRANSACTIONS)


@dataclass
class Recording:
    """logs: by service, each line with the engine's time; actions: the testbed's own log (harness.actions)."""

    context: Context
    logs: dict[str, bytes] = field(default_factory=dict)
    actions: bytes = b""
    problems: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write it into a folder, from which `read` can load it."""
        for service, log in self.logs.items():
            (folder / f"{service}.log").write_bytes(log)
        (folder / ACTIONS_FILE).write_bytes(self.actions)
        (folder / CONTEXT_FILE).write_text(self.context.model_dump_json(indent=1), encoding="utf-8")


def context_of(testbed: Testbed, problems: list[str]) -> Context:
    """Return the context of a running testbed. Missing data is reported in `problems`; nothing is raised."""
    nodes = {
        name: NodeContext(role=spec.role.value, implementation=spec.implementation, is_phone=spec.is_phone)
        for name, spec in testbed.topology.nodes.items()
    }
    context = Context(testbed=testbed.name, topology=testbed.topology.name, nodes=nodes)
    try:
        running = testbed.running()
    except TestbedError as error:
        running = []
        problems.append(f"the states of the services cannot be queried: {error}")
    for name, node in testbed.nodes.items():
        try:
            if node in running or node.known_node_id:
                context.node_ids[name] = node.node_id
            if node in running:
                for channel in node.channels():
                    context.channels[channel_id(channel.funding)] = channel.short_channel_id
                context.htlcs[name] = node.htlc_records()
            else:
                problems.append(f"{name} does not run: it was not queried, and its log ends with its exit")
        except (TestbedError, ValueError) as error:
            problems.append(f"{name} cannot be queried, so details may be missing: {error}")
    return context


def gather(testbed: Testbed) -> Recording:
    """Collect the logs of a testbed so far. Missing data is reported in `problems`; nothing is raised."""
    problems: list[str] = []
    recording = Recording(context_of(testbed, problems), actions=testbed.engine.actions.read(), problems=problems)
    for service in testbed.services:
        try:
            recording.logs[service] = testbed.engine.logs(service, timestamps=True)
        except TestbedError as error:
            problems.append(f"the log of {service} cannot be read: {error}")
    try:
        recording.context.transactions = on_chain.transactions(testbed.chain)
        problems += filter(None, [on_chain.omitted(testbed.chain)])
    except TestbedError as error:
        problems.append(f"what happened on chain is unknown: {error}")
    return recording


def read(folder: Path) -> Recording:
    """Read a recording that `write` has written to a folder. Raises TestbedError."""
    file = folder / CONTEXT_FILE
    try:
        context = Context.model_validate_json(file.read_bytes())
    except OSError as error:
        raise TestbedError(
            f"{folder} has no recording: {file.name} cannot be read ({error.strerror}). Name a folder of artifacts"
        ) from None
    except (ValidationError, json.JSONDecodeError):
        raise TestbedError(f"{file} cannot be used: another release wrote it, or it is damaged") from None
    recording = Recording(context)
    for path in sorted(folder.glob("*.log")):
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                recording.problems.append(f"{path.name} is omitted: it is not a regular file")
            elif path.stat().st_size > MOST_LOG_BYTES:
                recording.problems.append(f"{path.name} is omitted: it has over {MOST_LOG_BYTES} bytes")
            elif path.name == ACTIONS_FILE:
                recording.actions = path.read_bytes()
            else:
                recording.logs[path.stem] = path.read_bytes()
        except OSError as error:
            recording.problems.append(f"{path.name} cannot be read: {error.strerror}")
    return recording
