"""POST /v1/responses: what a model says next to items of text, calls and their results."""

import secrets

from fastapi import Request
from fastapi.responses import Response
from pydantic import ValidationError

from tunesmith.server.answers import ServedAnswer
from tunesmith.server.chats import ask_model
from tunesmith.server.cited_chats import ask_documents
from tunesmith.server.documents import Document, usage_of
from tunesmith.server.errors import ApiError, error_of_body
from tunesmith.server.response_documents import ResponseFrame, ResponsePieces
from tunesmith.server.response_protocol import ResponseRequest
from tunesmith.server.service import Service, client_of
from tunesmith.server.stored import StoredResponse

PATH = "/v1/responses"
MAX_ITEMS = 100  # in one list of a response's input


async def respond(service: Service, request: Request, body: ResponseRequest) -> Response:
    """Answer the items of a request; raises TunesmithError for what is refused."""
    client = client_of(request)
    earlier: tuple[Document, ...] = ()
    if (previous := body.previous_response_id) is not None:
        stored = service.stored.get(previous, client, param="previous_response_id")
        earlier = stored.conversation
    items = tuple({"id": f"item_{secrets.token_hex(12)}", **item} for item in body.items)
    try:
        as_chat = body.as_chat([*earlier, *items])
    except ValidationError as error:
        raise error_of_body(PATH, error.errors()) from None
    except ValueError as error:
        raise ApiError(f"{str(error)[0].upper()}{str(error)[1:]}.", param="input") from None
    ask = ask_documents if service.served.asks_documents(body.model) else ask_model
    chat = await ask(service, request, as_chat)
    frame = ResponseFrame(body, chat)
    chat.asked.span.named(frame.id)

    def keep(document: Document) -> Document:
        if body.store is not False:
            service.stored.keep(StoredResponse(client, earlier, items, document))
        return document

    if body.stream:
        return chat.asked.stream(ResponsePieces(frame, keep), counts_usage=True)

    def document(found: list[ServedAnswer]) -> Document:
        (answer,) = found
        usage = usage_of(chat.asked.prompt_tokens, found)
        return keep(frame.document(frame.output(answer), reason=answer.reason, usage=usage))

    return await chat.asked.whole(document)


def input_items(
    stored: StoredResponse, *, limit: int = 20, order: str = "desc", after: str | None = None
) -> Document:
    """What was said before a response, as a page of a list; ApiError for a wrong ``after``."""
    items = [*stored.earlier, *stored.items]
    if order == "desc":
        items.reverse()
    if after is not None:
        found = [i for i, item in enumerate(items) if item["id"] == after]
        if not found:
            raise ApiError(f"There is no item {after[:100]!r}.", param="after")
        items = items[found[0] + 1 :]
    page = items[:limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(items) > limit,
    }
