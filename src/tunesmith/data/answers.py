"""Where an answer begins and ends in a rendered conversation.

A turn begins where the prompt ends that would be served for it, and ends with the template's
end-of-turn token. Both are proven, not searched for: the served prompt and the conversation up to
this turn must be prefixes, token by token, of the whole conversation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from jinja2 import TemplateError

from tunesmith.data.chat_format import ChatFormat, chat_text, marked_text
from tunesmith.data.faults import Problem
from tunesmith.data.rows import Conversation
from tunesmith.data.tokenizer import Tokenizer, decode

SPLIT = "Split the conversation so that only its last answer is trained (or give the earlier "
SPLIT += 'ones "weight": 0).'


@dataclass(frozen=True, slots=True)
class Cut:
    """Text up to an answer (``prompt``) and to the end of its turn (``through``).

    ``closing`` control tokens of ``through`` come after the answer.
    """

    message: int
    prompt: str
    through: str
    closing: int


@dataclass(frozen=True, slots=True)
class Draft:
    """The whole conversation as text, and a cut for each supervised answer."""

    full: str
    cuts: tuple[Cut, ...]

    def texts(self) -> Iterator[str]:
        """Every text whose ids are needed."""
        yield self.full
        for cut in self.cuts:
            yield from (cut.prompt, cut.through)


class Unrenderable(Exception):
    """A conversation that the template or the tokenizer cannot take; ``problem`` says why."""

    def __init__(self, code: str, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.problem = Problem(code, message, remedy)


def draft(tokenizer: Tokenizer, conversation: Conversation, chat_format: ChatFormat) -> Draft:
    """The texts of a conversation; raises Unrenderable if its template refuses it."""
    if conversation.messages[0].role == "system" and not chat_format.keeps_system:
        raise Unrenderable(
            "system_ignored",
            "the model's chat template leaves system messages out.",
            remedy="Move the instructions into the first user message.",
        )
    try:
        marked = None
        if chat_format.marked is not None:
            marked = _by_marks(tokenizer, conversation, chat_format.marked)
        return marked or _by_prefixes(tokenizer, conversation, chat_format.closing)
    except (TemplateError, TypeError) as error:
        raise Unrenderable(
            "refused_by_template",
            f"the model's chat template refuses this conversation: {error}.",
            remedy="Change its roles (instructions can go into the first user message), "
            "or use a model whose template knows them.",
        ) from None


def _by_marks(tokenizer: Tokenizer, conversation: Conversation, marked: int) -> Draft | None:
    """Cuts at the template's {% generation %} marks; None unless there is one for each answer."""
    full, spans = marked_text(tokenizer, conversation.messages)
    roles = [message.role for message in conversation.messages]
    answers = [i for i, role in enumerate(roles) if role == "assistant"]
    if len(spans) != len(answers):
        return None
    chosen = conversation.supervised
    cuts = (
        Cut(i, full[:start], full[:stop], marked)
        for i, (start, stop) in zip(answers, spans, strict=True)
        if i in chosen
    )
    return Draft(full, tuple(cuts))


def _by_prefixes(tokenizer: Tokenizer, conversation: Conversation, closing: int) -> Draft:
    messages = conversation.messages
    full = chat_text(tokenizer, messages)
    cuts = []
    for i in conversation.supervised:
        prompt = chat_text(tokenizer, messages[:i], prompt=True)
        is_last = i + 1 == len(messages)
        through = full if is_last else chat_text(tokenizer, messages[: i + 1])
        cuts.append(Cut(i, prompt, through, closing))
    return Draft(full, tuple(cuts))


def locate(
    tokenizer: Tokenizer,
    draft: Draft,
    ids: Mapping[str, list[int]],
    *,
    chat_format: ChatFormat,
) -> list[tuple[int, int]]:
    """First and last + 1 supervised token for each cut; ``ids`` holds those of every text.

    Raises Unrenderable where an answer's place cannot be proven.
    """
    full = ids[draft.full]
    special = [i for i, token in enumerate(full) if token in chat_format.special_ids]
    spans = []
    for cut in draft.cuts:
        prompt, through = ids[cut.prompt], ids[cut.through]
        start = len(prompt)
        if full[:start] != prompt:
            raise _prompt_misfit(draft, cut)
        if chat_format.closing:
            inside = sum(token in chat_format.special_ids for token in through[start:])
            after = [i for i in special if i >= start][inside - cut.closing :]
            stop = after[0] + 1 if after else len(full) + 1
        else:
            stop = len(through) - _trailing_blanks(tokenizer, through)
        same_text = draft.full.startswith(cut.through)
        if full[:stop] != through[:stop] and not (same_text and len(through) < stop <= len(full)):
            raise _turn_misfit(cut)
        spans.append((start, stop))
    return spans


def _trailing_blanks(tokenizer: Tokenizer, ids: Sequence[int]) -> int:
    """How many tokens at the end are white space only."""
    blanks = takewhile(lambda token: not decode(tokenizer, [token]).strip(), reversed(ids))
    return sum(1 for _ in blanks)


def _prompt_misfit(draft: Draft, cut: Cut) -> Unrenderable:
    answer = f"the answer in message {cut.message + 1}"
    if draft.full.startswith(cut.prompt):
        by_answer = draft.full[len(cut.prompt) :][:1].isspace()
        return Unrenderable(
            "merged_with_prompt",
            f"{answer} joins the end of its prompt into other tokens, so training would see a "
            "prompt that the model never gets when it is asked.",
            remedy="Remove the white space at the start of the answer."
            if by_answer
            else "Let the model's chat template end its prompt with other white space.",
        )
    if cut.through.startswith(cut.prompt):
        return _turn_misfit(cut)
    return Unrenderable(
        "not_prefix_preserving",
        f"the chat template is not prefix-preserving: what it puts before {answer} differs from "
        "what it puts there when the model is asked.",
        remedy="Mark answers with {% generation %} in the model's chat template, or use a model "
        "whose template writes both alike.",
    )


def _turn_misfit(cut: Cut) -> Unrenderable:
    return Unrenderable(
        "not_prefix_preserving",
        f"the chat template is not prefix-preserving: it writes the conversation up to message "
        f"{cut.message + 1} differently once later messages follow.",
        remedy=SPLIT,
    )
