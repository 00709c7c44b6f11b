"""The routes: /health, /v1/models and /v1/chat/completions, each error in OpenAI's form."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from experiments.serving.errors import ApiError
from experiments.serving.exchange import Exchange, pass_over
from experiments.serving.service import Service


def make_app(service: Service) -> FastAPI:
    """The ASGI application; the service's queue runs as long as it does."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.queue.start()
        yield
        service.queue.close()

    # no page that shows the routes: it would load its scripts from elsewhere
    app = FastAPI(lifespan=lifespan, openapi_url=None)
    model = {"id": service.name, "object": "model", "created": 0, "owned_by": "region-understanding"}

    @app.get("/health")
    async def health() -> Response:
        """Whether questions are answered; needs no key."""
        alive = service.queue.is_alive
        state = {"status": "ok" if alive else "down", "under_way": service.under_way, "waiting": len(service.queue)}
        return JSONResponse(state, HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE)

    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        """The only one."""
        service.authorise(request.headers.get("authorization", ""))
        return {"object": "list", "data": [model]}

    @app.get("/v1/models/{name:path}")
    async def model_of(request: Request, name: str) -> dict[str, Any]:
        """It alone."""
        service.authorise(request.headers.get("authorization", ""))
        if name != service.name:
            message = f"no model {name[:80]!r}, there is {service.name!r}"
            raise ApiError(HTTPStatus.NOT_FOUND, message, "model_not_found", "model")
        return model

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        """An answer, whole or as a stream of events."""
        try:
            service.authorise(request.headers.get("authorization", ""))
            _check_type(request)
        except ApiError:
            await pass_over(request.stream(), service.limits.body)
            raise
        return await Exchange(service, request).answer()

    @app.exception_handler(ApiError)
    async def refuse(_: Request, error: ApiError) -> Response:
        # the client waits before it tries again
        headers = {"Retry-After": "1"} if error.status == HTTPStatus.SERVICE_UNAVAILABLE else None
        return JSONResponse(error.body, error.status, headers)

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        code = "unknown_url" if error.status_code == HTTPStatus.NOT_FOUND else "invalid_request"
        message = f"{request.method} {request.url.path[:80]}: {error.detail}"
        return JSONResponse(ApiError(HTTPStatus(error.status_code), message, code).body, error.status_code)

    return app


def _check_type(request: Request) -> None:
    """A page of another site may send all but JSON through its visitor's browser, without asking first."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        message = "Content-Type: application/json is needed"
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message, "invalid_content_type")
