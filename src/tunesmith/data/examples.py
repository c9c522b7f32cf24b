"""A conversation as text, with the place where each trained answer begins and ends.

A turn begins where the prompt ends that would be served for it, and ends with the template's
end-of-turn token. Both are proven, not searched for: the served prompt and the conversation up to
this turn must be prefixes, token by token, of the whole conversation.
"""

from collections.abc import Mapping, Sequence

from tunesmith.core.phrases import capitalized
from tunesmith.data.chat_format import ChatFormat
from tunesmith.data.chat_text import (
    CLOSE,
    OPEN,
    Given,
    chat_text,
    marked_text,
    shared_start,
    split_thinking,
    unmarked,
)
from tunesmith.data.faults import Fault, Note
from tunesmith.data.rows import Conversation, Cut, Example
from tunesmith.data.tokenizer import Tokenizer

APART = (
    "Give --data.document answer: each trained answer then is a document of its own, behind the "
    "prompt that is served for it."
)
SPLIT = f"{APART} Or train only the last answer, and give the earlier ones the weight 0."
MARK = (
    "mark answers with {% generation %} in the model's chat template, or use a model whose "
    "template writes both alike."
)
EXCERPT = 24


class Unrenderable(Exception):
    """A conversation that the template or the tokenizer cannot take; ``problem`` says why."""

    def __init__(self, code: str, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.problem = Fault(code, message, remedy)


def whole_example(
    tokenizer: Tokenizer, conversation: Conversation, chat: Given, chat_format: ChatFormat
) -> Example:
    """The whole conversation as one document."""
    if chat_format.marked is not None and (
        example := _by_marks(tokenizer, conversation, chat, chat_format.marked)
    ):
        return example
    full = chat_text(tokenizer, chat)
    cuts = []
    for i in conversation.supervised:
        prompt = chat_text(tokenizer, chat.up_to(i), prompt=True)
        is_last = i + 1 == len(chat.messages)
        through = full if is_last else chat_text(tokenizer, chat.up_to(i + 1))
        cuts.append(Cut(i, prompt, through, chat_format.closing))
    return Example(full, tuple(cuts))


def _by_marks(
    tokenizer: Tokenizer, conversation: Conversation, chat: Given, marked: int
) -> Example | None:
    """Cuts at the template's {% generation %} marks; None unless there is one for each answer.

    What of the served prompt a mark holds is not supervised.
    """
    full, spans = marked_text(tokenizer, chat)
    roles = [message.role for message in conversation.messages]
    answers = [i for i, role in enumerate(roles) if role == "assistant"]
    if len(spans) != len(answers):
        return None
    cuts = []
    for i, (start, stop) in zip(answers, spans, strict=True):
        if i not in conversation.supervised:
            continue
        prompt = chat_text(tokenizer, chat.up_to(i), prompt=True)
        within = full.startswith(prompt) and start < len(prompt) <= stop
        cuts.append(Cut(i, prompt if within else full[:start], full[:stop], marked))
    return Example(full, tuple(cuts))


def locate(
    example: Example, ids: Mapping[str, list[int]], *, chat_format: ChatFormat
) -> list[tuple[int, int]]:
    """First and last + 1 supervised token for each cut; ``ids`` holds those of every text.

    Raises Unrenderable where an answer's place cannot be proven.
    """
    full = ids[example.full]
    special = _places(full, chat_format.special_ids)
    spans = []
    for cut in example.cuts:
        prompt, through = ids[cut.prompt], ids[cut.through]
        start = len(prompt)
        if full[:start] != prompt:
            raise _prompt_misfit(example, cut)
        places = special if through is full else _places(through, chat_format.special_ids)
        inside = sum(i >= start for i in places)
        after = [i for i in special if i >= start][inside - cut.closing :]
        stop = after[0] + 1 if after else len(full) + 1
        same_text = example.full.startswith(cut.through)
        if full[:stop] != through[:stop] and not (same_text and len(through) < stop <= len(full)):
            raise _turn_misfit(example, cut)
        spans.append((start, stop))
    return spans


def _places(ids: Sequence[int], tokens: frozenset[int]) -> list[int]:
    """The positions of any of the ``tokens`` in ``ids``, in order."""
    return [i for i, token in enumerate(ids) if token in tokens]


def _prompt_misfit(example: Example, cut: Cut) -> Unrenderable:
    answer = f"the answer in message {cut.message + 1}"
    if example.full.startswith(cut.prompt):
        remedy = "Let the model's chat template end its prompt with other white space."
        if example.full[len(cut.prompt) :][:1].isspace():
            remedy = "Remove the white space at the start of the answer."
        if cut.prompt.rstrip().endswith(OPEN):
            remedy = "The prompt opens the thinking, and this answer has none: let the template "
            remedy += "close it (--data.template_options enable_thinking=false), or write the "
            remedy += "thinking into the row."
        what = f"{answer} joins the end of its prompt into other tokens, so training would see a "
        what += "prompt that the model never gets when it is asked."
        return Unrenderable("merged_with_prompt", what, remedy=remedy)
    if cut.through.startswith(cut.prompt):
        return _turn_misfit(example, cut)
    asked = cut.prompt[len(shared_start(cut.prompt, example.full)) :]
    how = (
        f"when the model is asked it opens the thinking, and it strips the thinking of {answer}"
        if OPEN in asked and CLOSE not in asked
        else f"what it puts before {answer} differs from what it puts there when the model is asked"
    )
    remedy = f"{APART} Or: {MARK}"
    return _not_preserving(f"{how} ({_difference(cut.prompt, example.full)}).", remedy)


def _turn_misfit(example: Example, cut: Cut) -> Unrenderable:
    number, difference = cut.message + 1, _difference(cut.through, example.full)
    thinking = cut.through.count(CLOSE) > example.full[: len(cut.through)].count(CLOSE)
    how = (
        f"it strips the thinking of message {number} once later messages follow"
        if thinking
        else f"it writes the conversation up to message {number} differently once later messages "
        "follow"
    )
    return _not_preserving(f"{how} ({difference}).", SPLIT)


def _not_preserving(how: str, remedy: str) -> Unrenderable:
    what = f"the chat template is not prefix-preserving: {how}"
    return Unrenderable("not_prefix_preserving", what, remedy=remedy)


def _difference(one: str, other: str) -> str:
    start = max(0, len(shared_start(one, other)) - EXCERPT // 3)
    ours, theirs = (unmarked(text[start : start + EXCERPT]) for text in (one, other))
    return f"{ours!r} becomes {theirs!r}"


# At least one of them begins unlike any third answer.
OTHERS = ("probe", "7probe")
ENDS_THINKING = Note(
    "empty_thinking",
    "the prompt opens the thinking, and an answer without any is trained to end it at once",
)


def answer_example(tokenizer: Tokenizer, i: int, chat: Given, chat_format: ChatFormat) -> Example:
    """Message ``i`` behind its served prompt; a whole row need not hold that prompt.

    Raises Unrenderable where the template opens an answer in a way that no finished turn fits.
    """
    prompt = chat_text(tokenizer, chat.up_to(i), prompt=True)
    full = chat_text(tokenizer, chat.up_to(i + 1))
    notes: tuple[Note, ...] = ()
    if not full.startswith(prompt):
        said, notes = _behind(prompt, tokenizer, i, chat, chat_format)
        full = prompt + said
    cut = Cut(i, prompt, full, chat_format.closing)
    return Example(full, (cut,), whole=False, notes=notes)


def _behind(
    prompt: str, tokenizer: Tokenizer, i: int, chat: Given, chat_format: ChatFormat
) -> tuple[str, tuple[Note, ...]]:
    """What follows a prompt that the template does not write before a finished turn."""
    thinking, answer = _apart(dict(chat.messages[i]))
    before, said = _turn(tokenizer, i, chat, answer)
    loaded = prompt.removeprefix(before) if prompt.startswith(before) else None
    if loaded is None:  # other words earlier on, such as a system prompt: it must open alike
        alike = shared_start(prompt[::-1], before[::-1])[::-1]
        if chat_format.control.search(alike):
            return said, ()
    elif OPEN in loaded and CLOSE not in loaded:
        thought = f"{thinking}\n" if thinking else ""
        return f"{thought}{CLOSE}\n\n{said}", () if thinking else (ENDS_THINKING,)
    elif CLOSE in loaded or not loaded:
        return said, ()
    how = f"when the model is asked it opens the answer in message {i + 1} in another way than in "
    raise _not_preserving(f"{how}a finished turn.", capitalized(MARK))


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
