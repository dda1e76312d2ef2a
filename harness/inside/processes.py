"""Child processes of a container's first process, which has to reap every child, its own and the orphans of others."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

STDOUT, STDERR = 1, 2
CANNOT_RUN_EXIT = 127
"""What a command that cannot be run at all ends with, as in a shell."""


class Process:
    """A child in a process group of its own, with all the children that it has itself."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Its exit code, or minus the signal's number that ended it."""

    @property
    def running(self) -> bool:
        """It has not ended yet; a suspended one runs, too."""
        return not self.exited.done()

    def signal(self, number: signal.Signals) -> None:
        """Signal it and its children, as many of them as are left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    @property
    def states(self) -> str:
        """The letters of `ps` for it and its children, each once, in order: "S" sleeping, "T" suspended, ..."""
        return "".join(sorted({state for group, state in map(_group_and_state, _stat_files()) if group == self.pid}))


class Reaper:
    """Starts children and takes in the exit code of each. There is one in a process, within its event loop."""

    def __init__(self) -> None:
        self._children: dict[int, Process] = {}
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def start(self, command: Sequence[str], stdout: int = STDOUT) -> Process:
        """Start a command found on PATH; stdout: the descriptor of ours that it prints to.

        A command that cannot be run is a process that has ended with CANNOT_RUN_EXIT.
        """
        try:
            pid = os.posix_spawnp(
                command[0],
                list(command),
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, stdout, STDOUT)],
                setpgroup=0,
                setsigdef=[signal.SIGPIPE],  # which Python itself ignores
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
                    process.signal(signal.SIGKILL)  # what it has left behind
                    process.exited.set_result(os.waitstatus_to_exitcode(status))


def _stat_files() -> list[Path]:
    return list(Path("/proc").glob("[0-9]*/stat"))


def _group_and_state(stat: Path) -> tuple[int, str]:
    """From /proc/PID/stat: the process group and the state; the name in parentheses before them may hold anything."""
    try:
        state, _, group, *_ = stat.read_text().rpartition(")")[2].split()
    except (OSError, ValueError):  # it has ended meanwhile
        return -1, ""
    return int(group), state
