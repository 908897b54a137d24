"""The addresses of this machine, or of the network namespace that this process lives in. Looks only."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["is_local"]

TABLE = Path("/proc/thread-self/net/fib_trie")
_LOCAL = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")


def is_local(address: str) -> bool:
    """Whether an IPv4 address is on an interface here. A bind would say yes to any, where the machine allows that for
    addresses that move."""
    return address in _LOCAL.findall(TABLE.read_text())
