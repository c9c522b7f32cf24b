"""Chats with `MODEL+rag`: a question answered from documents, with the sources that it cites."""

import re
from collections.abc import Sequence

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from tunesmith.conversation.ask import AskSettings, source_json
from tunesmith.conversation.documents import FoundPassages
from tunesmith.data.rows import Message
from tunesmith.generation.request import AnswerEnd, MadeToken
from tunesmith.retrieval.prompt import CITATION, CitedSource, refusal_for
from tunesmith.server.answers import Event, ServedAnswer
from tunesmith.server.chats import ChatPieces, read_messages
from tunesmith.server.documents import Document, chat_choice, chat_frame, event_of, usage_of
from tunesmith.server.errors import ApiError
from tunesmith.server.protocol import ChatRequest
from tunesmith.server.service import STREAM_HEADERS, Asked, Service


async def cited_chat(service: Service, request: Request, body: ChatRequest) -> Response:
    """Answer one question from the documents; raises TunesmithError for what is refused."""
    question = the_question(read_messages(body))
    if body.tools or body.schema_of_answer is not None:
        raise ApiError("An answer from documents takes no tools and no response_format.")
    found = await service.served.find(question)
    if found.refused:
        return _refusal(body, found)
    adapter = await service.served.acquire(body.model)
    asked = Asked(service, request, adapter)
    limit = body.limit or AskSettings().sampling.max_new_tokens
    try:
        prompt, cited = await service.served.cited_prompt(found, adapter, max_tokens=limit)
        asked.submit([prompt], body, limit=limit, top_scores=body.top_scores)
    except BaseException:
        asked.finish()
        raise
    frame = chat_frame(body.model)
    scored = asked.decode if body.logprobs else None
    sources = [source_json(s, hit) for s, hit in zip(cited.sources, found.hits, strict=False)]

    def more(answer: ServedAnswer) -> Document:
        return {"annotations": annotations(answer.text, cited.sources)}

    if body.stream:
        pieces = ChatPieces(frame, (), scored, more)
        return asked.stream(pieces, counts_usage=body.counts_usage)

    def document(answers: list[ServedAnswer]) -> Document:
        choices = [chat_choice(i, answer, (), scored) for i, answer in enumerate(answers)]
        for choice, answer in zip(choices, answers, strict=True):
            choice["message"] |= more(answer)
        return {**frame.whole(choices, usage_of(asked.prompt_tokens, answers)), "sources": sources}

    return await asked.whole(document)


def the_question(messages: Sequence[Message]) -> str:
    """The one question of a request; ApiError where it is a conversation."""
    if [message.role for message in messages] != ["user"]:
        what = "An answer from documents is to one question: send one message of the user."
        raise ApiError(what, param="messages")
    return messages[0].content


def annotations(text: str, sources: Sequence[CitedSource]) -> list[Document]:
    """Where an answer cites which source, as OpenAI has citations."""
    places = {source.number: source.place for source in sources}
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": match.start(),
                "end_index": match.end(),
                "title": places[int(number)],
                "url": places[int(number)],
            },
        }
        for match in CITATION.finditer(text)
        for number in re.findall(r"\d+", match[0])
        if int(number) in places
    ]


def _refusal(body: ChatRequest, found: FoundPassages) -> Response:
    """Too little was found: no model is asked."""
    frame, answer = chat_frame(body.model), ServedAnswer()
    text = refusal_for(found.question)
    events: list[Event] = [MadeToken(0, text), AnswerEnd("stop")]
    if not body.stream:
        answer.text, answer.reason = text, "stop"
        whole = frame.whole([chat_choice(0, answer, (), None)], usage_of(0, []))
        return JSONResponse({**whole, "sources": []})
    pieces = ChatPieces(frame, (), None)
    documents = [*pieces.first(1)]
    for event in events:
        answer.add(event)
        documents += pieces.next(0, event, answer)
    if body.counts_usage:
        documents.append(pieces.usage(usage_of(0, []).to_json()))
    lines = "".join(map(event_of, documents)) + "data: [DONE]\n\n"
    return Response(lines, media_type="text/event-stream", headers=STREAM_HEADERS)
