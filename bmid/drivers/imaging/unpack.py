"""Reading a file once: its digest, and its unpacked contents as a sparse file. Bounded, also against bombs."""

from __future__ import annotations

import hashlib
import lzma
import subprocess
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import BinaryIO

from bmid.drivers.imaging.verdict import Limits, Unfit, human

__all__ = ["Incoming", "unpack"]

_CHUNK = 1 << 20
_HOLE = 1 << 16  # runs of zeros of this length, so aligned, are not written
_DAMAGED = "the {} data is damaged or cut off: copy or upload the file again"
_DECODERS = 512 << 20  # bytes of memory that a decoder may take


class Incoming:
    """The bytes as they came in: counted, and digested. `report` is told how many were read."""

    def __init__(self, file: BinaryIO, report: Callable[[int], None]) -> None:
        self._file = file
        self._report = report
        self._digest = hashlib.sha256()
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._file.read(_CHUNK):
            self._digest.update(chunk)
            self.count += len(chunk)
            self._report(self.count)
            yield chunk

    def sha256(self, promised: str | None) -> str:
        """The digest of the whole file; what wasn't read yet is read now. Raises Unfit if another was promised."""
        for _ in self:
            pass
        digest = self._digest.hexdigest()
        if promised and promised.lower() != digest:
            detail = f"the file's sha256 is {digest}, and should be {promised.lower()}: copy or upload it again"
            raise Unfit("digest-mismatch", detail)
        return digest


def unpack(incoming: Incoming, packing: str, target: Path, limits: Limits) -> None:
    """Write the unpacked contents to `target`. Raises Unfit `image-damaged`, `too-large`; OSError. The target stays."""
    pieces = {"gz": _gunzip, "xz": _unxz, "zst": _unzstd}[packing](incoming)
    written = 0
    with target.open("xb") as file:
        for piece in pieces:
            written += len(piece)
            if written > limits.unpacked:
                detail = f"unpacked, the file has more than {human(limits.unpacked)}, which is the limit"
                raise Unfit("too-large", f"{detail}: import a smaller one, or have the limit raised")
            _write_sparse(file, piece)
        file.truncate(written)


def _write_sparse(file: BinaryIO, piece: bytes) -> None:
    zeros = bytes(_HOLE)
    for start in range(0, len(piece), _HOLE):
        part = piece[start : start + _HOLE]
        if part == zeros:
            file.seek(_HOLE, 1)
        else:
            file.write(part)


def _gunzip(incoming: Incoming) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=31)
    for chunk in incoming:
        rest = chunk
        while rest:
            if decoder.eof:
                if not (rest := rest.lstrip(b"\0")):  # files may be padded to a block of a tape
                    break
                decoder = zlib.decompressobj(wbits=31)
            try:
                piece = decoder.decompress(rest, _CHUNK)
            except zlib.error:
                raise Unfit("image-damaged", _DAMAGED.format("gz")) from None
            if piece:
                yield piece
            rest = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
    if not decoder.eof:
        raise Unfit("image-damaged", _DAMAGED.format("gz"))


def _unxz(incoming: Incoming) -> Iterator[bytes]:
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DECODERS)
    for chunk in incoming:
        rest = chunk
        while rest or not (decoder.needs_input or decoder.eof):
            if decoder.eof:
                if not (rest := rest.lstrip(b"\0")):
                    break
                decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DECODERS)
            try:
                piece = decoder.decompress(rest, _CHUNK)
            except lzma.LZMAError:
                raise Unfit("image-damaged", _DAMAGED.format("xz")) from None
            if piece:
                yield piece
            rest = decoder.unused_data if decoder.eof else b""
    if not decoder.eof:
        raise Unfit("image-damaged", _DAMAGED.format("xz"))


def _unzstd(incoming: Incoming) -> Iterator[bytes]:
    command = ["setpriv", "--pdeathsig", "KILL", "zstd", "-dcq", f"--memory={_DECODERS >> 20}MB"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdin is not None and child.stdout is not None  # noqa: S101, PT018 - both are pipes
        feeder = Thread(target=_feed, args=(incoming, child.stdin), daemon=True)
        feeder.start()
        try:
            while piece := child.stdout.read(_CHUNK):
                yield piece
            child.wait()
        finally:
            child.kill()
            feeder.join()
    if child.returncode:
        raise Unfit("image-damaged", _DAMAGED.format("zst"))


def _feed(incoming: Incoming, pipe: BinaryIO) -> None:
    with suppress(BrokenPipeError), pipe:
        for chunk in incoming:
            pipe.write(chunk)
