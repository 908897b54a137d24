"""Node.js for tests: the one that script/setup has put beside Python, so that everybody tests with the same."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["node"]


def node() -> str:
    """The path of Node.js. AssertionError where script/setup has not run."""
    program = Path(sys.executable).with_name("node")
    assert program.exists(), "Node.js is not installed (script/setup installs it)"
    return str(program)
