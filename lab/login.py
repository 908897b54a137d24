"""Logging in to a node's system by ssh, with a key made for it. The system's own key is trusted at first sight, and
must be the same ever after."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab.process import LabError, wait_for

__all__ = ["Login"]

USER = "debian"  # what Debian's cloud-init calls the user that gets the keys


class Login:
    """A key pair and the known hosts, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = folder / "key"

    def public_key(self) -> str:
        """The line for `ssh_keys`; the pair is made where there is none."""
        if not self._key.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(self._key)]
            subprocess.run(command, check=True, capture_output=True)
        return self._key.with_suffix(".pub").read_text().strip()

    def run(self, address: str, command: str, seconds: float = 60) -> str:
        """What the command prints on the system at this address; LabError if nobody lets us in for `seconds`."""
        last = [""]

        def done() -> bool:
            ended = subprocess.run(self._ssh(address, command), capture_output=True, text=True, check=False)
            last[0] = ended.stdout.strip() if ended.returncode == 0 else ended.stderr.strip()
            if "HOST IDENTIFICATION HAS CHANGED" in ended.stderr:
                raise LabError(f"ssh {address}: another machine answers: its host key has changed")
            return ended.returncode == 0

        try:
            wait_for(done, seconds, f"ssh {USER}@{address}")
        except LabError as error:
            raise LabError(f"{error}: {last[0]}") from None
        return last[0]

    def _ssh(self, address: str, command: str) -> list[str]:
        known = self._folder / "known_hosts"
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "5",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": str(known),
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", "-i", str(self._key), *words, f"{USER}@{address}", command]
