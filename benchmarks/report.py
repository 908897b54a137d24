"""`python -m benchmarks.report`: writes the figures of .lab/bench-*.json into docs/performance.md, between its markers.

So a figure in that document is always one that was measured. A part whose file is missing stays as it is.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.render import boot, data, disk, heads, importing, lun, provision, query

__all__ = ["PARTS", "filled", "main"]

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Rewrite the document. Exits with 1 when a marker that it looks for isn't there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lab", type=Path, default=ROOT / ".lab")
    parser.add_argument("--document", type=Path, default=ROOT / "docs/performance.md")
    options = parser.parse_args()
    text = options.document.read_text()
    for name, (file, write) in PARTS.items():
        source = options.lab / file
        if not source.exists():
            print(f"{name}: left as it is, there is no {source}")
            continue
        try:
            text = filled(text, name, write(json.loads(source.read_text())))
        except LookupError as error:
            sys.exit(f"{name}: {error}")
        print(f"{name}: written")
    options.document.write_text(text)


def filled(text: str, name: str, part: str) -> str:
    """The document with `part` between the markers of `name`. Raises LookupError when they aren't there."""
    begin, end = f"<!-- measured: {name} -->\n", f"<!-- end: {name} -->"
    found = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not found.search(text):
        raise LookupError(f"the document has no {begin.strip()} ... {end}")
    return found.sub(lambda _: f"{begin}{part.rstrip()}\n{end}", text)


PARTS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "provision": ("bench-provision.json", provision),
    "heads": ("bench-heads.json", heads),
    "boot": ("bench-boot.json", boot),
    "data": ("bench-data.json", data),
    "lun": ("bench-data.json", lun),
    "query": ("bench-query.json", query),
    "disk": ("bench-disk.json", disk),
    "import": ("bench-import.json", importing),
}


if __name__ == "__main__":
    main()
