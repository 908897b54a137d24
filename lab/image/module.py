"""Kernel modules: which ones a module needs, in the order in which they must be loaded.

There is no depmod on a machine that only builds images; the modules themselves say what they depend on.
"""

from __future__ import annotations

import re
from pathlib import Path


def load_order(modules: Path, wanted: tuple[str, ...]) -> list[Path]:
    """The files of `wanted` (names without .ko) and of all they depend on, dependencies first.

    `modules` is a folder such as lib/modules/6.1.0-1-cloud-amd64. Names that are no file are built into the kernel
    and left out. Raises ValueError when none of `wanted` is found.
    """
    files = {path.stem.replace("-", "_"): path for path in modules.rglob("*.ko")}
    order: dict[str, Path] = {}

    def add(name: str) -> None:
        name = name.replace("-", "_")
        if name in order or name not in files:
            return
        for dependency in _depends(files[name]):
            add(dependency)
        order[name] = files[name]

    for name in wanted:
        add(name)
    if not order:
        raise ValueError(f"none of {', '.join(wanted)} below {modules}")
    return list(order.values())


def _depends(module: Path) -> list[str]:
    found = re.search(rb"\0depends=([^\0]*)\0", module.read_bytes())
    return [name for name in found.group(1).decode().split(",") if name] if found else []
