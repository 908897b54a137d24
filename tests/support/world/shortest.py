"""The shortest story that still goes wrong, found by leaving out one event after the other; and how it is told."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.world.story import Story

__all__ = ["account", "shortest"]

MOST = 200  # worlds that are tried


def shortest(story: Story, wrong: Callable[[Story], bool]) -> Story:
    """Halves first, then one by one, until nothing can be left out any more."""
    tries, size = 0, max(1, len(story.events) // 2)
    while tries < MOST:
        left_out = False
        events = story.events
        for start in range(0, len(events), size):
            shorter = story.without(*events[start : start + size])
            tries += 1
            if shorter != story and wrong(shorter):
                story, left_out = shorter, True
        if size == 1 and not left_out:
            break
        size = max(1, size // 2)
    return story


def account(story: Story, found: list[str], happened: list[str]) -> str:
    """What a person needs to understand it and to run it again."""
    parts = [
        f"seed {story.seed}: {found[0]}",
        *found[1:5],
        "",
        "the shortest story:",
        str(story),
        "",
        "what happened:",
        *happened[-60:],
    ]
    return "\n".join(parts)
