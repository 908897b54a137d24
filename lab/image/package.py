"""Debian packages as files: fetched once into a cache, unpacked without being installed.

Nothing here touches the package database of the machine, and nothing here knows what the files are for.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


class PackageCache:
    """Packages kept in one folder; a package that is there already is not asked for again.

    `folder` is made when the first package arrives.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch(self, name: str) -> Path:
        """The .deb file of package `name`, downloaded by apt if it is not in the cache yet.

        Raises subprocess.CalledProcessError when apt cannot get it (see its text on stderr).
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        present = self._present(name)
        if not present:
            subprocess.run(["apt-get", "-q", "download", name], cwd=self._folder, check=True, capture_output=True)
            present = self._present(name)
        return max(present, key=lambda path: path.stat().st_mtime)

    def unpack(self, name: str, root: Path) -> None:
        """Unpack the files of package `name` below `root`."""
        subprocess.run(["dpkg", "-x", str(self.fetch(name)), str(root)], check=True)

    def kernel(self) -> str:
        """The name of the newest kernel package that Debian's meta package for clouds stands for."""
        meta = self.fetch("linux-image-cloud-amd64")
        depends = subprocess.run(["dpkg-deb", "-f", str(meta), "Depends"], check=True, capture_output=True, text=True)
        found = re.search(r"linux-image-[0-9][\w.+-]*", depends.stdout)
        if found is None:
            raise ValueError(f"no kernel among the dependencies of {meta.name}: {depends.stdout!r}")
        return found.group()

    def _present(self, name: str) -> list[Path]:
        return list(self._folder.glob(f"{name}_*.deb"))
