"""An export run by another program, compared with its source: answers, logits, template."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tunesmith.core.numbers import pluralize
from tunesmith.data.chat_text import chat_text, given
from tunesmith.data.rows import Message
from tunesmith.data.tokenizer import encode
from tunesmith.engine.forward import Engine
from tunesmith.engine.pack import Row, pack
from tunesmith.exports.gguf_vocabulary import templates_of
from tunesmith.exports.llama_process import ask, require_python
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.loop import generate
from tunesmith.generation.sampling import Sampling

MAX_TOKENS = 24  # of an answer
LIBRARY = {"llama.cpp": "llama-cpp-python"}  # whose version is shown


@dataclass(frozen=True, slots=True)
class Here:
    """The source of a file, as this program runs it: a base, alone or with an adapter."""

    engine: Engine
    tokenizer: PreTrainedTokenizerBase
    stop_ids: frozenset[int]
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class AskedPrompts:
    """K conversations, each as the template renders it up to the answer, and its ids."""

    conversations: Sequence[Sequence[Message]]
    texts: Sequence[str]
    ids: Sequence[list[int]]
    max_tokens: int  # of an answer


@dataclass(frozen=True, slots=True)
class Artefact:
    """A GGUF model, or a GGUF adapter over one."""

    model: Path
    adapter: Path | None = None


@dataclass(frozen=True, slots=True)
class Fork:
    """Where two greedy answers diverge: prompt, token, and the gap between both tokens here.

    ``gap`` is the logit of our token minus that of theirs, both by this program: a gap below the
    differences of the logits is a tie.
    """

    prompt: int
    token: int
    gap: float


@dataclass(frozen=True, slots=True)
class ExportComparison:
    """The results of K prompts; ``largest_logit`` is the scale of ``largest_difference``."""

    prompts: int
    forks: tuple[Fork, ...]
    largest_difference: float  # of any logit of the first token of an answer
    largest_logit: float
    same_template: bool
    other_prompts: tuple[int, ...]  # whose text or ids differ in the program
    failures: tuple[str, ...]  # of its template engine
    continues_after: tuple[int, ...]  # tokens that end an answer here and not there
    version: str
    program: str = "llama.cpp"

    @property
    def same_answers(self) -> int:
        """Prompts with the same greedy answer, token for token."""
        return self.prompts - len(self.forks)

    @property
    def same_text(self) -> bool:
        """Whether template, prompts, their ids and the ends of answers are the same."""
        return self.same_template and not self.other_prompts and not self.continues_after

    def sentences(self) -> list[str]:
        """For people."""
        lines = [
            f"{self.same_answers} of {pluralize(self.prompts, 'greedy answer')} "
            f"{'is' if self.prompts == 1 else 'are'} the same in "
            f"{self.program} ({LIBRARY.get(self.program, 'version')} {self.version}).",
            f"The largest difference of a logit is {self.largest_difference:.3g}; the largest "
            f"logit is {self.largest_logit:.3g}.",
        ]
        if self.forks:
            gaps = ", ".join(f"{fork.gap:.2g}" for fork in self.forks)
            lines.append(
                "An answer diverges where the two likeliest tokens are almost tied; the gaps "
                f"between their logits here: {gaps}."
            )
        if self.same_text:
            lines.append("The template and every prompt are the same, byte by byte.")
        if not self.same_template:
            lines.append("The template in the file differs.")
        if self.other_prompts:
            lines.append(f"Prompts that {self.program} reads differently: {self.other_prompts}.")
        lines += sorted(set(self.failures))
        if self.continues_after:
            ends = f"does not end an answer at the tokens {self.continues_after}"
            lines.append(f"{self.program} {ends}.")
        return lines


def compare(
    here: Here,
    artefact: Artefact,
    conversations: Sequence[Sequence[Message]],
    *,
    python: Path | None = None,
    max_tokens: int = MAX_TOKENS,
) -> ExportComparison:
    """Answer every conversation greedily here and in llama.cpp, and compare.

    Each conversation ends with a message that asks for an answer. llama.cpp gets the ids of this
    program's prompts; it also renders and tokenizes the same conversations itself. Raises
    TunesmithError where llama.cpp is missing, RunError where it fails.
    """
    found = require_python(python)
    asked = prompts_of(here, conversations, max_tokens)
    job: dict[str, Any] = {
        "do": "answer",
        "model": str(artefact.model),
        "adapter": None if artefact.adapter is None else str(artefact.adapter),
        "context": max(map(len, asked.ids)) + max_tokens,
        "threads": torch.get_num_threads(),
        "tokens": max_tokens,
        "stop_ids": sorted(here.stop_ids),
        "prompts": [
            {"messages": list(given(each).messages), "text": text, "ids": ids}
            for each, text, ids in zip(conversations, asked.texts, asked.ids, strict=True)
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        job["logits"] = str(Path(folder, "logits.npy"))
        there: dict[str, Any] = ask(found, job)
        logits: NDArray[np.float32] = np.load(job["logits"])
    return compared(here, asked, {**there, "program": "llama.cpp"}, logits)


def prompts_of(
    here: Here, conversations: Sequence[Sequence[Message]], max_tokens: int = MAX_TOKENS
) -> AskedPrompts:
    """The prompts of both sides, as the template here renders them."""
    texts = [chat_text(here.tokenizer, given(each), prompt=True) for each in conversations]
    return AskedPrompts(conversations, texts, encode(here.tokenizer, texts), max_tokens)


def compared(
    here: Here, asked: AskedPrompts, there: Mapping[str, Any], logits: NDArray[np.float32]
) -> ExportComparison:
    """Another program's results for these prompts, compared with this program's.

    ``there``: the answer of ``llama_worker.answer``, or one of its form, and the ``program``'s
    name; ``logits`` [K, V] are those of each answer's first token.
    """
    rows, prompts = there["rows"], asked.ids
    answers = greedy_answers(here, asked)
    mine = [first_scores(here, ids) for ids in prompts]
    # a vocabulary may be padded on one side
    pairs = [(a, b[: len(a)]) for a, b in zip(mine, torch.from_numpy(logits), strict=True)]
    pairs = [(a[: len(b)], b) for a, b in pairs]
    finite = [(a[a.isfinite()], b[a.isfinite()]) for a, b in pairs]
    forks = [
        _fork(here, number, prompts[number], answers[number], row["answer"])
        for number, row in enumerate(rows)
        if row["answer"] != answers[number]
    ]
    wanted = zip(rows, prompts, asked.texts, strict=True)
    return ExportComparison(
        prompts=len(prompts),
        forks=tuple(forks),
        largest_difference=max(float((a - b).abs().max()) for a, b in finite),
        largest_logit=max(float(a.abs().max()) for a, _ in finite),
        same_template=there["template"] == templates_of(here.tokenizer).get("default"),
        other_prompts=tuple(
            number
            for number, (row, ids, text) in enumerate(wanted)
            if row["ids"] != ids or row["rendered"] != text
        ),
        failures=tuple(row["failure"] for row in rows if row["failure"]),
        continues_after=tuple(
            i for i, ends in zip(sorted(here.stop_ids), there["ends"], strict=True) if not ends
        ),
        version=there["version"],
        program=there["program"],
    )


def greedy_answers(here: Here, asked: AskedPrompts) -> dict[int, list[int]]:
    """The ids of each prompt's greedy answer, by its place."""
    prompts = [Prompt(tuple(ids), here.adapter) for ids in asked.ids]
    sampling = Sampling(max_new_tokens=asked.max_tokens)
    made = generate(here.engine, prompts, stop_ids=here.stop_ids, sampling=sampling)
    return {answer.row: list(answer.ids) for answer in made}


@torch.inference_mode()
def first_scores(here: Here, ids: Sequence[int]) -> Tensor:
    """Logits of the token after ``ids``, fp32 [V]."""
    row = Row(ids, [0.0] * len(ids), adapter=here.adapter)
    batch = pack([row], prefixes=here.engine.prefixes)
    hidden = here.engine.hidden_states(batch)[-1:]
    tokens = here.engine.vocabularies.get(here.adapter or "")
    return here.engine.head.logits(hidden, tokens)[0].float().cpu()


def _fork(here: Here, number: int, ids: list[int], ours: list[int], theirs: list[int]) -> Fork:
    shared = zip(ours, theirs, strict=False)
    at = next((i for i, (a, b) in enumerate(shared) if a != b), min(len(ours), len(theirs)))
    scores = first_scores(here, [*ids, *ours[:at]])
    end = max(here.stop_ids, key=lambda i: float(scores[i]))
    mine, other = (answer[at] if at < len(answer) else end for answer in (ours, theirs))
    return Fork(number, at, float(scores[mine] - scores[other]))
