"""What is worth knowing about how a row becomes a document, and does not stop a run."""

from tunesmith.data.chat_format import ChatFormat
from tunesmith.data.faults import Remark
from tunesmith.data.rows import Conversation


def row_remarks(
    conversation: Conversation, chat_format: ChatFormat, inserted: str | None
) -> list[Remark]:
    """What is true of a row in this format; ``inserted`` is the template's own system prompt."""
    messages = conversation.messages
    remarks = list(chat_format.remarks)
    if inserted and messages[0].role != "system":
        what = f"the chat template inserts this system prompt where a row has none: {inserted!r}"
        remarks.append(Remark("inserted_system_prompt", what))
    if messages[-1].role != "assistant":
        what = "the conversation ends without an answer; what comes after the last one is not used"
        remarks.append(Remark("ends_without_answer", what))
    found = {token for m in messages for token in chat_format.special.findall(m.content)}
    for token in sorted(found):
        what = f"the tokenizer reads `{token}` in a message as one special token"
        remarks.append(Remark("special_tokens", what))
    return remarks
