"""What must be true among the rows of operations, events and claims, and how what is wrong there is put right.

Looked at is only what is younger than the retention, since older rows may have been forgotten; things are elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, TextClause, and_, bindparam, delete, func, or_, select, text, update

from bmid.errors import Problem
from bmid.messages.operation import OperationFailed
from bmid.model.finding import Finding, Kind
from bmid.model.operation import Phase
from bmid.store import operations, outbox, site
from bmid.store.column import Instant
from bmid.store.database import Tx
from bmid.store.outbox import Cause
from bmid.store.schema import boot, claim, disk, operation, operation_key, upload
from bmid.store.schema import outbox as events

__all__ = ["faults", "settle"]

BORDER = timedelta(hours=1)  # rows that are forgotten together were not written at exactly one moment
MOST = 1000  # faults of a kind that are told at a time
_LOST = "rows were changed by hand, or a database was put back"


def _gaps(columns: str, where: str) -> TextClause:
    """Neighbours that are more than 1 apart, and subjects whose counter is beyond their last event. The leap to the
    epoch of a database that was put back or made again is none."""
    following = (
        "coalesce(lead(n) OVER (PARTITION BY subject ORDER BY n),"
        " (SELECT value + 1 FROM counter WHERE counter.name = numbered.counted))"
    )
    numbered = f"SELECT {columns}, created_at AS at FROM outbox WHERE {where}"  # noqa: S608 - constants
    neighbours = f"SELECT subject, n, at, {following} AS following FROM ({numbered}) AS numbered"  # noqa: S608
    return text(
        f"SELECT subject, n, following FROM ({neighbours}) AS neighbours"  # noqa: S608
        " WHERE following > n + 1 AND at > :since AND NOT (n <= :epoch AND :epoch < following)"
        f" ORDER BY n LIMIT {MOST}"
    ).bindparams(bindparam("since", type_=Instant), bindparam("epoch", type_=BigInteger))


SEQUENCES = _gaps(
    "envelope ->> 'subject' AS subject, CAST(envelope ->> 'sequence' AS BIGINT) AS n,"
    " 'event:' || (envelope ->> 'subject') AS counted",
    "TRUE",
)
POSITIONS = _gaps("'' AS subject, position AS n, 'position' AS counted", "position IS NOT NULL")


def faults(tx: Tx, ends: Mapping[str, Sequence[str]], retention: timedelta) -> Iterator[Finding]:
    """All that is wrong. `ends` are the types of the events that end a command, by its type."""
    since = tx.now - retention + BORDER
    yield from _ends(tx, ends, since)
    for kind, query in ((Kind.SEQUENCE_GAP, SEQUENCES), (Kind.POSITION_GAP, POSITIONS)):
        for row in tx.execute(query, {"since": since, "epoch": site.began(tx)}):
            first, last = row.n + 1, row.following - 1
            which = f"{first}" if first == last else f"{first} to {last}"
            of = f" of {row.subject}" if row.subject else ""
            what = f"no event{of} has the {'sequence' if row.subject else 'position'} {which}"
            yield Finding(kind, row.subject or "events", f"database {first}", what, _LOST)
    yield from _left(tx)


def _ends(tx: Tx, ends: Mapping[str, Sequence[str]], since: datetime) -> Iterator[Finding]:
    final = or_(*(and_(operation.c.type == kind, events.c.type.in_(types)) for kind, types in ends.items()))
    told = func.count(events.c.id)
    query = (
        select(operation.c.id, operation.c.type, operation.c.phase, told.label("told"))
        .outerjoin(events, and_(events.c.operation == operation.c.id, final))
        .where(operation.c.ended_at > since, operation.c.type.in_(ends))
        .group_by(operation.c.id, operation.c.type, operation.c.phase)
        .having(told != 1)
        .limit(MOST)
    )
    for row in tx.execute(query):
        kind = Kind.END_DOUBLED if row.told else Kind.END_MISSING
        said = f"{row.told} final events" if row.told else "no final event"
        details = {"phase": str(row.phase)}
        yield Finding(kind, row.id, "database", f"{row.type} has {row.phase}, and {said}", _LOST, details=details)


def _left(tx: Tx) -> Iterator[Finding]:
    going_on = select(operation.c.id).where(operation.c.ended_at.is_(None))
    for kind, what, query in (
        (
            Kind.CLAIM_LEFT,
            "claim {} is held for an operation that has ended",
            # A role belongs to no operation; and NULL is in no set, not even outside of an empty one.
            select(claim.c.key).where(
                claim.c.holder.is_not(None), claim.c.operation.is_not(None), claim.c.operation.not_in(going_on)
            ),
        ),
        (
            Kind.KEY_LEFT,
            "key {} is wanted by an operation that has ended",
            select(operation_key.c.key).where(operation_key.c.operation.not_in(going_on)),
        ),
        (
            Kind.BOOT_LEFT,
            "the boot of disk {} is watched, which has no row",
            select(boot.c.disk).where(boot.c.disk.not_in(select(disk.c.id))),
        ),
        (
            Kind.UPLOAD_LEFT,
            "an upload is awaited for operation {}, which is not there",
            select(upload.c.operation).where(upload.c.operation.not_in(select(operation.c.id))),
        ),
    ):
        for (subject,) in tx.execute(query.limit(MOST)):
            yield Finding(kind, subject, "database", what.format(subject), _LOST)


def settle(tx: Tx, findings: Iterable[Finding], source: str) -> int:
    """Put right what can be, where it is still so; how many. `source` is ours, for events."""
    done = 0
    going_on = select(operation.c.id).where(operation.c.ended_at.is_(None))
    for one in findings:
        if one.kind is Kind.END_MISSING:
            done += _tell_again(tx, one.subject, source)
        elif one.kind is Kind.CLAIM_LEFT:
            left = (claim.c.key == one.subject) & claim.c.operation.not_in(going_on)
            done += tx.execute(update(claim).where(left).values(holder=None, operation=None, expires_at=None)).rowcount
        elif one.kind is Kind.KEY_LEFT:
            stale = (operation_key.c.key == one.subject) & operation_key.c.operation.not_in(going_on)
            done += tx.execute(delete(operation_key).where(stale)).rowcount
        elif one.kind is Kind.BOOT_LEFT:
            done += tx.execute(delete(boot).where(boot.c.disk == one.subject)).rowcount
        elif one.kind is Kind.UPLOAD_LEFT:
            done += tx.execute(delete(upload).where(upload.c.operation == one.subject)).rowcount
    return done


def _tell_again(tx: Tx, identifier: str, source: str) -> int:
    """A failure is in its operation's row, whole. What a success had to say is nowhere else."""
    one = operations.find(tx, identifier)
    if one is None or one.phase is not Phase.FAILED or one.problem is None:
        return 0
    stored = dict(one.problem)
    refused = bool(stored.pop("refused", False))
    problem = Problem.model_validate(stored)
    event = OperationFailed(operation=one.id, command=one.type, project=one.project, refused=refused, problem=problem)
    outbox.emit(tx, event, Cause(source, one.id, one.correlation, one.message, one.traceparent))
    return 1
