"""Many workers at once on one line of operations, on SQLite and on PostgreSQL."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Sequence

from bmid.errors import TransientError
from bmid.model.claim import Key
from bmid.store.database import Database
from bmid.store.operations import Busy
from tests.support.line import accept, end, take


def test_many_threads_run_everything_once_in_order_and_never_two_on_a_key(database: Database) -> None:
    """16 threads, 300 operations, 20 keys, a third of them shared: the world they act on is a dictionary."""
    chance = random.Random(7)  # noqa: S311 - the same wishes each time
    wishes: dict[str, list[Key]] = {}
    for number in range(300):
        wanted = chance.sample(range(20), chance.choice((1, 1, 2)))
        keys = [Key(f"node:{key}", exclusive=chance.random() < 0.67) for key in sorted(wanted)]
        wishes[f"o{number:03}"] = keys
        accept(database, f"o{number:03}", keys)
    lock, inside = threading.Lock(), defaultdict(set)
    done: list[str] = []
    faults: list[str] = []

    def enter(name: str) -> None:
        with lock:
            for key in wishes[name]:
                others = inside[key.name]
                clash = [other for other in others if key.exclusive or _wants(wishes[other], key.name)]
                faults.extend(f"{name} and {other} on {key.name}" for other in clash)
                others.add(name)

    def leave(name: str) -> None:
        with lock:
            done.append(name)
            for key in wishes[name]:
                inside[key.name].discard(name)

    def work(holder: str) -> None:
        idle = 0
        while idle < 200:
            try:
                name = take(database, holder)
                if name is None:
                    idle += 1
                    threading.Event().wait(0.005)
                    continue
                idle = 0
                enter(name)
                leave(name)
                end(database, name, holder)
            except Busy as busy:
                faults.append(f"{busy.operation} is kept waiting by a claim that nobody needs")
            except TransientError as error:
                faults.append(str(error))
            with lock:
                if len(done) == len(wishes):
                    return

    threads = [threading.Thread(target=work, args=(f"h1/{number}",)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    assert sorted(done) == sorted(wishes)
    for key in {key.name for keys in wishes.values() for key in keys}:
        line = [(name, _wants(wishes[name], key)) for name in done if any(one.name == key for one in wishes[name])]
        for place, (name, alone) in enumerate(line):
            later = [other for other, theirs in line[place + 1 :] if (alone or theirs) and other < name]
            assert later == [], f"{name} overtook {later} on {key}"


def _wants(keys: Sequence[Key], name: str) -> bool:
    return any(key.name == name and key.exclusive for key in keys)
