"""What all tables share: the names of their constraints, the kinds of their numbers, the revision of them all."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, MetaData, String

__all__ = ["METADATA", "REVISION", "Number", "identifier"]

REVISION = "0003"
METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# SQLite numbers rows by itself only where the key is a plain INTEGER.
Number = BigInteger().with_variant(Integer, "sqlite")


def identifier() -> Column[str]:
    """The key of what has an id of ours: 32 hex digits, or a digest of 64."""
    return Column("id", String(64), primary_key=True)
