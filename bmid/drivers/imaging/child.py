"""A child process that dies with this one and is held to limits; its output is read without ever waiting.

What it runs, and what its output means, is the driver's matter.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import monotonic

from bmid.drivers.imaging.verdict import Limits

__all__ = ["Child", "Nursery"]

_LONGEST_OUTPUT = 1 << 20


class Child:
    """One process with its own session. Output goes to unnamed files: a pipe that nobody reads would stop it."""

    def __init__(self, command: Sequence[str], limits: Limits, longest_file: int) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the child; close() ends it
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - the same
        self._deadline = monotonic() + limits.seconds
        held = [
            *("setpriv", "--pdeathsig", "KILL", "--no-new-privs"),
            # Later it is killed; with both limits at once the kernel might skip the signal that says why.
            *("prlimit", f"--as={limits.memory}", f"--cpu={limits.seconds}:{limits.seconds + 5}"),
            *(f"--fsize={longest_file}", "--core=0"),
            *("nice", "--"),
        ]
        # posix_spawn or vfork: nothing of this process, with its threads of librados, is copied.
        self._process = subprocess.Popen(
            [*held, *command],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._errors,
            env=_environment(),
            cwd="/",
            start_new_session=True,
        )
        self.overdue = False

    def ended(self) -> int | None:
        """The exit code, negative for a signal; None while it runs. One that is overdue is killed."""
        code = self._process.poll()
        if code is None and monotonic() > self._deadline:
            self.overdue = True
            self.kill()
            code = self._process.poll()
        return code

    def wait(self, seconds: float) -> None:
        """Return when it has ended, at once, or after so many seconds."""
        try:
            handle = os.pidfd_open(self._process.pid)
        except ProcessLookupError:
            return
        try:
            end = select.poll()
            end.register(handle, select.POLLIN)
            end.poll(seconds * 1000)
        finally:
            os.close(handle)

    def output(self) -> str:
        """What it printed so far: the last part of it."""
        return _tail(self._output.fileno())

    def errors(self) -> str:
        """What it complained about so far."""
        return _tail(self._errors.fileno())

    def kill(self) -> None:
        """SIGKILL to it and all that it started; returns when it is gone."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)

    def close(self) -> None:
        """Let go of its output."""
        self._output.close()
        self._errors.close()


class Nursery:
    """Starts children from a thread that lives as long as this process.

    The kernel sends a child's parent-death signal when the *thread* that started it ends, and the threads of
    callers come and go.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="imaging")

    def start(self, command: Sequence[str], limits: Limits, longest_file: int) -> Child:
        """Start a child; `longest_file` in bytes. Raises OSError where a program is missing."""
        return self._thread.submit(Child, command, limits, longest_file).result()


def _environment() -> dict[str, str]:
    """Little of ours: where programs are, where this package is, and a bound on glibc's taste for address space."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        "MALLOC_ARENA_MAX": "4",
    }


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    start = max(0, size - _LONGEST_OUTPUT)
    return os.pread(descriptor, size - start, start).decode(errors="replace")
