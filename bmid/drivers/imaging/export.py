"""Writing an image to a file for somebody to take away: the child `python -m bmid.drivers.imaging.export`.

Takes source, destination and format; QEMU's own progress goes through, then lines of JSON tell how far the digest is
and at last what the file is. What goes wrong is told on standard error, and the code isn't 0. The parent's side is in
qemu.py. Imports little, so that it starts quickly.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["export"]

_CHUNK = 4 << 20
_SAID = 64  # chunks between two words on progress


def export(source: str, file: Path, format: str) -> int:
    """Write the file, new and readable for its group only, and make it safe from a power failure; the exit code of
    what failed, or 0. Raises OSError."""
    file.unlink(missing_ok=True)
    handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o640)
    os.fchmod(handle, 0o640)  # whatever the umask; QEMU keeps the file and its mode
    with os.fdopen(handle, "rb") as written:
        command = ["qemu-img", "convert", "-p", "-W", "-f", "raw", "-O", format, source, str(file)]
        done = subprocess.run(["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            return done.returncode
        os.fsync(written.fileno())
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fsync(folder)
        size, digest, count = os.fstat(written.fileno()).st_size, hashlib.sha256(), 0
        while chunk := written.read(_CHUNK):
            digest.update(chunk)
            count += 1
            if count % _SAID == 0:
                _say(digested=count * _CHUNK / size)
        _say(size=size, sha256=digest.hexdigest())
    return 0


def _say(**line: object) -> None:
    sys.stdout.write("\n" + json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        try:
            sys.exit(export(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
        except OSError as error:
            sys.exit(f"{error.strerror} ({error.filename or 'the file'})")
