"""What maps leave in the world, looked at from outside: with the tools of Ceph and tgt and in folders, never through
bmid or its drivers. So what a test or a demonstration finds here doesn't rest on what it is to prove."""

from __future__ import annotations

import re
import subprocess
from dataclasses import astuple, dataclass

from lab.process import LabError
from lab.site import Site

__all__ = ["Traces", "look"]


@dataclass(frozen=True)
class Traces:
    """What was found: clones, targets (their names), sessions at them, folders with boot scripts, DHCP entries, and
    nodes that have power."""

    clones: tuple[str, ...]
    targets: tuple[str, ...]
    sessions: tuple[str, ...]
    scripts: tuple[str, ...]
    dhcp_entries: tuple[str, ...]
    powered: tuple[str, ...]

    @property
    def none(self) -> bool:
        """Whether nothing was found."""
        return not any(astuple(self))

    def __str__(self) -> str:
        words = {name.replace("_", " "): found for name, found in vars(self).items()}
        return ", ".join(f"{len(found)} {name}" for name, found in words.items())


def look(site: Site) -> Traces:
    """All that is there now. Raises LabError when a tool can't look."""
    shown = [tgtd.tgtadm("--mode", "target", "--op", "show") for tgtd in site.tgtds]
    tftp, hosts = site.dnsmasq.tftp, site.dnsmasq.hosts
    return Traces(
        clones=_clones(site),
        targets=tuple(name for text in shown for name in re.findall(r"^Target \d+: (\S+)", text, re.MULTILINE)),
        sessions=tuple(sid for text in shown for sid in re.findall(r"I_T nexus: (\d+)$", text, re.MULTILINE)),
        scripts=tuple(sorted(folder.name for folder in tftp.iterdir() if folder.is_dir())),
        dhcp_entries=tuple(sorted(entry.name for entry in hosts.iterdir())),
        powered=tuple(name for name in site.layout.names if site.node(name).alive),
    )


def _clones(site: Site) -> tuple[str, ...]:
    """Disks in the storage; the trash, which is emptied later, and golden images don't count."""
    if site.layout.storage == "directory":
        return tuple(sorted(file.stem for file in (site.storage_folder / "disks").glob("*.raw")))
    command = ["rbd", "-c", str(site.ceph.conf), "--id", site.ceph.user, "ls", site.ceph.pool]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise LabError(f"rbd ls: {done.stderr}")
    return tuple(sorted(name for name in done.stdout.split() if not name.startswith("image-")))
