"""Questions that a base writes about the passages of a store, and which of them are kept.

The passage must contain the answer word for word, and the question must find the passage again:
round-trip consistency (Alberti et al. 2019, arXiv 1906.05416), by retrieval in the place of a
second model.
"""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.adapters.loaded_base import LoadedBase, open_base
from tunesmith.conversation.documents import open_documents
from tunesmith.core.errors import RagError
from tunesmith.core.progress import SILENT, Progress
from tunesmith.data.chat_format import study
from tunesmith.data.rows import Message
from tunesmith.data.template import render_prompt
from tunesmith.data.thinking import text_of
from tunesmith.data.tokenizer import Tokenizer, encode
from tunesmith.evaluation.answering import answer_arms, fingerprint, open_cache
from tunesmith.evaluation.arms import Arm
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.sampling import Sampling
from tunesmith.retrieval.passage import Passage
from tunesmith.retrieval.prompt import sanitize
from tunesmith.retrieval.questions import RetrievalQuestion
from tunesmith.retrieval.retrieve import SearchOptions, retrieve
from tunesmith.retrieval.scores import says, words_of
from tunesmith.retrieval.store import EmbeddingModel, PassageStore
from tunesmith.runs.locate import locate

QUESTION, ANSWER = "Question:", "Answer:"
FORM = re.compile(rf"\s*{QUESTION}[ \t]*(\S[^\n]*?)\s*\n\s*{ANSWER}[ \t]*(\S[^\n]*)")
MIN_WORDS = 4  # of a question
MAX_WORDS = 8  # of an answer
FAULTS = {
    "form": "is not a question with an answer",
    "no_question": "asks in fewer than four words, or without a question mark",
    "long_answer": "has an answer of more than eight words",
    "not_in_passage": "has an answer that the passage does not contain",
    "given_away": "has its answer in the question",
    "not_found": "does not find its passage again",
}


@dataclass(frozen=True, slots=True)
class WrittenQuestion:
    """A question with its answer."""

    question: str
    answer: str


def parse_reply(reply: str) -> WrittenQuestion | None:
    """What is written in the form asked for, a line each; None for anything else."""
    found = FORM.match(reply)
    return WrittenQuestion(found[1], found[2].strip(" .\"'*")) if found else None


def fault_of(written: WrittenQuestion | None, passage: Passage) -> str | None:
    """The first of FAULTS that shows without a search; None where there is none."""
    if written is None:
        return "form"
    question, answer = written.question, words_of(written.answer)
    if not question.endswith(("?", "？")) or len(question.split()) < MIN_WORDS:
        return "no_question"
    if len(answer) > MAX_WORDS:
        return "long_answer"
    if not says(passage.text, written.answer):
        return "not_in_passage"
    return "given_away" if says(question, written.answer) else None


def finds_again(
    store: PassageStore, embedder: EmbeddingModel, question: str, passage: Passage, *, top_k: int
) -> bool:
    """Whether the passage is among the first hits for the question."""
    hits = retrieve(store, embedder, question, SearchOptions(top_k, keep_duplicates=True))
    return any(hit.passage.id == passage.id for hit in hits)


PHASE = "writing questions"
TASK = (
    "Write one question that the passage answers. Then copy the short answer from the passage, "
    "word for word."
)
SHOWN = (
    (
        "The lighthouse at Cape Merrow was built in 1871 by the engineer Tom Hale. It is 34 metres "
        "high and was painted red in 1920 so that ships could see it in fog.",
        "Who built the lighthouse at Cape Merrow?",
        "Tom Hale",
    ),
    (
        "Basalt is a dark rock that forms when lava cools quickly. It covers most of the ocean "
        "floor, and people use it to pave roads.",
        "What forms when lava cools quickly?",
        "Basalt",
    ),
    (
        "In 2004 the town of Orsk opened its first library for children. It holds 12,000 books, "
        "and about 300 children visit it each week.",
        "How many books does the library for children in Orsk hold?",
        "12,000",
    ),
)
OPENINGS = ("Who", "When", "Where", "How many", "What")
"""How a question begins; another one at each try, as a greedy answer is always the same."""
LONGEST = 64  # tokens of a question with its answer


@dataclass(frozen=True, slots=True)
class Writing:
    """``chunks`` are drawn (None: all), each asked about ``tries`` times until a question stays.

    A question that stays finds its chunk ``among`` the first hits.
    """

    chunks: int | None = None
    tries: int = 3
    top_k: int = 5
    seed: int = 0


@dataclass(frozen=True, slots=True)
class WrittenQuestions:
    """The questions that stay, of how many chunks, and how many replies had which fault."""

    questions: tuple[RetrievalQuestion, ...]
    chunks: int
    faults: Mapping[str, int]

    def to_json(self) -> dict[str, object]:
        """What `rag dataset --json` prints of them."""
        return {"chunks": self.chunks, "kept": len(self.questions), "faults": dict(self.faults)}


def write_questions(
    store: str, *, model: str, settings: Writing | None = None, progress: Progress = SILENT
) -> WrittenQuestions:
    """A question with its answer for each chunk, where the base writes one that may stay.

    Replies are kept in the cache: after a cancel, the next call resumes. The same store, base and
    settings give the same questions. Raises RagError where nothing may stay.
    """
    settings = settings or Writing()
    opened_store, embedder = open_documents(store, progress=progress)
    passages = _drawn(opened_store.passages(), settings)
    located = locate(model, [])
    progress.phase(f"loading {located.model}")
    loaded = open_base(located.model, four_bit=located.four_bit)
    writer = _Writer(loaded, passages, settings, progress)
    kept: dict[int, RetrievalQuestion] = {}
    faults: Counter[str] = Counter()
    for number in range(settings.tries):
        open_ = [i for i in range(len(passages)) if i not in kept]
        for i, reply in zip(open_, writer.replies(open_, number), strict=True):
            found = _checked(reply, passages[i], (opened_store, embedder), settings.top_k)
            if isinstance(found, RetrievalQuestion):
                kept[i] = found
            else:
                faults[found] += 1
    if not kept:
        counts = ", ".join(f"{fault} {count:,}" for fault, count in faults.most_common())
        raise RagError(
            f"None of the questions that {located.model} wrote may stay ({counts}).",
            remedy="Take a larger base with --model, more --tries, or a file of questions.",
            code="nothing_written",
        )
    questions = tuple(kept[i] for i in sorted(kept))
    return WrittenQuestions(questions, len(passages), faults)


def _drawn(passages: Sequence[Passage], settings: Writing) -> list[Passage]:
    """So many passages, in the order of sources."""
    count = len(passages) if settings.chunks is None else min(settings.chunks, len(passages))
    places = random.Random(f"{settings.seed} chunks").sample(range(len(passages)), count)
    return [passages[place] for place in sorted(places)]


def _checked(
    reply: str, passage: Passage, documents: tuple[PassageStore, EmbeddingModel], top_k: int
) -> RetrievalQuestion | str:
    """The question that may stay, or its fault."""
    written = parse_reply(reply)
    fault = fault_of(written, passage)
    if written is None or fault is not None:
        return fault or "form"
    if not finds_again(*documents, written.question, passage, top_k=top_k):
        return "not_found"
    return RetrievalQuestion(written.question, (written.answer,), passage.source, passage.text)


class _Writer:
    """The base that writes, one opening of a question at a time."""

    def __init__(
        self, loaded: LoadedBase, passages: Sequence[Passage], settings: Writing, progress: Progress
    ) -> None:
        self._loaded, self._passages, self._seed = loaded, passages, settings.seed
        self._progress = progress
        self._sampling = Sampling(max_new_tokens=LONGEST)
        self._cache = open_cache(fingerprint(loaded.base), self._sampling, loaded.base.stop_ids)
        self._tokenizer: Tokenizer = loaded.base.tokenizer
        self._format = study(self._tokenizer)
        self._tries = settings.tries

    def replies(self, places: Sequence[int], number: int) -> list[str]:
        """What is written about these passages at try ``number``, its opening included."""
        openings = [f"{QUESTION} {self._opening(place, number)}" for place in places]
        prompts = [self._prompt(*each) for each in zip(places, openings, strict=True)]
        phase = f"{PHASE} (try {number + 1:,} of {self._tries:,})"
        said = answer_arms(
            self._loaded.engine,
            {PHASE: Arm(PHASE, tuple(prompts))},
            {PHASE: self._cache},
            sampling=self._sampling,
            stop_ids=self._loaded.base.stop_ids,
            phase=self._progress.quiet_phase(phase),
        )
        texts = [text_of(self._tokenizer, each.ids) for each in said[PHASE]]
        return [f"{opening}{text}" for opening, text in zip(openings, texts, strict=True)]

    def _opening(self, place: int, number: int) -> str:
        rng = random.Random(f"{self._seed} {self._passages[place].id}")
        return rng.sample(OPENINGS, len(OPENINGS))[number % len(OPENINGS)]

    def _prompt(self, place: int, opening: str) -> Prompt:
        """The task, what is wanted shown three times, the passage, and how the reply begins."""
        text = sanitize(self._passages[place].text, self._format.control)
        turns = [] if not self._format.keeps_system else [Message("system", TASK)]
        for passage, question, answer in SHOWN:
            turns.append(Message("user", f"Passage: {passage}"))
            turns.append(Message("assistant", f"{QUESTION} {question}\n{ANSWER} {answer}"))
        turns.append(Message("user", f"Passage: {text}"))
        if not self._format.keeps_system:
            turns[0] = Message("user", f"{TASK}\n\n{turns[0].content}")
        ids = render_prompt(self._tokenizer, turns, chat_format=self._format)
        return Prompt((*ids, *encode(self._tokenizer, [opening])[0]), opening=PHASE)
