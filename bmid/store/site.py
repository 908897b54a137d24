"""Who this site is, and from where its events are counted: one row, which a backup holds and a rebuild makes anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import delete, insert, select

from bmid.model.site import Site
from bmid.store.database import Tx
from bmid.store.rows import upsert
from bmid.store.schema import counter, identity

__all__ = ["EVENTS_A_SECOND", "began", "begin_anew", "epoch", "identifier", "keep", "named"]

EVENTS_A_SECOND = 100  # more than a site has, from one new beginning to the next


def identifier(tx: Tx) -> str:
    """The site's id; empty while no daemon has begun on this database."""
    return str(tx.execute(select(identity.c.id).limit(1)).scalar() or "")


def began(tx: Tx) -> int:
    """The number behind which sequences and positions began."""
    return int(tx.execute(select(identity.c.epoch).limit(1)).scalar() or 0)


def keep(tx: Tx, fresh: str) -> str:
    """The site's id, from now on `fresh` where it has none."""
    tx.execute(upsert(tx, identity).values(one=1, id=fresh, epoch=0).on_conflict_do_nothing())
    return identifier(tx)


def named(tx: Tx, one: Site) -> Site:
    """What handlers may know of the site, with its id."""
    return one if one.id else replace(one, id=identifier(tx))


def epoch(now: datetime) -> int:
    """Higher than any sequence or position that was given before, by what time allows: for that an earlier life of the
    database would have had to say more than `EVENTS_A_SECOND` ever since."""
    return int(now.timestamp()) * EVENTS_A_SECOND


def begin_anew(tx: Tx, own: str) -> None:
    """What was said last is not known any more: sequences and positions go on behind all that can have been said."""
    tx.execute(delete(identity))
    tx.execute(insert(identity).values(one=1, id=own, epoch=epoch(tx.now)))
    tx.execute(delete(counter).where((counter.c.name == "position") | counter.c.name.startswith("event:")))
