"""The models and the documents as tools of the Model Context Protocol, at /mcp."""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tunesmith import __version__
from tunesmith.conversation.ask import source_json
from tunesmith.core.errors import TunesmithError
from tunesmith.retrieval.prompt import CitedSource
from tunesmith.server.chats import ask_model
from tunesmith.server.cited_chats import ask_documents
from tunesmith.server.documents import Document
from tunesmith.server.errors import ApiError, document_of, error_of_body, response_of
from tunesmith.server.protocol import STRICT, ChatRequest
from tunesmith.server.service import Service

if TYPE_CHECKING:
    from mcp.server import Server, ServerRequestContext
    from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, Tool

PATH = "/mcp"
MAX_TOKENS = 512  # of an answer, unless a call says otherwise


class AskArguments(BaseModel):
    """What the tool `ask_model` takes."""

    model_config = STRICT
    message: str = Field(min_length=1, description="What to say to the model.")
    model: str | None = Field(None, description="A name of list_models; unless given, the base.")
    system: str | None = Field(None, description="A system message before it.")
    max_tokens: int = Field(MAX_TOKENS, ge=1, description="The longest answer, in tokens.")
    temperature: float = Field(0.0, ge=0, le=2, description="0 takes the likeliest tokens.")


class SearchArguments(BaseModel):
    """What the tool `search_documents` takes."""

    model_config = STRICT
    query: str = Field(min_length=1, description="A question, or words to search for.")


class NoArguments(BaseModel):
    """What the tool `list_models` takes."""

    model_config = STRICT


class ModelTools:
    """The tools over one server's models; each call is a request of the client that makes it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._known: dict[str, tuple[str, type[BaseModel], _Answer]] = {
            "list_models": ("The models that can be asked.", NoArguments, self._list),
            "ask_model": ("What a model of this server answers.", AskArguments, self._ask),
        }
        if service.served.documents is not None:
            text = "The passages of the indexed documents that fit a question best."
            self._known["search_documents"] = (text, SearchArguments, self._search)

    @property
    def listed(self) -> "list[Tool]":
        """As clients see them."""
        from mcp_types import Tool, ToolAnnotations

        hints = ToolAnnotations(read_only_hint=True, open_world_hint=False)
        return [
            Tool(
                name=name,
                description=text,
                input_schema=arguments.model_json_schema(),
                annotations=hints,
            )
            for name, (text, arguments, _) in self._known.items()
        ]

    async def call(self, request: Request, name: str, given: Mapping[str, Any]) -> Document:
        """What a tool answers; raises TunesmithError for what is refused."""
        if name not in self._known:
            raise ApiError(f"There is no tool {name[:100]!r}; there are {', '.join(self._known)}.")
        _, arguments, answer = self._known[name]
        try:
            return await answer(request, arguments.model_validate(dict(given)))
        except ValidationError as error:
            raise error_of_body(PATH, error.errors()) from None

    async def _list(self, _: Request, __: Any) -> Document:
        served = self._service.served
        return {"models": [{"name": n, "parent": served.parent(n)} for n in served.names]}

    async def _ask(self, request: Request, given: AskArguments) -> Document:
        served, model = self._service.served, given.model or self._service.served.name
        said = [{"role": "user", "content": given.message}]
        if given.system:
            said.insert(0, {"role": "system", "content": given.system})
        body = ChatRequest(
            model=model,
            messages=said,
            max_tokens=given.max_tokens,
            temperature=given.temperature,
        )
        ask = ask_documents if served.asks_documents(model) else ask_model
        chat = await ask(self._service, request, body)
        (answer,) = await chat.asked.collected()
        found = {"answer": answer.text, "model": model, "finish_reason": answer.reason}
        return found if chat.sources is None else {**found, "sources": [*chat.sources]}

    async def _search(self, _: Request, given: SearchArguments) -> Document:
        found = await self._service.served.find(given.query)
        numbered = enumerate(zip(found.passages, found.hits, strict=True), start=1)
        passages = [source_json(CitedSource(i, *said), hit) for i, (said, hit) in numbered]
        return {"passages": passages, "enough": not found.refused}


_Answer = Callable[[Request, Any], Awaitable[Document]]


def add_tools(app: FastAPI, service: Service) -> Callable[[], AbstractAsyncContextManager[None]]:
    """Offer the tools at ``PATH``; without the library it answers how to get it.

    They work while what is returned is entered, which is possible once.
    """
    if find_spec("mcp") is None:
        app.router.routes.append(Route(PATH, endpoint=_Missing()))
        return nullcontext
    from mcp.server.streamable_http_manager import (
        StreamableHTTPASGIApp,
        StreamableHTTPSessionManager,
    )

    # Without sessions: a call holds nothing here when it has ended. Hosts were looked at before.
    manager = StreamableHTTPSessionManager(
        _server(ModelTools(service)), json_response=True, stateless=True
    )
    app.router.routes.append(Route(PATH, endpoint=StreamableHTTPASGIApp(manager)))
    running: Callable[[], AbstractAsyncContextManager[None]] = manager.run
    return running


class _Missing:
    """Answers where the library is not installed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = ApiError(
            "This server has no MCP: install it with pip install 'tunesmith[mcp]'.",
            code="not_installed",
        )
        await response_of(error)(scope, receive, send)


def _server(tools: ModelTools) -> "Server[dict[str, Any]]":
    from mcp.server import Server
    from mcp_types import CallToolResult, ListToolsResult, TextContent

    async def list_tools(_: object, __: object) -> "ListToolsResult":
        return ListToolsResult(tools=tools.listed)

    async def call_tool(
        context: "ServerRequestContext[dict[str, Any], Request]", asked: "CallToolRequestParams"
    ) -> "CallToolResult":
        assert context.request is not None
        try:
            found = await tools.call(context.request, asked.name, asked.arguments or {})
        except TunesmithError as error:
            text = str(document_of(error)["error"]["message"])
            return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
        text = str(found.get("answer", json.dumps(found, ensure_ascii=False)))
        content = [TextContent(type="text", text=text)]
        return CallToolResult(content=content, structured_content=found)

    return Server(
        "tunesmith", version=__version__, on_list_tools=list_tools, on_call_tool=call_tool
    )
