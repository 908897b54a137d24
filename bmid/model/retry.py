"""How long to wait before trying again. Pure: the random number comes from the caller."""

from __future__ import annotations

__all__ = ["backoff"]


def backoff(attempt: int, chance: float, *, base: float = 2.0, cap: float = 300.0) -> float:
    """Full-jitter back-off in seconds for the n-th failure (1, 2, ...); `chance` is in [0, 1).

    The window doubles from `base` to `cap`; the wait is drawn from its whole width (at least a tenth of it, so
    that nobody spins), which spreads the returns of many clients better than a fixed doubling.
    """
    window = min(cap, base * 2.0 ** min(attempt - 1, 30))
    return window * (0.1 + 0.9 * chance)
