"""Child processes of a container's first process, which has to reap its own children and all orphans."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

STDOUT, STDERR = 1, 2
CANNOT_RUN_EXIT = 127
"""The exit code of a command that cannot be run, as in a shell."""


class Process:
    """A child in its own process group, together with its children."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Its exit code, or the negative number of the signal that ended it."""

    @property
    def running(self) -> bool:
        """Whether it has not exited yet; a suspended process counts as running."""
        return not self.exited.done()

    def terminate(self) -> None:
        """Send SIGTERM to it, but not to its children."""
        if self.running:
            os.kill(self.pid, signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to its remaining children."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    @property
    def states(self) -> str:
        """The letters of `ps` for it and its children, each once, in order: "S" sleeping, "T" suspended, ..."""
        return "".join(sorted({state for group, state in map(_group_and_state, _stat_files()) if group == self.pid}))


class Reaper:
    """Starts children and collects their exit codes. There is one per process, in its event loop."""

    def __init__(self) -> None:
        self._children: dict[int, Process] = {}
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def start(self, command: Sequence[str], stdout: int = STDOUT) -> Process:
        """Start a command found on PATH; stdout: the file descriptor of this process that it prints to.

        A command that cannot be run gives a process that has exited with CANNOT_RUN_EXIT.
        """
        try:
            pid = os.posix_spawnp(
                command[0],
                list(command),
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, stdout, STDOUT)],
                setpgroup=0,
                setsigdef=[signal.SIGPIPE],  # Python ignores it
            )
        except OSError:
            process = Process(-1)
            process.exited.set_result(CANNOT_RUN_EXIT)
            return process
        process = self._children[pid] = Process(pid)
        return process

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if process := self._children.pop(pid, None):
                    process.signal(signal.SIGKILL)  # its remaining children
                    process.exited.set_result(os.waitstatus_to_exitcode(status))


def _stat_files() -> list[Path]:
    return list(Path("/proc").glob("[0-9]*/stat"))


def _group_and_state(stat: Path) -> tuple[int, str]:
    """From /proc/PID/stat: the process group and the state; the name in parentheses before them may hold anything."""
    try:
        state, _, group, *_ = stat.read_text().rpartition(")")[2].split()
    except (OSError, ValueError):  # it has exited meanwhile
        return -1, ""
    return int(group), state
