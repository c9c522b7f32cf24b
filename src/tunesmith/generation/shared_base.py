"""One base in memory, and adapters that come, go and answer beside each other in one batch."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path

from tunesmith.adapters.folder import system_of
from tunesmith.adapters.loaded_base import LoadedBase, attach_folder, open_base
from tunesmith.core.errors import AdapterError, DataError
from tunesmith.core.numbers import pluralize
from tunesmith.data.chat_format import ChatFormat, study
from tunesmith.data.chat_text import TEMPLATE_ERRORS
from tunesmith.data.rows import Message, Tool
from tunesmith.data.template import render_prompt
from tunesmith.data.thinking import END_TOKENS, closing_of, text_of
from tunesmith.data.tokenizer import Tokenizer, decode
from tunesmith.generation.answer_text import cut_at_stop
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.loop import generate
from tunesmith.generation.sampling import Sampling
from tunesmith.methods.adapter import Adapter
from tunesmith.models.precision import DtypeChoice

GREEDY = Sampling()
MAX_FORMATS = 64  # of tokenizers, which adapters may bring
# A question, or a conversation as chat templates take it: [{"role": ..., "content": ...}, ...].
ChatRow = str | Sequence[Mapping[str, str]]
Find = Callable[[str], tuple[str, Path]]
"""What a user names an adapter by -> the name that it goes by, and its folder."""


def in_folder(where: str) -> tuple[str, Path]:
    """The adapter in a folder, by the folder's name."""
    folder = Path(where).expanduser()
    return folder.resolve().name, folder


class Adapters(Mapping[str, Adapter]):
    """The adapters that are attached to a base, by name."""

    def __init__(self, loaded: LoadedBase, find: Find) -> None:
        self._loaded, self._find = loaded, find
        self._attached: dict[str, Adapter] = {}
        self._systems: dict[str, str | None] = {}

    def load(self, where: str | Path, *, name: str | None = None, force: bool = False) -> str:
        """Attach the adapter that ``where`` names; the name that it has from now on.

        Raises AdapterError for one that was trained over another base, listing everything in which
        it does not fit (with ``force`` not where only the names of the bases differ), and for a
        name that is taken.
        """
        own, folder = self._find(str(where))
        wanted = name or own
        if wanted in self._attached:
            raise AdapterError(
                f"An adapter {wanted!r} is loaded already.",
                remedy=f"Load this one under another name, or first adapters.unload({wanted!r}).",
            )
        self._attached[wanted] = attach_folder(self._loaded, folder, name=wanted, force=force)
        self._systems[wanted] = system_of(folder)
        return wanted

    def unload(self, name: str) -> None:
        """Take an adapter off the base again; raises AdapterError where there is none."""
        self.require(name)
        self._attached.pop(name).detach()
        self._loaded.tokenizers.pop(name, None)
        self._systems.pop(name, None)

    def system(self, name: str) -> str | None:
        """The system message that an adapter was trained under, if any."""
        return self._systems.get(name)

    def require(self, name: str) -> None:
        """Raise AdapterError for a name under which no adapter is attached."""
        if name not in self._attached:
            known = ", ".join(self._attached) or "none"
            raise AdapterError(
                f"No adapter {name!r} is loaded (loaded: {known}).",
                remedy=f"Add it first, as in model.add(FOLDER, name={name!r}).",
            )

    def __getitem__(self, name: str) -> Adapter:
        return self._attached[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._attached)

    def __len__(self) -> int:
        return len(self._attached)


class SharedBase:
    """A base that answers alone or with any of its adapters, each row with its own.

    ``adapters`` are those that are loaded; ``loaded`` is what the base is made of, ``find`` how an
    adapter is named (`runs.locate.named_adapter`: by its run too).
    """

    def __init__(self, loaded: LoadedBase, find: Find = in_folder) -> None:
        self.loaded = loaded
        self.adapters = Adapters(loaded, find)
        self._using: ContextVar[str | None] = ContextVar("using", default=None)
        self._formats: dict[int, tuple[Tokenizer, object, ChatFormat]] = {}  # by the tokenizer's id

    @classmethod
    def open(
        cls,
        model: str,
        *,
        dtype: DtypeChoice = "auto",
        device: str = "auto",
        four_bit: bool = False,
        find: Find = in_folder,
    ) -> "SharedBase":
        """Load ``model`` without adapters."""
        loaded = open_base(model, dtype=dtype, device=device, four_bit=four_bit)
        return cls(loaded, find)

    def system(self, adapter: str | None) -> str | None:
        """The system message of rows without one: as the adapter, or the base, was trained."""
        if adapter is None:
            return system_of(self.loaded.base.folder)
        return self.adapters.system(adapter)

    @contextlib.contextmanager
    def using(self, adapter: str | None) -> Iterator[None]:
        """Inside, rows that name no adapter are answered with this one (None: the base)."""
        if adapter is not None:
            self.adapters.require(adapter)
        token = self._using.set(adapter)
        try:
            yield
        finally:
            self._using.reset(token)

    def generate(
        self,
        rows: Sequence[ChatRow],
        *,
        adapters: Sequence[str | None] | None = None,
        sampling: Sampling = GREEDY,
        seed: int = 0,
    ) -> list[str]:
        """The answer to each row, all in one batch; ``adapters`` names one for each (None: base).

        It is what an answer says, as it is evaluated: without its thinking, after which stop texts
        count. A row's answer does not depend on the rows beside it, but for the last bits of
        products of another shape. Raises AdapterError for a name that is not loaded, DataError for
        a row that the chat template refuses or that is too long, ValueError for another number of
        adapters than rows.
        """
        named = [self._using.get()] * len(rows) if adapters is None else list(adapters)
        if len(named) != len(rows):
            raise ValueError(
                f"{pluralize(len(rows), 'row')} cannot have {pluralize(len(named), 'adapter')}"
            )
        answers = [""] * len(rows)
        prompts, base = self.prompts(rows, named), self.loaded.base.tokenizer
        opened = [closing_of(decode(base, prompt.ids[-END_TOKENS:])) for prompt in prompts]
        for answer in generate(
            self.loaded.engine,
            prompts,
            stop_ids=self.loaded.base.stop_ids,
            sampling=sampling,
            seed=seed,
            decode=lambda ids: text_of(base, ids, opened[0]),  # as the template does for all
        ):
            tokenizer = self.loaded.tokenizer(named[answer.row])
            answers[answer.row] = cut_at_stop(
                text_of(tokenizer, answer.ids, opened[answer.row]), sampling.stop
            )
        return answers

    def prompts(self, rows: Sequence[ChatRow], adapters: Sequence[str | None]) -> list[Prompt]:
        """Each row as its adapter reads it; raises as ``generate`` does."""
        for name in {name for name in adapters if name is not None}:
            self.adapters.require(name)
        return [self._prompt(row, name) for row, name in zip(rows, adapters, strict=True)]

    def _prompt(self, row: ChatRow, adapter: str | None) -> Prompt:
        messages = [{"role": "user", "content": row}] if isinstance(row, str) else row
        try:
            turns = [Message(each["role"], each["content"]) for each in messages]
        except TEMPLATE_ERRORS as error:
            raise _refused(error) from None
        return self.prompt(turns, adapter)

    def prompt(
        self, messages: Sequence[Message], adapter: str | None, *, tools: Sequence[Tool] = ()
    ) -> Prompt:
        """A conversation, and the tools that may be called, as an adapter reads them.

        Raises DataError where the chat template refuses it or leaves a part of it out, and where it
        is too long.
        """
        tokenizer = self.loaded.tokenizer(adapter)
        chat_format = self.chat_format(tokenizer)
        turns, system = list(messages), self.system(adapter)
        if system and turns[:1] and turns[0].role != "system":
            turns.insert(0, Message("system", system))
        try:
            ids = render_prompt(tokenizer, turns, tools, chat_format=chat_format, whole=True)
        except TEMPLATE_ERRORS as error:
            raise _refused(error) from None
        room = self.loaded.base.context - self.loaded.engine.prefix_length(adapter) - len(ids)
        if room < 1:
            raise DataError(
                f"A row has {pluralize(len(ids), 'token')}, and the model's context of "
                f"{self.loaded.base.context:,} has no room for an answer.",
                remedy="Shorten it.",
                code="too_long",
            )
        return Prompt(tuple(ids), adapter, limit=room)

    def chat_format(self, tokenizer: Tokenizer) -> ChatFormat:
        """How a tokenizer's template writes; learning that takes longer than a prompt."""
        known = self._formats.get(id(tokenizer))
        if known is None or known[0] is not tokenizer or known[1] != tokenizer.chat_template:
            known = tokenizer, tokenizer.chat_template, study(tokenizer)
            if len(self._formats) >= MAX_FORMATS:
                self._formats.clear()
            self._formats[id(tokenizer)] = known
        return known[2]


def _refused(error: Exception) -> DataError:
    return DataError(
        f"The model's chat template refuses this row: {error}.",
        remedy="Give a text, or messages with role and content.",
        code="refused_by_template",
    )
