"""A node runs from its iSCSI disk, and the target daemon behind that is killed: it waits, and goes on without error."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable

import pytest

from lab.image.debian import DebianImage
from lab.layout import Layout
from lab.node import VirtualNode
from lab.process import wait_for
from lab.site import Site
from tests.support.site import CACHE, standing

# What is typed is seen on the console, too: no word of it is one that is waited for.
PATIENTLY = 400  # seconds; the system is emulated, beside other work
WRITE = (
    "i=0; while sleep 0.2 && [ ! -e /run/enough ]; do i=$((i+1));"
    " dd if=/dev/urandom of=/root/piece bs=64k count=2 conv=fsync status=none &&"
    " sha256sum /root/piece > /root/sum && sync /root/sum && echo WR''OTE $i || echo REF''USED; done &\n"
)
LOOK = (
    "touch /run/enough; wait; echo 3 > /proc/sys/vm/drop_caches; sha256sum -c /root/sum > /dev/null && echo SA''ME;"
    " touch /root/new && echo WRIT''ABLE; dmesg | grep -ciE 'i/o error|remounting|aborted' | sed 's/^/TRO''UBLE /';"
    " dmesg | grep -c 'detected conn error' | sed 's/^/CU''TS /'\n"
)


def wrote(node: VirtualNode) -> int:
    """How many writes its system was told are on disk."""
    return max((int(one) for one in re.findall(r"WROTE (\d+)\r?$", node.console_text(), re.MULTILINE)), default=0)


def targets(site: Site) -> int:
    """How many targets its tgtd has."""
    return site.tgtds[0].tgtadm("--mode", "target", "--op", "show").count("Target ")


def until(condition: Callable[[], bool], what: str) -> float:
    """Wait for it; how many seconds that took."""
    began = time.monotonic()
    wait_for(condition, PATIENTLY, what)
    return time.monotonic() - began


@pytest.mark.long  # tests/chaos/test_outage_target.py says the same of initiators
@pytest.mark.timeout(900)
def test_a_booted_node_goes_on_without_an_error_when_its_target_daemon_was_killed(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once, and after some seconds in which nobody answered."""
    with standing(Layout(nodes=1, memory=1024, local_disk_every=0), request) as tenant:
        site, node = tenant.site, tenant.site.node("n1")
        [mapped] = tenant.map("n1", image=tenant.image("debian", DebianImage(CACHE).build()), timeout=400)
        assert mapped.ok, mapped.problem
        node.log_in(PATIENTLY)
        node.type(WRITE)
        until(lambda: wrote(node) >= 3, "its first writes")
        told = []
        for away in (0, 5):
            site.tgtds[0].kill()
            time.sleep(away)
            site.tgtds[0].start()
            back = until(lambda: targets(site) == 1, "its target")
            marked = wrote(node)
            went_on = back + until(lambda marked=marked: wrote(node) > marked + 3, "writes after it")
            told.append(f"tgtd {away} s away: target back after {back:.1f} s more, writes after {went_on:.1f} s")
        with capsys.disabled():
            sys.stdout.write("\n" + "\n".join(told) + "\n")
        node.type(LOOK)
        cuts = int(node.wait_for_console("CUTS ", PATIENTLY).split()[1])
        said = node.console_text()
        assert re.search(r"SAME\r?$", said, re.MULTILINE), "what it was told is on disk is there"
        assert re.search(r"WRITABLE\r?$", said, re.MULTILINE)
        assert node.wait_for_console("TROUBLE ", 5) == "TROUBLE 0"
        assert "REFUSED" not in said
        assert cuts >= 2, "its sessions were cut, or nothing was shown"
        assert all(result.ok for result in tenant.unmap("n1", force=True))
