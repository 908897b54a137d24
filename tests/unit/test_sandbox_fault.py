"""The labels of a sandbox: what they say, and which calls they make fail."""

from __future__ import annotations

import pytest

from bmid.drivers import base
from bmid.errors import PermanentError, Refused, TransientError
from bmid.model.firmware import firmware_modes
from bmid.sandbox.disk import bootable_disk
from bmid.sandbox.fault import FAULTS, TRIES, Faults, FaultyMapping, FaultyPort

PORTS = {"storage": base.Storage, "target": base.Target, "boot": base.Boot, "power": base.Power, "seeds": base.Seeds}
PORTS |= {"isolation": base.Isolation}


def test_every_image_of_a_sandbox_seems_to_boot_with_both_firmwares() -> None:
    """The disk that is shown in place of all is one that the real inspection takes for bootable."""
    disk = bootable_disk()
    assert firmware_modes(lambda offset, length: disk[offset:][:length]) == ("bios", "uefi")


def test_every_word_names_calls_that_the_ports_have() -> None:
    """A call that was renamed would never fail."""
    named = [(port, call) for port, calls in FAULTS.values() for call in calls]
    assert named
    assert [(port, call) for port, call in named if not hasattr(PORTS[port], call)] == []


def test_a_fault_raises_before_its_call_and_leaves_the_others_alone() -> None:
    """The port itself is not reached."""
    faults, labels = Faults(), {"sandbox.fail": "clone, power"}
    faults.before("o1", "n1", labels, "storage", "discard")
    for port, call in (("storage", "clone"), ("power", "request")):
        with pytest.raises(PermanentError) as caught:
            faults.before("o1", "n1", labels, port, call)
        assert caught.value.problem.slug == "sandbox-fault"


def test_a_transient_fault_is_over_after_its_tries_for_each_operation() -> None:
    """The next operation meets it again."""
    faults, labels = Faults(), {"sandbox.fail": "export:transient"}
    for operation in ("o1", "o2"):
        for _ in range(TRIES):
            with pytest.raises(TransientError):
                faults.before(operation, "n1", labels, "target", "create")
        faults.before(operation, "n1", labels, "target", "create")


def test_no_isolation_is_refused_as_by_a_real_one() -> None:
    """A refusal, because nothing was done, and not a failure."""
    with pytest.raises(Refused) as caught:
        Faults().before("o1", "n1", {"sandbox.fail": "isolation"}, "isolation", "allows")
    assert caught.value.problem.slug == "node-not-allocated"


@pytest.mark.parametrize(
    "labels",
    [{"sandbox.fail": "exprot"}, {"sandbox.fail": "export:often"}, {"sandbox.delay": "long"}, {"sandbox.delay": "nan"}],
)
def test_a_label_that_nobody_understands_fails_any_call(labels: dict[str, str]) -> None:
    """And says what would be understood."""
    with pytest.raises(PermanentError) as caught:
        Faults().before("o1", "n1", labels, "storage", "sealed")
    assert caught.value.problem.slug == "sandbox-label"


def test_a_port_that_may_fail_is_the_same_port_otherwise() -> None:
    """Values pass, calls pass with their arguments, and each call is announced by its name."""
    called: list[str] = []
    port = FaultyPort("text", called.append)
    assert port.replace("t", "T", 1) == "Text"
    mapping = FaultyMapping({"redfish": (1, 2)}, called.append)
    assert (list(mapping), len(mapping), "redfish" in mapping, "other" in mapping) == (["redfish"], 1, True, False)
    assert mapping["redfish"].index(2) == 1
    assert called == ["replace", "index"]
