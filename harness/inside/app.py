"""An app of a phone: a program that is kept running, unless it was stopped explicitly."""

import asyncio
import signal
from typing import Any

import tenacity

from asyncpay.service.common.event_log import EventLog
from harness.inside.interface import AppSpec
from harness.inside.processes import STDERR, STDOUT, Process, Reaper

FIRST_RESTART_SECONDS, MOST_RESTART_SECONDS = 0.2, 5.0
STEADY_SECONDS = 10
"""After this run time a crashed app is restarted without delay again."""


class App:
    """One app. Calls of `start`, `stop` and `kill` must not overlap."""

    def __init__(self, spec: AppSpec, reaper: Reaper, event_log: EventLog) -> None:
        self.spec = spec
        self.stays_down = False
        """It was stopped explicitly: waking the phone does not start it."""
        self._reaper = reaper
        self._event_log = event_log
        self._process: Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._not_suspended = asyncio.Event()
        self._not_suspended.set()
        self._starts = 0
        self._gave_up = False

    @property
    def running(self) -> bool:
        """It has a process."""
        return self._process is not None and self._process.running

    def start(self) -> None:
        """Start it and keep it running; do nothing if that was done already."""
        self._not_suspended.set()
        if self._keeping is None or self._keeping.done():
            self._gave_up = False
            self._keeping = asyncio.create_task(self._keep_running(), name=self.spec.name)

    async def stop(self) -> None:
        """Shut it down cleanly, and do not restart it; return when its process has exited."""
        process = self._stop_restarting()
        if process is None:
            return
        process.signal(signal.SIGCONT)
        if self.spec.stop_command:
            self._reaper.start(self.spec.stop_command, STDERR)
        else:
            process.terminate()
        await asyncio.wait([process.exited], timeout=self.spec.stop_seconds)
        if process.running:
            self._event_log.error(f"{self.spec.name} is killed", f"it did not stop in {self.spec.stop_seconds:g} s")
            process.signal(signal.SIGKILL)
        await process.exited

    async def kill(self) -> None:
        """Kill it (SIGKILL), and do not restart it; return when its process has exited."""
        if process := self._stop_restarting():
            process.signal(signal.SIGKILL)
            await process.exited

    async def crash(self) -> None:
        """Kill it (SIGKILL) as if it crashed: it is restarted."""
        if self._process and self._process.running:
            self._process.signal(signal.SIGKILL)
            await asyncio.wait([self._process.exited])

    def suspend(self) -> None:
        """Suspend it and its children (SIGSTOP); an app that has just crashed is not restarted meanwhile."""
        self._not_suspended.clear()
        if self._process:
            self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a suspended app."""
        self._not_suspended.set()
        if self._process:
            self._process.signal(signal.SIGCONT)

    def status(self) -> dict[str, Any]:
        """pid: None unless it runs. process_states: see Process.states. starts: how often it was started.
        gave_up: it exited with one of its `final_exits`, and is not restarted until `start` is called.
        """
        process = self._process
        runs = process is not None and process.running
        return {
            "name": self.spec.name,
            "pid": process.pid if process and runs else None,
            "process_states": process.states if process and runs else "",
            "starts": self._starts,
            "last_exit": process.exited.result() if process and not runs else None,
            "stays_down": self.stays_down,
            "gave_up": self._gave_up,
        }

    def _stop_restarting(self) -> Process | None:
        """Do not restart it from now on. Return its process, if it runs."""
        if self._keeping:
            self._keeping.cancel()
            self._keeping = None
        return self._process if self._process and self._process.running else None

    async def _keep_running(self) -> None:
        while True:
            retrying = tenacity.AsyncRetrying(
                retry=tenacity.retry_if_result(lambda ran_seconds: ran_seconds < STEADY_SECONDS and not self._gave_up),
                wait=tenacity.wait_exponential(multiplier=FIRST_RESTART_SECONDS, max=MOST_RESTART_SECONDS),
            )
            await retrying(self._run_once)
            if self._gave_up:
                return
            await asyncio.sleep(FIRST_RESTART_SECONDS)

    async def _run_once(self) -> float:
        """Start the process and wait for its exit. Return its run time in seconds."""
        await self._not_suspended.wait()
        clock = asyncio.get_running_loop().time
        began = clock()
        output = STDOUT if self.spec.output == "stdout" else STDERR
        process = self._process = self._reaper.start(self.spec.command, output)
        self._starts += 1
        self._event_log.write(f"{self.spec.name} started", pid=process.pid)
        await asyncio.wait([process.exited])  # does not cancel the future when this task is cancelled
        code = process.exited.result()
        self._event_log.error(f"{self.spec.name} ended", f"exit code {code}")
        self._gave_up = code in self.spec.final_exits
        return clock() - began
