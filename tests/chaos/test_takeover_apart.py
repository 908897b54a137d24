"""A head loses the database, and it alone: it answers no more before another one fences its disks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.network import run
from tests.support.duo import DEAD_AFTER, Duo, duo_of


@pytest.fixture
def duo(request: pytest.FixtureRequest) -> Iterator[Duo]:
    """Two heads with their own addresses."""
    with duo_of(request) as made:
        yield made


@contextmanager
def apart(duo: Duo, head: str) -> Iterator[None]:
    """Nothing of this head reaches the database's server, which says so."""
    namespace = duo.site.network.addresses.heads[duo.head(head).number].namespace
    rule = ("OUTPUT", "-p", "tcp", "--dport", str(duo.database.url.port), "-j", "REJECT", "--reject-with", "tcp-reset")
    inside = ("ip", "netns", "exec", str(namespace), "iptables")
    run(*inside, "-I", *rule)
    try:
        yield
    finally:
        run(*inside, "-D", *rule)


@pytest.mark.long  # tests/unit/test_solitude.py and tests/integration/test_roster_apart.py say the same of its parts
def test_writers_see_no_error_where_one_head_alone_has_lost_the_database(duo: Duo) -> None:
    """Its tgtd works on, and would answer them with errors from the moment when its disks are fenced."""
    duo.map(*duo.nodes(8))
    mine = [node for node, home in duo.homes().items() if home == "head-a"]
    writers = [duo.writer(node) for node in mine]
    try:
        duo.until(lambda: all(one.number > 20 for one in writers), 30, "first writes")
        with apart(duo, "head-a"):
            duo.until(lambda: duo.addresses("head-a") == set(), DEAD_AFTER + 5, "its address to go")
            assert not duo.ready("head-b")
            duo.until(lambda: duo.ready("head-b"), DEAD_AFTER + 30, "the takeover")
            marks = {one.name: one.number for one in writers}
            duo.until(lambda: all(one.number > marks[one.name] + 20 for one in writers), 40, "writes after it")
        duo.until(lambda: duo.targets("head-a") == 0, 30, "its targets to go")
    finally:
        for one in writers:
            one.stop()
    assert [one.errors for one in writers if one.errors] == []
    assert duo.wrong(*writers) == []
