"""What can go wrong before there is a result, each with the exit code of the command line. No result lives here."""

from __future__ import annotations

from typing import ClassVar

from bmid.errors import Problem
from bmid.model.exit import Exit

__all__ = [
    "BadSettings",
    "DownloadFailed",
    "Lost",
    "NotAllowed",
    "PublishError",
    "QueryFailed",
    "Unreachable",
    "UploadFailed",
]


class PublishError(Exception):
    """A problem a person can act on. `exit_code` is what bmi-publish ends with."""

    exit_code: ClassVar[Exit] = Exit.FAILED

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem

    @classmethod
    def of(cls, slug: str, detail: str, todo: str) -> PublishError:
        """An error named by its problem's slug."""
        return cls(Problem.of(slug, detail, todo=todo))


class Unreachable(PublishError):
    """The broker, or whoever should answer, can't be reached within the time allowed."""

    exit_code = Exit.UNAVAILABLE


class NotAllowed(PublishError):
    """The broker knows us and says no."""

    exit_code = Exit.FORBIDDEN


class QueryFailed(PublishError):
    """The question was answered with a problem."""


class UploadFailed(PublishError):
    """The bytes did not arrive at the server."""


class DownloadFailed(PublishError):
    """The bytes did not arrive here."""


class BadSettings(PublishError):
    """The settings can't be used."""

    exit_code = Exit.MISCONFIGURED


class Lost(Exception):
    """The connection has gone; whoever catches this opens it again. Never leaves the package."""
