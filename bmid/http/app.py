"""The application: its routes, and every error as a problem that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bmid.http.download import DownloadEndpoint, Downloads
from bmid.http.problem import HttpProblem
from bmid.http.upload import UploadEndpoint, Uploads

__all__ = ["OK", "Health", "build"]

log = structlog.get_logger(__name__)

OK = "ok"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(Protocol):
    """How the parts are: a name, and "ok" or what is wrong, without secrets. Never raises."""

    def report(self) -> dict[str, str]: ...


def build(
    uploads: Uploads, health: Health, metrics: Callable[[], bytes] | None = None, downloads: Downloads | None = None
) -> Starlette:
    """The ASGI application. `/healthz`: the process answers; `/readyz`: all of its parts are well."""

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"process": OK})

    async def readyz(_request: Request) -> Response:
        report = await run_in_threadpool(health.report)
        well = all(state == OK for state in report.values())
        return JSONResponse(report, 200 if well else 503)

    async def show_metrics(_request: Request) -> Response:
        content = await run_in_threadpool(metrics) if metrics else b""
        return Response(content, media_type=METRICS_TYPE)

    routes = [
        Route("/v1/uploads/{operation}", UploadEndpoint(uploads).put, methods=["PUT"]),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
    ]
    if downloads is not None:
        endpoint = DownloadEndpoint(downloads)
        routes.append(Route("/v1/downloads/{operation}", endpoint.handle, methods=["GET", "DELETE"]))
    if metrics is not None:
        routes.append(Route("/metrics", show_metrics))
    handlers = {HttpProblem: _problem, HTTPException: _http_error, Exception: _our_mistake}
    return Starlette(routes=routes, exception_handlers=handlers)


async def _problem(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HttpProblem):
        raise error
    return error.response()


async def _http_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    detail = "nothing is here" if error.status_code == 404 else error.detail
    headers = {name.replace("-", "_"): value for name, value in (error.headers or {}).items()}
    todo = "uploads are sent with PUT, downloads are fetched with GET"
    if error.status_code == 404:
        todo = "see the address in the event"
    return HttpProblem.of(error.status_code, "bad-request", detail, todo, **headers).response()


async def _our_mistake(_request: Request, _error: Exception) -> Response:
    todo = "try again; if it stays, the daemon's log has the cause"
    return HttpProblem.of(500, "internal-error", "the request could not be carried out", todo).response()
