"""When heads tell each other that rows were written."""

from __future__ import annotations

from dataclasses import dataclass, field

from bmid.engine.herald import Herald


@dataclass
class Wire:
    """Remembers what was told, and has something to hear."""

    told: int = 0
    rings: list[bool] = field(default_factory=list)

    def tell(self) -> None:
        self.told += 1

    def listen(self, timeout: float, /) -> bool:
        return self.rings.pop(0)

    def close(self) -> None:
        return None


@dataclass
class Keeper:
    """Knows of other heads, or doesn't."""

    company: bool = True


def test_many_rows_are_told_of_once_and_nothing_is_told_without_any() -> None:
    wire, written = Wire(), [0]
    herald = Herald(wire, Keeper(), lambda: written[0], lambda: None)
    assert herald.tell() > 0
    written[0] = 24
    assert herald.tell() == 0
    assert herald.tell() > 0
    assert wire.told == 1


def test_a_head_alone_neither_tells_nor_listens() -> None:
    wire = Wire()
    herald = Herald(wire, Keeper(company=False), lambda: 1, lambda: None)
    assert herald.tell() > 0
    assert herald.hear() > 0
    assert wire.told == 0


def test_what_is_told_before_company_comes_is_told_when_it_has_come() -> None:
    wire, keeper = Wire(), Keeper(company=False)
    herald = Herald(wire, keeper, lambda: 1, lambda: None)
    herald.tell()
    keeper.company = True
    herald.tell()
    assert wire.told == 1


def test_a_ring_from_elsewhere_rings_here() -> None:
    rung: list[str] = []
    herald = Herald(Wire(rings=[False, True]), Keeper(), lambda: 0, lambda: rung.append("ring"))
    herald.hear()
    assert rung == []
    herald.hear()
    assert rung == ["ring"]
