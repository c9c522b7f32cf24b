"""The routes of the server, and what becomes of their errors."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from tunesmith import __version__
from tunesmith.core.errors import AdapterError, TunesmithError
from tunesmith.server.access import AccessGate, Keys
from tunesmith.server.chats import ask_model, chat
from tunesmith.server.cited_chats import ask_documents
from tunesmith.server.completions import complete
from tunesmith.server.documents import Document
from tunesmith.server.embeddings import embed
from tunesmith.server.errors import DOCUMENTED, ApiError, error_of_body, response_of, status_of
from tunesmith.server.mcp_tools import add_tools
from tunesmith.server.metrics import Counting, Metrics
from tunesmith.server.protocol import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    LoadRequest,
    UnloadRequest,
)
from tunesmith.server.response_protocol import ResponseRequest
from tunesmith.server.responses import MAX_ITEMS, PATH, input_items, respond
from tunesmith.server.served import ServedModels
from tunesmith.server.service import Service, client_of
from tunesmith.server.traces import Traced, Traces, span_of

logger = logging.getLogger(__name__)
STREAMED: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
"""What else an answer can be than one document."""
TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}


def make_app(
    served: ServedModels,
    *,
    keys: Keys,
    max_body_bytes: int,
    request_seconds: float | None,
    traces: Traces | None = None,
) -> FastAPI:
    """The application; whoever runs it closes ``served``, and it closes ``traces``."""
    app = FastAPI(
        title="Tunesmith",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        responses=DOCUMENTED,
    )
    service = Service(served, Metrics(served), request_seconds)
    if traces is not None:
        app.add_middleware(Traced, traces=traces)
    app.add_middleware(AccessGate, keys=keys, max_body_bytes=max_body_bytes)
    app.add_middleware(Counting, metrics=service.metrics)  # the outermost, which counts refusals
    _generation_routes(app, service)
    _response_routes(app, service)
    _model_routes(app, served)
    _adapter_routes(app, served)
    _state_routes(app, service)
    tools = add_tools(app, service)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with tools():
            yield
        if traces is not None:
            await asyncio.to_thread(traces.close)

    app.router.lifespan_context = lifespan
    _error_handlers(app)
    _document(app)
    return app


def _document(app: FastAPI) -> None:
    """Take out of the OpenAPI document what FastAPI adds and is never answered here."""
    whole = app.openapi

    def documented() -> dict[str, Any]:
        document = whole()
        for methods in document["paths"].values():
            for operation in methods.values():
                operation["responses"].pop("422", None)
                content = operation["responses"]["200"].get("content", {})
                if "text/plain" in content:  # and no JSON, as its refusals are
                    content.pop("application/json", None)
        return document

    app.openapi = documented  # type: ignore[method-assign]


def _generation_routes(app: FastAPI, service: Service) -> None:
    served = service.served

    @app.post("/v1/chat/completions", responses=STREAMED)
    async def chat_completions(request: Request, body: ChatRequest) -> Response:
        """Answer a conversation."""
        ask = ask_documents if served.asks_documents(body.model) else ask_model
        return await chat(await ask(service, request, body), body)

    @app.post("/v1/completions", responses=STREAMED)
    async def completions(request: Request, body: CompletionRequest) -> Response:
        """Continue texts."""
        if served.asks_documents(body.model):
            raise ApiError("Answers from documents are for chats.", param="model")
        return await complete(service, request, body)

    @app.post("/v1/embeddings")
    async def embeddings(request: Request, body: EmbeddingRequest) -> Document:
        """Vectors of texts."""
        found = await embed(served, body)
        span = span_of(request.state)
        span.model(body.model)
        span.read(found["usage"]["prompt_tokens"])
        return found


def _response_routes(app: FastAPI, service: Service) -> None:
    @app.post(PATH, responses=STREAMED)
    async def responses(request: Request, body: ResponseRequest) -> Response:
        """Answer items of text and calls."""
        return await respond(service, request, body)

    @app.get(PATH + "/{response_id}")
    async def show_response(request: Request, response_id: str) -> Document:
        """A response that is kept."""
        if request.query_params:
            raise ApiError("A response that is kept is given whole, without any parameter.")
        return service.stored.get(response_id, client_of(request)).document

    @app.get(PATH + "/{response_id}/input_items")
    async def show_items(
        request: Request,
        response_id: str,
        limit: Annotated[int, Query(ge=1, le=MAX_ITEMS)] = 20,
        order: Literal["asc", "desc"] = "desc",
        after: str | None = None,
    ) -> Document:
        """What was said before a response that is kept."""
        stored = service.stored.get(response_id, client_of(request))
        return input_items(stored, limit=limit, order=order, after=after)

    @app.delete(PATH + "/{response_id}")
    async def forget_response(request: Request, response_id: str) -> Document:
        """Forget a response."""
        service.stored.forget(response_id, client_of(request))
        return {"id": response_id, "object": "response", "deleted": True}


def _model_routes(app: FastAPI, served: ServedModels) -> None:
    def model_document(name: str) -> Document:
        return {
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": "tunesmith",
            "root": served.name,
            "parent": served.parent(name),
            "max_model_len": served.context,
        }

    @app.get("/v1/models")
    async def list_models() -> Document:
        """The base and its adapters."""
        return {"object": "list", "data": [model_document(name) for name in served.names]}

    @app.get("/v1/models/{name:path}")
    async def show_model(name: str) -> Document:
        """One of them."""
        if name not in served.names:
            raise AdapterError("There is no such model here.", code="unknown")
        return model_document(name)


def _adapter_routes(app: FastAPI, served: ServedModels) -> None:
    @app.post("/v1/load_lora_adapter", responses=TEXT)
    async def load_adapter(body: LoadRequest) -> Response:
        """Give an adapter below the server's folder a name, and see that it fits the base."""
        folder = served.pool.place_below_root(body.lora_path)
        if body.lora_name == served.name:
            raise ApiError("This is the base's name.", param="lora_name")
        is_new = body.lora_name not in served.pool.names
        await served.between_steps(lambda: served.pool.add(body.lora_name, folder))
        try:
            served.release(await served.acquire(body.lora_name))
        except TunesmithError:
            if is_new:
                await served.between_steps(lambda: served.pool.remove(body.lora_name))
            raise
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' added successfully.")

    @app.post("/v1/unload_lora_adapter", responses=TEXT)
    async def unload_adapter(body: UnloadRequest) -> Response:
        """Take an adapter off the base, and forget its name."""
        await served.between_steps(lambda: served.pool.remove(body.lora_name))
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")


def _state_routes(app: FastAPI, service: Service) -> None:
    @app.get("/health", response_class=Response)
    async def health() -> Response:
        """Whether it can answer."""
        return Response(status_code=200 if service.served.thread.is_alive else 503)

    @app.get("/metrics", responses=TEXT)
    async def metrics() -> Response:
        """Counts for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _error_handlers(app: FastAPI) -> None:
    @app.exception_handler(TunesmithError)
    async def refused(request: Request, error: TunesmithError) -> JSONResponse:
        """A refusal in OpenAI's shape."""
        span_of(request.state).fail(error, status_of(error))
        return response_of(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        """A body that is not as it should be."""
        return await refused(request, error_of_body(request.url.path, error.errors()))

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> JSONResponse:
        """No such path, or another method."""
        document = {"message": str(error.detail), "type": "invalid_request_error"}
        return JSONResponse(
            {"error": {**document, "param": None, "code": None}},
            status_code=error.status_code,
            headers=error.headers,
        )

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        """A fault of ours: its place is in the log, and nothing that the request or error says."""
        place = "".join(traceback.format_tb(error.__traceback__))
        logger.error("%s failed: %s\n%s", request.scope["path"], type(error).__name__, place)
        fault = TunesmithError("The server failed at this request.", code="failed")
        return await refused(request, fault)
