"""One answer as a document of its own: the prompt that is served for it, then what it must say."""

from tunesmith.data.answers import MARK, Cut, Draft, Unrenderable
from tunesmith.data.chat_format import ChatFormat
from tunesmith.data.chat_text import Given, chat_text, shared_start
from tunesmith.data.faults import Remark
from tunesmith.data.thinking import CLOSE, OPEN, split_thinking
from tunesmith.data.tokenizer import Tokenizer

# At least one of them begins unlike any third answer.
OTHERS = ("probe", "7probe")
ENDS_THINKING = Remark(
    "empty_thinking",
    "the prompt opens the thinking, and an answer without any is trained to end it at once",
)


def answer_draft(tokenizer: Tokenizer, i: int, chat: Given, chat_format: ChatFormat) -> Draft:
    """Message ``i`` behind its served prompt; a whole row need not hold that prompt.

    Raises Unrenderable where the template opens an answer in a way that no finished turn fits.
    """
    prompt = chat_text(tokenizer, chat.up_to(i), prompt=True)
    full = chat_text(tokenizer, chat.up_to(i + 1))
    remarks: tuple[Remark, ...] = ()
    if not full.startswith(prompt):
        said, remarks = _behind(prompt, tokenizer, i, chat, chat_format)
        full = prompt + said
    cut = Cut(i, prompt, full, chat_format.closing)
    return Draft(full, (cut,), whole=False, remarks=remarks)


def _behind(
    prompt: str, tokenizer: Tokenizer, i: int, chat: Given, chat_format: ChatFormat
) -> tuple[str, tuple[Remark, ...]]:
    """What follows a prompt that the template does not write before a finished turn."""
    thinking, answer = _apart(dict(chat.messages[i]))
    before, said = _turn(tokenizer, i, chat, answer)
    opened = prompt.removeprefix(before) if prompt.startswith(before) else None
    if opened is None:  # other words earlier on, such as a system prompt: it must open alike
        alike = shared_start(prompt[::-1], before[::-1])[::-1]
        if chat_format.control.search(alike):
            return said, ()
    elif OPEN in opened and CLOSE not in opened:
        thought = f"{thinking}\n" if thinking else ""
        return f"{thought}{CLOSE}\n\n{said}", () if thinking else (ENDS_THINKING,)
    elif CLOSE in opened or not opened:
        return said, ()
    raise Unrenderable(
        "not_prefix_preserving",
        "the chat template is not prefix-preserving: when the model is asked it opens the answer "
        f"in message {i + 1} in another way than in a finished turn.",
        remedy=MARK,
    )


def _apart(answer: dict[str, object]) -> tuple[str, dict[str, object]]:
    """An answer's thinking, and the answer without it."""
    thinking = str(answer.pop("reasoning_content", ""))
    answer.pop("thinking", None)
    if not thinking and "content" in answer:
        thinking, answer["content"] = split_thinking(str(answer["content"]))
    return thinking, answer


def _turn(tokenizer: Tokenizer, i: int, chat: Given, answer: dict[str, object]) -> tuple[str, str]:
    """What a finished turn holds before its answer, and from there on."""
    turns = [answer]
    turns += [{"role": "assistant", "content": other} for other in OTHERS]
    texts = [chat_text(tokenizer, Given([*chat.messages[:i], turn], chat.tools)) for turn in turns]
    before = shared_start(*texts)
    return before, texts[0][len(before) :]
