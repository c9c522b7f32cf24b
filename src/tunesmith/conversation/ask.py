"""A question answered from documents: passages, a prompt, an answer with checked citations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tunesmith.adapters.loaded_base import attach_folder, open_base
from tunesmith.conversation.chat import LONGEST_CHAT_TOKENS, Voice
from tunesmith.core.errors import UsageError
from tunesmith.data.chat_format import ChatFormat, study
from tunesmith.data.rows import Message
from tunesmith.data.tokenizer import Tokenizer, encode
from tunesmith.evaluation.checks.similarity import is_latin
from tunesmith.generation.sampling import Sampling
from tunesmith.models.cache import Emit, ignore
from tunesmith.models.embedder import E5, load_embedder, reads_only_latin
from tunesmith.retrieval.confidence import JUDGED_HITS, confidence, known_threshold
from tunesmith.retrieval.embedding import Embedder, require_same
from tunesmith.retrieval.prompt import (
    Citations,
    Prompt,
    Source,
    build_prompt,
    check_citations,
    refusal_for,
)
from tunesmith.retrieval.retrieve import Hit, Search, require_passages, retrieve, with_neighbours
from tunesmith.retrieval.store import Store, open_store
from tunesmith.runs.locate import locate

if TYPE_CHECKING:
    from tunesmith.adapters.loaded_base import Opened


TEMPLATE_TOKENS = 64  # what a chat template writes around a system prompt and a question


@dataclass(frozen=True, slots=True)
class SourcesPrompt:
    """Prompts for one tokenizer, of at most ``most_tokens`` with the template."""

    tokenizer: Tokenizer
    format: ChatFormat
    most_tokens: int

    def __call__(self, question: str, passages: Sequence[tuple[str, str]]) -> Prompt:
        """What the model is told, given (place, text) of passages; RagError where none fits."""
        return build_prompt(
            question,
            passages,
            most_tokens=self.most_tokens,
            count=lambda text: len(encode(self.tokenizer, [text])[0]),
            control=self.format.control,
            template_tokens=TEMPLATE_TOKENS,
        )

    def messages(self, prompt: Prompt) -> tuple[Message, ...]:
        """The same as turns of a conversation, as the model's chat template takes them."""
        turns = prompt.messages(keeps_system=self.format.keeps_system)
        return tuple(Message(role, text) for role, text in turns)


def sources_prompt(tokenizer: Tokenizer, *, most_tokens: int) -> SourcesPrompt:
    """Prompts for a tokenizer; raises DataError where it has no chat template."""
    return SourcesPrompt(tokenizer, study(tokenizer), most_tokens)


@dataclass(frozen=True, slots=True)
class AskSettings:
    """How a question is answered.

    Below ``threshold`` (a confidence; None: the one known for the store's model) nothing is asked
    of the model. ``neighbours`` chunks before and behind each passage are shown with it.
    """

    search: Search = field(default_factory=Search)
    threshold: float | None = None
    prompt_tokens: int = 2048
    neighbours: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """What the store has for a question, neighbours included; ``refused`` where that is too little.

    ``threshold`` is what the confidence was held against; None where no threshold is known.
    ``advice`` is for whoever asks a model that does not read the question's language.
    """

    question: str
    hits: list[Hit]
    passages: list[tuple[str, str]]
    confidence: float | None
    refused: bool
    threshold: float | None = None
    advice: str = ""

    @property
    def why(self) -> str:
        """What decided whether the model is asked: `confidence 0.41, threshold 0.50`."""
        if not self.hits:
            return "no passage was found"
        known = (("confidence", self.confidence), ("threshold", self.threshold))
        said = (f"{name} {'unknown' if n is None else f'{n:.2f}'}" for name, n in known)
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, from which sources, and what is wrong with its citations."""

    text: str
    refused: bool
    sources: tuple[Source, ...]
    hits: tuple[Hit, ...]
    citations: Citations
    confidence: float | None
    cut: bool = False
    left_out: int = 0
    threshold: float | None = None

    def to_json(self) -> dict[str, object]:
        """What `rag ask --json` prints."""
        return {
            "answer": self.text,
            "refused": self.refused,
            "sources": [_source_json(s, h) for s, h in zip(self.sources, self.hits, strict=True)],
            "cited": list(self.citations.cited),
            "faults": self.citations.faults(),
            "confidence": self.confidence,
            "threshold": self.threshold,
            "cut": self.cut,
            "left_out": self.left_out,
        }


def open_documents(uri: str, *, emit: Emit = ignore) -> tuple[Store, Embedder]:
    """A store and the embedding model that it was made with; raises RagError without either."""
    store = open_store(uri)
    embedder = load_embedder(store.settings.embedding, emit=emit)
    require_same(embedder, store.settings)
    return store, embedder


class Documents:
    """An open store with the embedding model that it was made with."""

    def __init__(self, uri: str, settings: AskSettings, *, emit: Emit = ignore) -> None:
        self._store, self._embedder = open_documents(uri, emit=emit)
        self.settings = settings
        self.threshold = settings.threshold
        if self.threshold is None:
            self.threshold = known_threshold(self._store.settings.embedding)

    def find(self, question: str) -> Found:
        """Passages for a question, best first.

        Raises UsageError for an empty question, RagError where no passage meets the filter.
        """
        if not question.strip():
            raise UsageError("The question is empty.", remedy="Ask something.")
        search, count = self.settings.search, self.settings.neighbours
        require_passages(self._store, search.where)
        wider = replace(search, limit=max(search.limit, JUDGED_HITS))
        found = retrieve(self._store, self._embedder, question, wider)
        sure, hits = confidence(question, found), found[: search.limit]
        hits = [replace(h, passage=with_neighbours(self._store, h.passage, count)) for h in hits]
        unsure = sure is not None and self.threshold is not None and sure < self.threshold
        passages = [(hit.passage.place, hit.passage.text) for hit in hits]
        refused = unsure or not hits
        return Found(
            question, hits, passages, sure, refused, self.threshold, self._advice(question)
        )

    def _advice(self, question: str) -> str:
        """What to do where the store's model cannot read the question; empty where it can."""
        name = self._store.settings.embedding
        if self.settings.search.mode == "text" or is_latin(question) or not reads_only_latin(name):
            return ""
        return f"{name} reads English: for other languages, index with --embedding {E5.name}."


class Answerer:
    """A model that answers from what was found; each question stands alone."""

    def __init__(self, opened: "Opened", settings: AskSettings, adapter: str | None = None) -> None:
        self._settings = settings
        capacity = min(opened.base.context, LONGEST_CHAT_TOKENS)
        self._voice = Voice(adapter or "base", opened, adapter=adapter, capacity=capacity)
        room = capacity - opened.engine.prefix_length(adapter) - settings.sampling.max_new_tokens
        most = min(settings.prompt_tokens, room)
        self._prompt = sources_prompt(opened.tokenizer(adapter), most_tokens=most)

    def prompt(self, found: Found) -> Prompt:
        """What the model is told for it."""
        return self._prompt(found.question, found.passages)

    def answer(
        self,
        found: Found,
        *,
        say: Callable[[str], None] = ignore,
        stop: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """The answer, its text told to ``say`` piece by piece; the model is asked if need be."""
        if found.refused:
            return refuse(found, say=say)
        prompt = self.prompt(found)
        *system, asked = self._prompt.messages(prompt)
        self._voice.reset(system[0].content if system else None)
        reply = self._voice.reply(
            asked.content,
            sampling=self._settings.sampling,
            seed=self._settings.seed,
            say=say,
            stop=stop,
        )
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


def refuse(found: Found, *, say: Callable[[str], None] = ignore) -> Answer:
    """The answer where no passage is near enough: no model is needed for it."""
    text = refusal_for(found.question)
    say(text)
    nothing = check_citations("", ())
    return Answer(text, True, (), (), nothing, found.confidence, threshold=found.threshold)


def open_answerer(
    model: str | None, adapter: str | None, settings: AskSettings, *, emit: Emit = ignore
) -> Answerer:
    """Load the model, with the adapter if there is one.

    Raises the errors of `locate` and of what it loads.
    """
    located = locate(model, [adapter] if adapter else [])
    name, voice = list(located.voices.items())[-1]  # the adapter, or else the model
    emit(f"loading {located.model} ...")
    opened = open_base(located.model, four_bit=located.four_bit)
    if voice is not None:
        attach_folder(opened, located.adapters[name], name=name)
    return Answerer(opened, settings, voice)


def _source_json(source: Source, hit: Hit) -> dict[str, object]:
    passage = hit.passage
    return {
        "number": source.number,
        "source": passage.source,
        "page": passage.page,
        "text": passage.text,
        "score": hit.score,
        "heading": passage.heading,
        "start": passage.start,
        "stop": passage.stop,
        "why": hit.explain(),
    }
