"""Answers that say no, in the form of RFC 9457. What went wrong is decided elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

from bmid.errors import Problem

__all__ = ["HttpProblem"]


class HttpProblem(Exception):
    """Ends a request with a status, a problem and further headers."""

    def __init__(self, status: int, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.detail)
        self.status = status
        self.problem = problem
        self.headers = dict(headers or {})

    @classmethod
    def of(cls, status: int, slug: str, detail: str, todo: str, **headers: str) -> HttpProblem:
        """By the problem's slug; headers as `Retry_After="5"`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, Problem.of(slug, detail, todo=todo), named)

    def response(self) -> Response:
        """The answer itself."""
        content = self.problem.model_dump(mode="json", exclude_none=True, exclude={"undone", "extra"})
        content["status"] = self.status
        body = json.dumps(content).encode()
        return Response(body, self.status, self.headers, "application/problem+json")
