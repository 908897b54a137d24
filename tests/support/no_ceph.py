"""As sitecustomize of a process: what it may not need can't be imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MISSING = ("rados", "rbd", "psycopg", "sushy", "pycdlib")


class Missing(MetaPathFinder):
    """Finds that they aren't there."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in MISSING:
            raise ModuleNotFoundError(f"{name} is not here", name=name)
        return None


sys.meta_path.insert(0, Missing())
