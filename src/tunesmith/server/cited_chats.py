"""Chats with `MODEL+rag`: a question answered from documents, with the sources that it cites."""

from collections.abc import Sequence

from fastapi import Request

from tunesmith.conversation.ask import AskSettings, source_json
from tunesmith.data.rows import Message
from tunesmith.retrieval.prompt import refusal_for
from tunesmith.server.chats import AskedChat, read_messages
from tunesmith.server.errors import ApiError
from tunesmith.server.protocol import ChatRequest
from tunesmith.server.service import Asked, Service


async def ask_documents(service: Service, request: Request, body: ChatRequest) -> AskedChat:
    """Have one question answered from the documents; raises TunesmithError for what is refused.

    Where too little was found, that is the answer, and no model is asked.
    """
    question = the_question(read_messages(body))
    if body.tools or body.schema_of_answer is not None:
        raise ApiError(
            "An answer from documents takes no tools and no response_format.",
            param="tools" if body.tools else "response_format",
        )
    adapter = await service.served.acquire(body.model)
    asked = Asked(service, request, adapter)
    limit = body.limit or AskSettings().sampling.max_new_tokens
    try:
        found = await service.served.find(question)
        if found.refused:
            asked.answer(refusal_for(found.question))
            return AskedChat(asked, sources=[])
        prompt, cited = await service.served.cited_prompt(found, adapter, max_tokens=limit)
        asked.submit([prompt], body, limit=limit, top_scores=body.top_scores)
    except BaseException:
        asked.finish()
        raise
    sources = [source_json(s, hit) for s, hit in zip(cited.sources, found.hits, strict=False)]
    scored = asked.decode if body.logprobs else None
    return AskedChat(asked, scored=scored, cited=cited.sources, sources=sources)


def the_question(messages: Sequence[Message]) -> str:
    """The one question of a request; ApiError where it is a conversation."""
    if [message.role for message in messages] != ["user"]:
        what = "An answer from documents is to one question: send one message of the user."
        raise ApiError(what, param="messages")
    return messages[0].content
