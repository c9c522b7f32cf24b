"""`load` and `chat`: a base in memory, and adapters that answer beside each other over it."""

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from tunesmith.api.settings import holding, is_named
from tunesmith.api.show import Outcome
from tunesmith.api.train import Run
from tunesmith.core.errors import AdapterError, UsageError
from tunesmith.core.numbers import pluralize

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.config.settings import TemplateValue
    from tunesmith.conversation.chat import Chat as Below
    from tunesmith.conversation.chat import Reply as Reply
    from tunesmith.generation.sampling import Sampling
    from tunesmith.generation.shared_base import ChatRow, SharedBase

AdapterGiven = str | Path | Run
DEFAULT = "\N{WHITE SQUARE}"  # the adapter that answers unless one is named; no folder is called so


class Model:
    """A base in memory that answers alone or with any of its adapters, each row with its own."""

    def __init__(self, shared: "SharedBase", default: str | None) -> None:
        self._shared = shared
        self.default = default

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of the adapters that are loaded."""
        return tuple(self._shared.adapters)

    def __repr__(self) -> str:
        base = self._shared.loaded.base
        held = ", ".join(self.adapters) or "none"
        return f"<Model {base.name} on {base.device}, adapters: {held}>"

    def add(self, adapter: AdapterGiven, *, name: str | None = None, force: bool = False) -> str:
        """Load one more adapter, by run, folder or name of a run; its name comes back.

        Raises AdapterError for one of another base (``force``: of another name only), or a name
        that is taken.
        """
        return self._shared.adapters.load(place_of(adapter), name=name, force=force)

    def remove(self, name: str) -> None:
        """Take an adapter off the base again; AdapterError where there is none."""
        self._shared.adapters.unload(name)
        self.default = None if self.default == name else self.default

    def generate(  # noqa: PLR0913  # one keyword for each setting
        self,
        prompts: "str | Sequence[ChatRow]",
        *,
        adapter: str | Sequence[str | None] | None = DEFAULT,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        stop: str | Sequence[str] = (),
        seed: int = 0,
    ) -> list[str]:
        """What the answer to each prompt says, all in one batch; a single text is one prompt.

        A prompt is a text, or messages with ``role`` and ``content``. ``adapter``: one name for
        all, or one for each (None: the base); unless given, the adapter of the run that was
        loaded. A prompt without a system message gets the one that its adapter was trained under
        (`data.system`), if any; an empty one keeps it away. ``temperature`` 0: always the
        likeliest token, as by default; ``max_new_tokens`` is the longest answer. Raises DataError
        for a prompt that the chat template refuses or that is too long, AdapterError for a name
        that is not loaded.
        """
        rows: Sequence[ChatRow] = [prompts] if isinstance(prompts, str) else prompts
        sampling = sampling_of(temperature, top_p=top_p, max_new_tokens=max_new_tokens, stop=stop)
        adapters = self._adapters(adapter, len(rows))
        return self._shared.generate(rows, adapters=adapters, sampling=sampling, seed=seed)

    def score(
        self,
        prompts: "str | Sequence[ChatRow]",
        answers: str | Sequence[str],
        *,
        adapter: str | Sequence[str | None] | None = DEFAULT,
    ) -> list[float]:
        """The log-likelihood of each answer after its prompt, in nats, all of its tokens together.

        A single text is one prompt, or one answer.
        Raises DataError for a prompt that the chat template refuses, UsageError for another number
        of answers than prompts.
        """
        rows: Sequence[ChatRow] = [prompts] if isinstance(prompts, str) else prompts
        texts = [answers] if isinstance(answers, str) else answers
        if len(rows) != len(texts):
            raise UsageError(
                f"{pluralize(len(rows), 'prompt')} and {pluralize(len(texts), 'answer')} are given."
            )
        adapters = self._adapters(adapter, len(rows))
        from tunesmith.evaluation.likelihoods import score_answers

        return score_answers(self._shared, rows, texts, adapters=adapters)

    def chat(
        self,
        adapter: str | None = DEFAULT,
        *,
        system: str | None = None,
        temperature: float | None = None,
        max_new_tokens: int | None = None,
        seed: int = 0,
    ) -> "Dialogue":
        """A conversation, which keeps its history: ``talk = model.chat(); talk("Hi")``.

        ``system`` None: the system message that the adapter was trained under, if any; "": none.
        """
        from tunesmith.conversation.chat import Chat as Below

        name = self.default if adapter == DEFAULT else adapter
        if name is not None:
            self._shared.adapters.require(name)
        system = self._shared.system(name) if system is None else system
        sampling = sampling_of(temperature, max_new_tokens=max_new_tokens)
        participants = {name or "base": name}
        return Dialogue(
            Below(
                self._shared.loaded,
                participants,
                sampling=sampling,
                seed=seed,
                system=system or None,
            ),
            (),
        )

    def _adapters(
        self, adapter: str | Sequence[str | None] | None, count: int
    ) -> Sequence[str | None]:
        if adapter == DEFAULT:
            return [self.default] * count
        if adapter is None or isinstance(adapter, str):
            return [adapter] * count
        if len(adapter) != count:
            raise UsageError(
                f"{pluralize(count, 'prompt')} and {pluralize(len(adapter), 'adapter')}."
            )
        return adapter


class Dialogue:
    """A conversation with a base and adapters; each participant keeps its own history.

    ``notes`` must not be overlooked.
    """

    def __init__(self, below: "Below", notes: Iterable[str]) -> None:
        self._below = below
        self.notes = (*notes, *below.notes)

    @property
    def participants(self) -> tuple[str, ...]:
        """Who answers, by name."""
        return tuple(each.name for each in self._below.participants)

    @property
    def system(self) -> str | None:
        """The system prompt that was given."""
        return self._below.system

    @property
    def inserted_system(self) -> str | None:
        """The system prompt that the model's template inserts unless one is given."""
        return self._below.inserted

    def reset(self, system: str | None = None) -> None:
        """Forget the conversation, and keep the system prompt unless another is given ("": none).

        Raises DataError where the template drops system prompts.
        """
        self._below.reset(self._below.system if system is None else system or None)

    def __call__(self, message: str, *, participant: str | None = None) -> str:
        """The answer to the next message, of the first participant unless one is named."""
        return self.reply(message, participant=participant).text

    def reply(
        self,
        message: str,
        *,
        participant: str | None = None,
        on_text: Callable[[str], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> "Reply":
        """The same with what it took; ``on_text`` receives each piece of the text as it is made."""
        participants = {each.name: each for each in self._below.participants}
        name = participant or next(iter(participants))
        if name not in participants:
            raise AdapterError(
                f"No participant is called {name!r}.",
                remedy=f"There are: {', '.join(participants)}.",
            )
        return participants[name].reply(message, on_text=on_text, stop=stop)


@dataclasses.dataclass(frozen=True, slots=True)
class Transcript(Outcome):
    """What was answered in a conversation, which was shown as it was made."""

    replies: "Sequence[Reply]"

    def to_json(self) -> dict[str, object]:
        """What `chat --json` prints."""
        return {
            "answers": [reply.text for reply in self.replies],
            "replies": [dataclasses.asdict(reply) for reply in self.replies],
        }

    def show(self, console: "Console") -> None:
        """Nothing more."""


def load(
    model: "AdapterGiven | object",
    *,
    tokenizer: object = None,
    adapters: Mapping[str, AdapterGiven] | Sequence[AdapterGiven] = (),
    device: str = "auto",
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto",
    force: bool = False,
) -> Model:
    """A base in memory: of a name, folder, hub id or run, or a transformers model as it is.

    A run comes with its adapter, which then answers unless another is named. ``adapters``: more of
    them, by name. ``force`` takes a base that an adapter knows under another name. Raises
    ModelError, RunError and AdapterError for what cannot answer.

    >>> model = ts.load("smollm2-135m-instruct")  # doctest: +SKIP
    >>> model.generate(["Hi", "Ho"])  # doctest: +SKIP
    """
    named = model.folder if isinstance(model, Run) else model
    with holding({"model": named, "tokenizer": tokenizer}) as given:
        from tunesmith.runs.locate import locate, named_adapter, require_known

        if is_named(named):
            require_known(str(named))
        found = locate(str(given["model"]))
        further = [*(adapters.values() if isinstance(adapters, Mapping) else adapters)]
        if is_named(named) and further:
            _warn(locate(str(given["model"]), [str(place_of(each)) for each in further]).strangers)
        # Heavy modules are imported after everything that can refuse at once.
        from tunesmith.generation.shared_base import SharedBase

        shared = SharedBase.open(
            found.model,
            dtype=given.get("dtype", dtype),  # type: ignore[arg-type]
            device=str(given.get("device", device)),
            four_bit=found.four_bit,
            find=named_adapter,
        )
    loaded = Model(shared, None)
    for name, folder in found.adapters.items():
        loaded.default = loaded.add(folder, name=name, force=force)
    if isinstance(adapters, Mapping):
        for name, adapter in adapters.items():
            loaded.add(adapter, name=name, force=force)
    else:
        for adapter in adapters:
            loaded.add(adapter, force=force)
    return loaded


def chat(  # noqa: PLR0913  # one keyword for each setting
    model: AdapterGiven | None = None,
    *,
    adapters: Sequence[AdapterGiven] = (),
    system: str | None = None,
    template_options: "Mapping[str, TemplateValue] | None" = None,
    temperature: float | None = None,
    top_p: float | None = None,
    max_new_tokens: int | None = None,
    seed: int = 0,
    force: bool = False,
    on_text: Callable[[str], None] = lambda _: None,
) -> Dialogue:
    """A conversation with a model or a run, and adapters that answer beside it.

    Without a model the base is that of the first adapter, or the default model; the adapter
    `base` is the base itself. ``system`` None: the system message that the run was trained under
    (`data.system`), if any; "": none. ``template_options`` are variables of the chat template, such
    as ``{"enable_thinking": False}``. ``on_text`` receives the name of what is loaded.

    >>> talk = ts.chat("runs/mine", adapters=["base"])  # doctest: +SKIP
    >>> talk("Hello")  # doctest: +SKIP
    """
    from tunesmith.runs.locate import locate, require_known

    target = None if model is None else str(place_of(model))
    if target is not None:
        require_known(target)
    found = locate(target, [str(place_of(each)) for each in adapters])
    # Heavy modules are imported after everything that can refuse at once.
    from tunesmith.config.settings import read_template_options
    from tunesmith.conversation.chat import open_chat

    sampling = sampling_of(temperature, top_p=top_p, max_new_tokens=max_new_tokens)
    on_text(found.model)
    options = cast("dict[str, TemplateValue]", read_template_options(dict(template_options or {})))
    below = open_chat(
        found, sampling=sampling, seed=seed, system=system, options=options, force=force
    )
    return Dialogue(below, found.notes)


def sampling_of(
    temperature: float | None = None,
    *,
    top_p: float | None = None,
    max_new_tokens: int | None = None,
    stop: str | Sequence[str] = (),
) -> "Sampling":
    """The sampling asked for, or UsageError; what was not given keeps its default."""
    from tunesmith.generation.sampling import Sampling

    texts = (stop,) if isinstance(stop, str) else tuple(stop)
    given: dict[str, object] = {"temperature": temperature, "top_p": top_p}
    given |= {"max_new_tokens": max_new_tokens, "stop": texts or None}
    values = {name: value for name, value in given.items() if value is not None}
    try:
        return dataclasses.replace(Sampling(), **values)  # type: ignore[arg-type]
    except ValueError as error:
        raise UsageError(f"{error}.") from None


def _warn(notes: Iterable[str]) -> None:
    for note in notes:
        warnings.warn(note, stacklevel=4)


def place_of(adapter: AdapterGiven) -> str | Path:
    """The folder of a run, or the name as it was given."""
    return adapter.folder if isinstance(adapter, Run) else adapter
