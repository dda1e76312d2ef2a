"""Access to a testbed's nodes for programs on this machine: `testbed env`.

Each node has a subfolder in the testbed's folder, with its credentials, and with a script named like the node's own CLI
(lncli, lightning-cli). The script calls the next program of that name in PATH with the node's address: so every program
in a shell with this PATH works on that node.
"""

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import compose_file
from harness.errors import TestbedError
from harness.folders import ENV
from harness.nodes.base import HostAccess
from harness.services.bitcoind import NAME as BITCOIND
from harness.services.bitcoind import RPC_PORT, RPC_USER
from harness.services.push_gateway import NAME as PUSH
from harness.testbed import Testbed

MARK = ".testbed-env"
"""A file that marks these folders, so that the scripts skip them in PATH."""
_SCRIPT = """#!/bin/sh
# Written by `testbed env`: {program} on this machine, for {node} of testbed {testbed}.
IFS=:
for folder in $PATH; do
  if [ ! -e "$folder/{mark}" ] && [ -x "$folder/{program}" ]; then
    exec "$folder/{program}" {arguments} "$@"
  fi
done
echo "{program} cannot be called: it is not on PATH. Install it, or use: testbed exec -t {testbed} {node} -- ..." >&2
exit 127
"""


@dataclass(frozen=True)
class Environment:
    """A shell's environment for work on one node. It is outdated when the node's container restarts.

    folders: prepended to PATH. variables: other variables. arguments: by program, the arguments that its script adds.
    """

    testbed: str
    node: str
    folders: tuple[Path, ...]
    variables: dict[str, str]
    arguments: dict[str, tuple[str, ...]]

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the fields' names as keys."""
        return asdict(self) | {"folders": [str(folder) for folder in self.folders]}

    def as_shell(self) -> str:
        """Commands for a POSIX shell to evaluate."""
        path = ":".join(shlex.quote(str(folder)) for folder in self.folders)
        programs = " and ".join(self.arguments)
        return "\n".join(
            [
                f'export PATH={path}:"$PATH"',
                *(f"export {name}={shlex.quote(value)}" for name, value in self.variables.items()),
                f"# {programs} work on {self.node} of testbed {self.testbed}, until it is started again, if you run:",
                f'# eval "$(testbed env {self.node} -t {self.testbed})"',
            ]
        )


def environment(testbed: Testbed, name: str) -> Environment:
    """Write the folders of a node (or `bitcoind`) and of bitcoind anew, and return a shell's environment for them.

    Raises TestbedError if the testbed has no such node, EngineError if it does not run.
    """
    of_bitcoind = HostAccess(
        "bitcoin-cli",
        (
            "-regtest",
            *_host_and_port(testbed),
            f"-rpcuser={RPC_USER}",
            f"-rpcpassword={compose_file.password_of(testbed.engine.compose_file)}",
        ),
    )
    accesses = {BITCOIND: of_bitcoind}
    if name != BITCOIND:
        node = testbed[name]
        accesses = {name: node.host_access(_folder(testbed, name)), **accesses}
    for node_name, access in accesses.items():
        _write_script(testbed, node_name, access)
    variables = {"TESTBED": testbed.name} | _of_push_gateway(testbed)
    for access in accesses.values():
        variables |= access.variables
    return Environment(
        testbed.name,
        name,
        tuple(_folder(testbed, each) for each in accesses),
        variables,
        {access.program: access.arguments for access in accesses.values()},
    )


def _of_push_gateway(testbed: Testbed) -> dict[str, str]:
    """Return the settings by which an LSP on this machine notifies phones: the CA, and a line for /etc/hosts."""
    if not testbed.phones:
        return {}
    authority = testbed.folder / ENV / "ca.pem"
    authority.parent.mkdir(exist_ok=True, mode=0o700)
    authority.write_text(compose_file.ca_of(testbed.engine.compose_file))
    push = compose_file.address_of(testbed.engine.compose_file, PUSH)
    return {"TESTBED_CA": str(authority), "TESTBED_HOSTS": f"{push} {PUSH}"}


def _host_and_port(testbed: Testbed) -> tuple[str, str]:
    host, _, port = testbed.engine.address(BITCOIND, RPC_PORT).rpartition(":")
    return f"-rpcconnect={host}", f"-rpcport={port}"


def _folder(testbed: Testbed, name: str) -> Path:
    folder = testbed.folder / ENV / name
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise TestbedError(f"{folder} cannot be made: {error.strerror}. Check disk space and permissions") from None
    return folder


def _write_script(testbed: Testbed, name: str, access: HostAccess) -> None:
    folder = _folder(testbed, name)
    (folder / MARK).touch()
    script = folder / access.program
    script.write_text(
        _SCRIPT.format(
            program=access.program,
            node=name,
            testbed=testbed.name,
            mark=MARK,
            arguments=shlex.join(access.arguments),
        )
    )
    script.chmod(0o700)
