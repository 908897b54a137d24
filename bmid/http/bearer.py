"""Who may transfer the bytes of an operation: whoever has the token whose SHA-256 came with the command.

The token itself is known to nobody but the sender: what we have is its digest. Neither is ever logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from starlette.requests import Request

from bmid.errors import Problem, TransientError
from bmid.http.problem import HttpProblem

__all__ = ["Slot", "authorised", "in_thread_or_503"]

P = ParamSpec("P")
T = TypeVar("T")
OPERATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
NO_TOKEN = "0" * 64


class Slot(Protocol):
    """What a token opens; its hexadecimal SHA-256."""

    @property
    def token_sha256(self) -> str: ...


S = TypeVar("S", bound=Slot)


async def authorised(request: Request, find: Callable[[str], S | None], unknown: Problem) -> S:
    """What the operation in the request's path has to be transferred. Raises HttpProblem: 401 without a token, 404
    with `unknown` for a wrong one as for an operation without transfers, 503 while the database is away."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        todo = "send the header Authorization: Bearer TOKEN with the token whose SHA-256 is in the command"
        raise HttpProblem.of(401, "no-token", "the request carries no token", todo, WWW_Authenticate="Bearer")
    operation = request.path_params["operation"]
    slot = None
    if OPERATION.fullmatch(operation):
        slot = await in_thread_or_503(find, operation)
    # The same work and the same answer whether the operation is unknown or the token is wrong.
    digest = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).hexdigest()
    expected = slot.token_sha256 if slot is not None else NO_TOKEN
    right = hmac.compare_digest(digest.encode(), expected.lower().encode())
    if slot is None or not right:
        raise HttpProblem(404, unknown)
    return slot


async def in_thread_or_503(call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """A call that blocks, made in the pool; the sender comes again where the database is away."""
    try:
        return await asyncio.to_thread(call, *arguments, **named)
    except TransientError as error:
        raise HttpProblem(503, error.problem, {"Retry-After": "5"}) from error
