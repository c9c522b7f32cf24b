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
from tunesmith.data.tokenizer import decode
from tunesmith.generation.decoder import ChatSession
from tunesmith.generation.sampling import Sampling
from tunesmith.methods.virtual_tokens import narrow_layers
from tunesmith.models.load import Base
from tunesmith.runs.locate import Located

OnText = Callable[[str], object]  # takes the pieces of an answer as they come
_HALF = "\N{REPLACEMENT CHARACTER}"


class TextStream:
    """Text that grows token by token; what was returned is never taken back."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        # The text of tokens before ``_done`` was returned; decoding starts a little earlier, at
        # ``_from``, since some tokenizers write the first token of a text without its space.
        self._from = self._done = 0

    def add(self, token: int) -> str:
        """The text that this token completes; "" while a character is unfinished."""
        self._ids.append(token)
        text = self._new()
        if not text or text.endswith(_HALF):
            return ""
        self._from, self._done = self._done, len(self._ids)
        return text

    def end(self) -> str:
        """What was held back, without a character that never became whole."""
        text = self._new().rstrip(_HALF)
        self._from = self._done = len(self._ids)
        return text

    def _new(self) -> str:
        before = self._decode(self._ids[self._from : self._done])
        return self._decode(self._ids[self._from :])[len(before) :]


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
        stream = TextStream(lambda some: decode(self._tokenizer, some))
        pieces: list[str] = []
        tokens = 0
        sampling, seed = replace(self._sampling, max_new_tokens=limit), self._seed + len(messages)
        # Each turn draws anew; participants that are asked the same draw alike.
        for token in self._session.stream(ids, sampling=sampling, seed=seed):
            tokens += 1
            pieces.append(stream.add(token))
            on_text(pieces[-1])
            if stop():
                break
        pieces.append(stream.end())
        on_text(pieces[-1])
        text = "".join(pieces)
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
