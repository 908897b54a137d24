"""Private processes: started detached, remembered in a folder, stopped by pid from any Python process.

Here live starting, stopping, freezing and waiting. What a service needs to run (its files, ports, users)
lives in the service's own module.

    tgtd = Process("tgtd", folder, ["tgtd", "-f"], env={"TGT_IPC_SOCKET": path}, netns="lab", nofile=20000)
    tgtd.start()                                       # LabError if it can't be started
    tgtd.wait_for(path.exists, 5, "its socket")        # LabError with the log's tail if it never comes
    tgtd.freeze(); tgtd.thaw(); tgtd.kill(); tgtd.stop(grace=5)    # all quiet when it isn't running

The folder then holds NAME.pid (the process's own line of /proc/PID/stat) and NAME.log. Another Python
process, also after this one was killed, makes `Process("tgtd", folder)` and calls `stop()`: name and folder
are enough for everything but `start()`. A pid that was used again by another process is never signalled,
because its start time differs.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab import procfs

# The child records itself before it becomes the program, so that there is no moment at which the lab could be
# killed and leave a process that no file names.
_RECORD = 'read -r stat </proc/$$/stat; printf "%s\\n" "$stat" >"$0"; cd "$1" && shift && exec "$@"'
_RAISE = '{ ulimit -n %d || ulimit -S -n "$(ulimit -H -n)"; } 2>/dev/null; '


class LabError(RuntimeError):
    """A part of the lab couldn't be started, stopped or used; it says which and shows the end of its log."""


class Process:
    """One supervised process, named within a folder.

    `argv` is looked up in PATH; `env` is laid over this process's own environment; `netns` names a network
    namespace to run in (by `ip netns exec`); `nofile` raises the limit of open files, as far as this machine
    lets it; `cwd` defaults to the folder.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        argv: Sequence[str | Path] = (),
        *,
        env: Mapping[str, str] | None = None,
        netns: str | None = None,
        nofile: int | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.pid_file = folder / f"{name}.pid"
        self._argv = [str(part) for part in argv]
        self._env = dict(env or {})
        self._netns = netns
        self._nofile = nofile
        self._cwd = cwd or folder
        self._started = False

    def start(self) -> None:
        """Start it in a session of its own, its output appended to the log; quiet if it runs already."""
        if self.alive():
            return
        if not self._argv:
            raise LabError(f"{self.name}: no command to start it with")
        self.folder.mkdir(parents=True, exist_ok=True)
        env = {**os.environ, **self._env}
        program = shutil.which(self._argv[0], path=env.get("PATH"))
        if program is None:
            raise LabError(f"{self.name}: {self._argv[0]} is not installed (script/setup installs it)")
        script = _RAISE % self._nofile + _RECORD if self._nofile else _RECORD
        command = ["/bin/sh", "-c", script, str(self.pid_file.absolute()), str(self._cwd), program, *self._argv[1:]]
        if self._netns:
            command = ["ip", "netns", "exec", self._netns, *command]
        self.pid_file.unlink(missing_ok=True)
        pid = os.posix_spawnp(
            command[0],
            command,
            env,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores them, and children would inherit that
        )
        self._started = True
        try:
            wait_for(lambda: self.pid == pid or procfs.ended(pid), 60, f"{self.name}: its start")
        except LabError as error:
            raise LabError(f"{error}\n{self.tail()}") from None

    def stop(self, grace: float = 5.0) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds; returns when it and all of its session are gone."""
        if self.signal(signal.SIGTERM):
            self.signal(signal.SIGCONT)
            self._wait_gone(grace)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to it and to all that is left of its session; returns when they are gone."""
        members = self._session()
        for pid in members:
            procfs.send(pid, signal.SIGKILL)
        if members and not self._wait_gone(60):
            raise LabError(f"{self.name}: still there 60 s after SIGKILL (pids {self._session()})")
        self.pid_file.unlink(missing_ok=True)

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on where it was frozen."""
        self.signal(signal.SIGCONT)

    def signal(self, number: int) -> bool:
        """Send a signal to the process itself; False if it isn't running."""
        pid = self.pid
        return pid is not None and procfs.send(pid, number)

    @property
    def pid(self) -> int | None:
        """Its process id, or None if it isn't running; never the id of another process."""
        recorded = self._record()
        if recorded is None or procfs.reaped(recorded.pid):
            return None
        now = procfs.stat(recorded.pid)
        return recorded.pid if now and now.started == recorded.started and not now.ended else None

    def alive(self) -> bool:
        """Whether it runs now (a frozen process does, a zombie doesn't)."""
        return self.pid is not None

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log; empty if there are none."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def wait_for(self, predicate: Callable[[], bool], deadline: float, what: str) -> None:
        """Wait until `predicate` is true; LabError after `deadline` seconds, or at once if it has ended."""
        ended = False

        def ready() -> bool:
            nonlocal ended
            # Looked at before the predicate, so that what a process did just before it ended still counts.
            ended = self._started and not self.alive()
            return predicate() or ended

        try:
            wait_for(ready, deadline, f"{self.name}: {what}")
        except LabError as error:
            raise LabError(f"{error}\n{self.tail()}") from None
        if ended and not predicate():
            raise LabError(f"{self.name}: ended while waiting for {what}\n{self.tail()}")

    def _record(self) -> procfs.Stat | None:
        try:
            return procfs.parse(self.pid_file.read_text())
        except (FileNotFoundError, ValueError, IndexError):
            return None

    def _session(self) -> list[int]:
        """It and what is left of its session. The kernel doesn't reuse a pid while a session has it."""
        recorded = self._record()
        if recorded is None:
            return []
        leader = procfs.stat(recorded.pid)
        if leader and leader.started != recorded.started:
            return []  # the pid is another process's by now, so the whole session has gone
        members = [
            found.pid
            for found in procfs.every()
            if found.session == recorded.pid and found.started >= recorded.started and not found.ended
        ]
        if not members:
            procfs.reaped(recorded.pid)
        return members

    def _wait_gone(self, seconds: float) -> bool:
        try:
            wait_for(lambda: not self._session(), seconds, "end")
        except LabError:
            return False
        return True


def wait_for(predicate: Callable[[], bool], deadline: float, what: str) -> None:
    """Call `predicate` every 10 to 100 ms until it is true; LabError after `deadline` seconds."""
    end = time.monotonic() + deadline
    pause = 0.01
    while not predicate():
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {deadline:g} s")
        time.sleep(pause)
        pause = min(0.1, pause * 1.5)


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on, and none of those that the kernel gives to outgoing connections."""
    first, last = (int(word) for word in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = [port for port in range(12000, 32000) if not first <= port <= last] or range(12000, 32000)
    while True:
        port = random.choice(ports)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
