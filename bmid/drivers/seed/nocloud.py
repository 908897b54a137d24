"""Seeds for cloud-init's NoCloud: small ISO 9660 images with the label cidata in a folder. The driver `nocloud`.

Below the folder: ID.iso; while it is being written, ID.*.new. What is in the files, others know.
"""

from __future__ import annotations

import errno
import os
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from pycdlib import PyCdlib
from pycdlib.pycdlibexception import PyCdlibException

from bmid.drivers.base import Backing, Seeds
from bmid.errors import TransientError

__all__ = ["NoCloudSeeds"]

LABEL = "cidata"


class NoCloudSeeds(Seeds):
    """Volumes in `folder`, which is made when it is missing. They and it are for this process's user alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self) -> str:
        with self._translated():
            self._prepare()
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        return f"NoCloud volumes in {self._folder}"

    def write(self, disk: str, files: Mapping[str, str]) -> None:
        wanted = {name: text.encode() for name, text in files.items()}
        with self._translated():
            if _read(self._path(disk)) == wanted:
                return
            self._prepare()
            for left in self._folder.glob(f"{disk}.*.new"):
                left.unlink(missing_ok=True)
            self._put(disk, _image(wanted))

    def remove(self, disk: str) -> None:
        with self._translated():
            for path in self._folder.glob(f"{disk}.*"):
                path.unlink(missing_ok=True)

    def backing(self, disk: str) -> Backing:
        return Backing("rdwr", str(self._path(disk)))

    def inventory(self) -> tuple[str, ...]:
        with self._translated():
            return tuple(sorted({path.name.partition(".")[0] for path in self._folder.glob("*.*")}))

    def _path(self, disk: str) -> Path:
        return self._folder / f"{disk}.iso"

    def _prepare(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _put(self, disk: str, image: bytes) -> None:
        descriptor, name = tempfile.mkstemp(prefix=f"{disk}.", suffix=".new", dir=self._folder)  # its mode is 0600
        with open(descriptor, "wb") as file:
            file.write(image)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, self._path(disk))
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            slug = "seed-full" if full else "seed-unwritable"
            raise TransientError(
                slug,
                f"seeds in {self._folder}: {error.strerror or 'the folder is out of reach'}",
                todo="Free space on this file system." if full else "See whether bmid may write to this folder.",
            ) from error


def _image(files: Mapping[str, bytes]) -> bytes:
    """Names in Rock Ridge, which Linux prefers, and in Joliet; plain ISO 9660 has no `meta-data`."""
    volume, out = PyCdlib(), BytesIO()
    volume.new(interchange_level=3, vol_ident=LABEL, joliet=3, rock_ridge="1.09")
    for name, content in sorted(files.items()):
        volume.add_fp(
            BytesIO(content),
            len(content),
            iso_path=f"/{name.upper().replace('-', '_')}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
            file_mode=0o100400,
        )
    volume.write_fp(out)
    volume.close()
    return out.getvalue()


def _read(path: Path) -> dict[str, bytes] | None:
    """The files of a volume; None if there is none, or none that can be read."""
    try:
        source = BytesIO(path.read_bytes())
    except FileNotFoundError:
        return None
    volume = PyCdlib()
    try:
        volume.open_fp(source)
        return {name: _content(volume, name) for name in _names(volume)}
    except (PyCdlibException, ValueError, LookupError, struct.error):
        return None


def _names(volume: PyCdlib) -> list[str]:
    children = (child for child in volume.list_children(joliet_path="/") if child is not None and child.is_file())
    return [child.file_identifier().decode("utf-16-be") for child in children]


def _content(volume: PyCdlib, name: str) -> bytes:
    out = BytesIO()
    volume.get_file_from_iso_fp(out, joliet_path=f"/{name}")
    return out.getvalue()
