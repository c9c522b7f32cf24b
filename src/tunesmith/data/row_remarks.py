"""What is worth knowing about how a row becomes a document, and does not stop a run."""

from tunesmith.data.chat_format import ChatFormat
from tunesmith.data.faults import Remark
from tunesmith.data.rows import Conversation, texts_of
from tunesmith.data.thinking import CLOSE

ENDS_WITHOUT_ANSWER = Remark(
    "ends_without_answer",
    "the conversation ends without an answer; what comes after the last one is not used",
)


def row_remarks(
    conversation: Conversation, chat_format: ChatFormat, inserted: str | None
) -> list[Remark]:
    """What is true of a row in this format; ``inserted`` is the template's own system prompt."""
    messages = conversation.messages
    remarks = list(chat_format.remarks)
    if inserted and messages[0].role != "system":
        what = f"the chat template inserts this system prompt where a row has none: {inserted!r}"
        remarks.append(Remark("inserted_system_prompt", what))
    if chat_format.empty_thinking and _answers_at_once(conversation):
        what = "the chat template writes an empty thinking block in front of an answer without any"
        block = f"and it is trained as a part of the answer: {chat_format.empty_thinking!r}"
        remarks.append(Remark("empty_thinking", f"{what}, {block}"))
    if messages[-1].role != "assistant":
        remarks.append(ENDS_WITHOUT_ANSWER)
    texts = "\n".join(text for message in messages for text in texts_of(message))
    for token in sorted(set(chat_format.special.findall(texts))):
        what = f"the tokenizer reads `{token}` in a message as one special token"
        remarks.append(Remark("special_tokens", what))
    return remarks


def _answers_at_once(conversation: Conversation) -> bool:
    answers = (conversation.messages[i] for i in conversation.supervised)
    return any(not answer.thinking and CLOSE not in answer.content for answer in answers)
