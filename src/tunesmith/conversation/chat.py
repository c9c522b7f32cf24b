"""A chat with a base and its adapters: each participant keeps its own history in its cache."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tunesmith.adapters.loaded_base import LoadedBase, open_with_adapters, with_template_options
from tunesmith.core.errors import DataError
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import ignore, never
from tunesmith.data.chat_format import inserted_system_prompt, study
from tunesmith.data.chat_text import TEMPLATE_ERRORS
from tunesmith.data.rows import Message
from tunesmith.data.template import render_prompt
from tunesmith.data.thinking import APART, END_TOKENS, ThinkingText, closing_of
from tunesmith.data.tokenizer import decode
from tunesmith.generation.answer_text import StoppingText
from tunesmith.generation.decoder import ChatSession
from tunesmith.generation.sampling import Sampling
from tunesmith.methods.virtual_tokens import narrow_layers
from tunesmith.models.load import Base
from tunesmith.runs.locate import Located

OnText = Callable[[str], object]  # takes the pieces of an answer as they come


# A longer context than this is not kept for a chat: its keys and values would fill the memory.
LONGEST_CHAT_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: ``cut`` where it reached the most tokens allowed, ``stopped`` where asked to."""

    participant: str
    question: str
    text: str
    tokens: int
    cut: bool
    stopped: bool


class Participant:
    """One side that answers: its name, its history and its key/value cache."""

    def __init__(
        self,
        name: str,
        loaded: LoadedBase,
        *,
        adapter: str | None,
        sampling: Sampling,
        seed: int,
    ) -> None:
        self.name, self._sampling, self._seed = name, sampling, seed
        capacity = min(loaded.base.context, LONGEST_CHAT_TOKENS)
        self._tokenizer = loaded.tokenizer(adapter)
        self._format = study(self._tokenizer)
        self._capacity = capacity - loaded.engine.prefix_length(adapter)
        self._session = ChatSession(
            loaded.engine, stop_ids=loaded.base.stop_ids, adapter=adapter, capacity=capacity
        )
        self._messages: list[Message] = []

    def reset(self, system: str | None) -> None:
        """Forget the conversation; ``system`` begins the next one."""
        self._messages = [Message("system", system)] if system else []

    def reply(
        self,
        question: str,
        *,
        on_text: OnText = ignore,
        stop: Callable[[], bool] = never,
    ) -> Reply:
        """Answer, giving each piece of text to ``on_text``; question and answer join the history.

        Raises DataError, with the history as it was, where the conversation cannot be rendered or
        is too long.
        """
        messages = [*self._messages, Message("user", question)]
        ids = self._prompt(messages)
        room = self._capacity - len(ids)
        if room < 1:
            raise DataError(
                f"The conversation is {pluralize(len(ids), 'token')} long, and at most "
                f"{self._capacity:,} are kept.",
                remedy="Start anew with /reset.",
                code="too_long",
            )
        limit = min(self._sampling.max_new_tokens, room)
        thinking = ThinkingText(closing_of(decode(self._tokenizer, ids[-END_TOKENS:])))
        stream = StoppingText(lambda some: decode(self._tokenizer, some), (), thinking)
        said, tokens = _Said(on_text), 0
        sampling, seed = replace(self._sampling, max_new_tokens=limit), self._seed + len(messages)
        # Each turn draws anew; participants that are asked the same draw alike.
        for token in self._session.stream(ids, sampling=sampling, seed=seed):
            tokens += 1
            said.add(stream.add(token), stream.thought)
            if stop():
                break
        said.add(stream.end(), stream.thought)
        text = "".join(said.pieces)
        self._messages = [*messages, Message("assistant", text)]
        return Reply(self.name, question, text, tokens, cut=tokens >= limit, stopped=stop())

    def _prompt(self, messages: Sequence[Message]) -> list[int]:
        try:
            return render_prompt(self._tokenizer, messages, chat_format=self._format)
        except TEMPLATE_ERRORS as error:
            raise DataError(
                f"The model's chat template refuses this conversation: {error}.",
                remedy="Start anew with /reset; some models take no system prompt.",
                code="refused_by_template",
            ) from None


class _Said:
    """What an answer says; who listens also hears the thinking before it, a line apart."""

    def __init__(self, on_text: OnText) -> None:
        self.pieces: list[str] = []
        self._on_text, self._thought = on_text, False

    def add(self, said: str, thought: str) -> None:
        if thought:
            self._on_text(thought)
            self._thought = True
        if said and self._thought and not self.pieces:
            self._on_text(APART)
        if said:
            self.pieces.append(said)
        self._on_text(said)


class Chat:
    """All participants, and the system prompt that they share."""

    def __init__(
        self,
        loaded: LoadedBase,
        participants: Mapping[str, str | None],
        *,
        sampling: Sampling,
        seed: int = 0,
        system: str | None = None,
    ) -> None:
        self._base: Base = loaded.base
        capacity = min(self._base.context, LONGEST_CHAT_TOKENS)
        self.participants = [
            Participant(name, loaded, adapter=adapter, sampling=sampling, seed=seed)
            for name, adapter in participants.items()
        ]
        self.notes = [
            f"{name}: {narrow}"
            for name, adapter in participants.items()
            for narrow in narrow_layers(loaded.engine, adapter or "")
            if capacity > narrow.prefix + narrow.length
        ]
        self.inserted = inserted_system_prompt(self._base.tokenizer)
        self.system: str | None = None
        self.reset(system)

    def reset(self, system: str | None) -> None:
        """Start anew with this system prompt; DataError where the model's template drops it."""
        if system and not study(self._base.tokenizer).keeps_system:
            raise DataError(
                "The model's chat template leaves system prompts out.",
                remedy="Write the instructions into the first message.",
                code="system_ignored",
            )
        self.system = system
        for participant in self.participants:
            participant.reset(system)


def open_chat(
    found: Located,
    *,
    sampling: Sampling,
    seed: int = 0,
    system: str | None = None,
    options: Mapping[str, object] = {},
    force: bool = False,
) -> Chat:
    """Load what was located, and begin a conversation with each participant.

    ``system`` None: the system message that they were trained under, else the template's own; "":
    none of ours. ``options`` are variables of the chat template; an adapter has those that it was
    trained with, unless another value is given. ``force`` is that of ``attach_folder``.
    """
    loaded, _ = open_with_adapters(
        found.model, found.adapters, four_bit=found.four_bit, force=force
    )
    loaded = with_template_options(loaded, options)
    system = found.system if system is None else system
    return Chat(loaded, found.participants, sampling=sampling, seed=seed, system=system or None)
