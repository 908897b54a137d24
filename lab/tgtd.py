"""A private tgtd: an iSCSI target daemon of our own, beside whatever the machine runs.

Its process and its addresses only; targets and LUNs are made by whoever speaks to its management socket.
"""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from lab.place import short_folder, socket_path
from lab.process import LabError, Process

_OPEN_FILES = 65536  # an RBD LUN takes 11 with one OSD, and more with each further one


class Tgtd:
    """One tgtd. `control_port` (its -C) tells several in one folder apart; `portal_port` is its iSCSI port.

    `socket` is the path of its management socket (tgt appends ".CONTROL_PORT" to what it is told, and keeps
    a ".lock" beside it); `portal` is "IP:PORT", where initiators find it; `anywhere`:
    it listens at that port of any address that comes here. `environment` is what tgtadm needs to reach it.
    """

    def __init__(
        self,
        folder: Path,
        portal_ip: str = "127.0.0.1",
        portal_port: int = 3260,
        control_port: int = 0,
        *,
        netns: str | None = None,
        threads: int = 2,
        anywhere: bool = False,
    ) -> None:
        self.folder = folder
        self.control_port = control_port
        self.portal = f"{portal_ip}:{portal_port}"
        self._listens = f"0.0.0.0:{portal_port}" if anywhere else self.portal
        self.socket = socket_path(folder, f"tgtd.sock.{control_port}")
        self.environment = {"TGT_IPC_SOCKET": str(self.socket.with_suffix(""))}
        self.process = Process(
            f"tgtd-{control_port}",
            folder,
            ["tgtd", "-f", "-C", str(control_port), "-t", str(threads), "--iscsi", f"portal={self._listens}"],
            env=self.environment,
            netns=netns,
            nofile=_OPEN_FILES,
        )

    def start(self) -> None:
        """Start it, and return when its management socket answers. Raises LabError."""
        if self.process.alive():
            return
        if self.socket.parent != self.folder.absolute():
            short_folder(self.folder)
        self.process.start()
        self.process.wait_for(self._answers, 60, f"its management socket {self.socket}")
        if self._listens not in self.tgtadm("--op", "show", "--mode", "portal"):
            raise LabError(f"{self.process.name}: doesn't listen on {self._listens}\n{self.process.tail()}")

    def stop(self) -> None:
        """End it, with all its targets, by SIGKILL: it ignores SIGTERM."""
        self.process.kill()
        self.socket.unlink(missing_ok=True)
        self.socket.with_name(self.socket.name + ".lock").unlink(missing_ok=True)
        if self.socket.parent != self.folder.absolute():
            with suppress(OSError):  # another tgtd of this folder still has its socket there
                self.socket.parent.rmdir()

    def kill(self) -> None:
        """SIGKILL, as a crash would: its socket stays in the file system."""
        self.process.kill()

    def freeze(self) -> None:
        """SIGSTOP: initiators and management hang."""
        self.process.freeze()

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.thaw()

    def tgtadm(self, *arguments: str) -> str:
        """Run tgtadm on it and return its output; for looking at it from outside. Raises LabError."""
        command = ["tgtadm", "--lld", "iscsi", "-C", str(self.control_port), *arguments]
        environment = {**os.environ, **self.environment}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise LabError(f"tgtadm: {done.stderr.strip() or done.stdout.strip()}\n{self.process.tail()}")
        return done.stdout

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        return True
