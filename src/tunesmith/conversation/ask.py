"""A question answered from documents: a prompt of what was found, an answer, checked citations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tunesmith.adapters.loaded_base import LoadedBase, open_with_adapters
from tunesmith.conversation.chat import LONGEST_CHAT_TOKENS, OnText, Participant
from tunesmith.conversation.documents import FoundPassages
from tunesmith.core.progress import SILENT, Progress, ignore, never
from tunesmith.data.chat_format import ChatFormat, study
from tunesmith.data.rows import Message
from tunesmith.data.tokenizer import Tokenizer, encode
from tunesmith.generation.sampling import Sampling
from tunesmith.retrieval.prompt import (
    Citations,
    CitedSource,
    RagPrompt,
    build_prompt,
    check_citations,
    refusal_for,
)
from tunesmith.retrieval.retrieve import Hit
from tunesmith.runs.locate import locate

NO_CITATION = (
    "The answer cites none of its sources: check it against them. The rows of `tunesmith rag "
    "dataset` teach a model to cite."
)
TEMPLATE_TOKENS = 64  # what a chat template writes around a system prompt and a question


@dataclass(frozen=True, slots=True)
class SourcesPrompt:
    """Prompts for one tokenizer, of at most ``max_tokens`` with the template."""

    tokenizer: Tokenizer
    format: ChatFormat
    max_tokens: int

    def __call__(self, question: str, passages: Sequence[tuple[str, str]]) -> RagPrompt:
        """The model's prompt, given (place, text) of passages; RagError where none fits."""
        return build_prompt(
            question,
            passages,
            max_tokens=self.max_tokens,
            count=lambda text: len(encode(self.tokenizer, [text])[0]),
            control=self.format.control,
            template_tokens=TEMPLATE_TOKENS,
        )

    def messages(self, prompt: RagPrompt) -> tuple[Message, ...]:
        """The same as turns of a conversation, as the model's chat template takes them."""
        turns = prompt.messages(keeps_system=self.format.keeps_system)
        return tuple(Message(role, text) for role, text in turns)


def sources_prompt(tokenizer: Tokenizer, *, max_tokens: int) -> SourcesPrompt:
    """Prompts for a tokenizer; raises DataError where it has no chat template."""
    return SourcesPrompt(tokenizer, study(tokenizer), max_tokens)


@dataclass(frozen=True, slots=True)
class AskSettings:
    """How a question is answered from what was found."""

    prompt_tokens: int = 2048
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, from which sources, and what is wrong with its citations."""

    text: str
    refused: bool
    sources: tuple[CitedSource, ...]
    hits: tuple[Hit, ...]
    citations: Citations
    confidence: float | None
    cut: bool = False
    left_out: int = 0
    threshold: float | None = None

    @property
    def is_uncited(self) -> bool:
        """Whether it answers without citing any of the sources that it was given."""
        return not self.refused and not self.citations.cited

    def faults(self) -> list[str]:
        """What is wrong with its citations, a sentence each."""
        found = self.citations.faults()
        return [NO_CITATION, *found] if self.is_uncited else found

    def to_json(self) -> dict[str, object]:
        """What `rag ask --json` prints."""
        return {
            "answer": self.text,
            "refused": self.refused,
            "sources": [source_json(s, h) for s, h in zip(self.sources, self.hits, strict=True)],
            "cited": list(self.citations.cited),
            "uncited": self.is_uncited,
            "faults": self.faults(),
            "confidence": self.confidence,
            "threshold": self.threshold,
            "cut": self.cut,
            "left_out": self.left_out,
        }


class Answerer:
    """A model that answers from what was found; each question is independent."""

    def __init__(
        self, loaded: LoadedBase, settings: AskSettings, adapter: str | None = None
    ) -> None:
        self._participant = Participant(
            adapter or "base",
            loaded,
            adapter=adapter,
            sampling=settings.sampling,
            seed=settings.seed,
        )
        capacity = min(loaded.base.context, LONGEST_CHAT_TOKENS)
        room = capacity - loaded.engine.prefix_length(adapter) - settings.sampling.max_new_tokens
        limit = min(settings.prompt_tokens, room)
        self._prompt = sources_prompt(loaded.tokenizer(adapter), max_tokens=limit)

    def prompt(self, found: FoundPassages) -> RagPrompt:
        """The model's prompt for it."""
        return self._prompt(found.question, found.passages)

    def answer(
        self,
        found: FoundPassages,
        *,
        on_text: OnText = ignore,
        stop: Callable[[], bool] = never,
    ) -> Answer:
        """The answer, its text given to ``on_text`` in pieces; the model is asked if need be."""
        if found.refused:
            return refuse(found, on_text=on_text)
        prompt = self.prompt(found)
        *system, asked = self._prompt.messages(prompt)
        self._participant.reset(system[0].content if system else None)
        reply = self._participant.reply(asked.content, on_text=on_text, stop=stop)
        return Answer(
            text=reply.text.strip(),
            refused=prompt.refusal.rstrip(".") in reply.text,
            sources=prompt.sources,
            hits=tuple(found.hits[: len(prompt.sources)]),
            citations=check_citations(reply.text, prompt.sources),
            confidence=found.confidence,
            cut=reply.cut,
            left_out=prompt.left_out,
            threshold=found.threshold,
        )


def refuse(found: FoundPassages, *, on_text: OnText = ignore) -> Answer:
    """The answer where no passage is near enough: no model is needed for it."""
    text = refusal_for(found.question)
    on_text(text)
    nothing = check_citations("", ())
    return Answer(text, True, (), (), nothing, found.confidence, threshold=found.threshold)


def open_answerer(
    model: str | None, adapter: str | None, settings: AskSettings, *, progress: Progress = SILENT
) -> Answerer:
    """Load the model, with the adapter if there is one.

    Raises the errors of `locate` and of what it loads.
    """
    located = locate(model, [adapter] if adapter else [])
    participant = list(located.participants.values())[-1]  # the adapter, or else the model
    adapters = {} if participant is None else {participant: located.adapters[participant]}
    progress.phase(f"loading {located.model}")
    loaded, _ = open_with_adapters(
        located.model, adapters, four_bit=located.four_bit, progress=progress
    )
    return Answerer(loaded, settings, participant)


def source_json(source: CitedSource, hit: Hit) -> dict[str, object]:
    """A source as `rag ask --json` has it."""
    names = ("source", "page", "text", "heading", "start", "stop")
    place = {name: getattr(hit.passage, name) for name in names}
    return {"number": source.number, **place, "score": hit.score, "why": hit.explain()}
