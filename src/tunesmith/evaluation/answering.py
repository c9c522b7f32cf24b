"""Answers of an arm: read from the cache where they are known, generated where they are not."""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from tunesmith.adapters import folder as config_file
from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.core.progress import UNSEEN, PhaseProgress
from tunesmith.core.rank_help import divided, helpers
from tunesmith.data.chat_format import study
from tunesmith.data.rows import Message, Tool
from tunesmith.data.template import render_prompt
from tunesmith.data.thinking import text_of
from tunesmith.engine.forward import Engine
from tunesmith.engine.shard import whole
from tunesmith.evaluation.arms import Arm
from tunesmith.evaluation.score_cache import add_line, kept_in, lines_of, name_of
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.loop import GeneratedAnswer, generate
from tunesmith.generation.sampling import Sampling
from tunesmith.methods.adapter import Adapter
from tunesmith.models.hashes import COMBINED, file_sha256, hash_folder
from tunesmith.models.load import Base
from tunesmith.models.supported import is_four_bit

FORMAT = 1  # raised when generation computes something else


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """An answer's token ids without the stop token, and why it ended: `stop` or `length`."""

    ids: tuple[int, ...]
    ended: str


def fingerprint(base: Base, adapter: Adapter | None = None, result: Path | None = None) -> str:
    """The hash of who answers: the base's bytes and number format, and those of what was trained.

    ``result`` is the folder of the adapter, or of the model where the base itself was trained.
    """
    folder, trained = base.folder, ""
    if result is not None and adapter is not None and adapter.frozen_base:
        trained = file_sha256(result / config_file.CONFIG) + tensors_sha256(adapter)
    elif result is not None:
        folder = result
    who = (
        hash_folder(folder)[COMBINED],
        is_four_bit(base.model.config),
        str(base.dtype),
        base.device.type,
        trained,
    )
    return _sha256(who)


def fingerprint_now(base: Base, adapter: Adapter) -> str:
    """The same of an adapter, or a base in training, as it is in memory: saved or not."""
    return _sha256((fingerprint(base), repr(adapter.settings), tensors_sha256(adapter)))


def _sha256(value: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def tensors_sha256(adapter: Adapter) -> str:
    """SHA-256 of an adapter's tensors as they are in memory: what is saved may be narrower."""
    found = hashlib.sha256()
    for name, parameter in sorted(adapter.parameters.items()):
        found.update(f"{name} {list(parameter.shape)} {parameter.dtype}".encode())
        flat = whole(parameter).detach().cpu().contiguous().view(-1)
        found.update(flat.view(torch.uint8).numpy().data)
    return found.hexdigest()


@dataclass(slots=True)
class AnswerCache:
    """The answers of one participant under one sampling: a file with a line for each.

    A line is written at once when an answer ends, and an incomplete line is not read: whatever
    kills the process, complete answers stay. Where the cache cannot be written, only time is lost.
    """

    path: Path
    seed: int = 0
    _known: dict[str, CachedAnswer] = field(default_factory=dict)

    def said(self, prompt: Prompt) -> CachedAnswer | None:
        """The answer to a prompt, if it was given before."""
        return self._known.get(_name(prompt))

    def require(self, prompt: Prompt) -> CachedAnswer:
        """The answer to a prompt; raises KeyError without one, as answers belong to rows."""
        return self._known[_name(prompt)]

    def keep(self, prompt: Prompt, said: CachedAnswer) -> None:
        """Remember an answer."""
        name = _name(prompt)
        self._known[name] = said
        add_line(self.path, {"prompt": name, "ids": said.ids, "ended": said.ended})


def open_cache(
    participant: str, sampling: Sampling, stop_ids: frozenset[int], *, seed: int = 0
) -> AnswerCache:
    """The answers of a participant (``fingerprint``) that are known already.

    ``seed`` is that of answers which are drawn.
    """
    # What is added to ``Sampling`` counts where it is set: answers that are kept are found again.
    settings = {n: v for n, v in asdict(sampling).items() if v or n not in ("top_k", "min_p")}
    key = (FORMAT, participant, settings, sorted(stop_ids))
    drawn = (seed,) if sampling.temperature else ()
    path = kept_in("answers", name_of(*key, *drawn))
    return AnswerCache(path, seed, dict(_read(path)))


def _read(path: Path) -> Iterator[tuple[str, CachedAnswer]]:
    """Every complete answer; a damaged one counts as not given."""
    for line in lines_of(path):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            ids: Iterable[int] = line["ids"]  # type: ignore[assignment]
            yield str(line["prompt"]), CachedAnswer(tuple(map(int, ids)), str(line["ended"]))


def _name(prompt: Prompt) -> str:
    """Of what is asked; who is asked and how it is batched do not count."""
    drawn = () if prompt.draw is None else (prompt.draw,)
    return name_of(prompt.ids, prompt.limit, *drawn)


def answer_arms(
    engine: Engine,
    arms: Mapping[str, Arm],
    caches: Mapping[str, AnswerCache],
    *,
    sampling: Sampling,
    stop_ids: frozenset[int],
    phase: PhaseProgress = UNSEEN,
) -> dict[str, tuple[CachedAnswer, ...]]:
    """Every arm's answers in the order of its prompts; each is cached for its arm as it ends.

    ``phase`` counts all that are known, from the cache too.
    """
    waiting = unanswered(arms, caches)
    total = sum(len(arm.prompts) for arm in arms.values())
    known = total - len(waiting)
    phase.at(known, total)
    prompts = [prompt for _, prompt in waiting]
    seed = next((cache.seed for cache in caches.values()), 0)
    made = _generated(engine, prompts, stop_ids, sampling, seed=seed, phase=phase)
    for count, one in enumerate(made, start=1):
        arm, prompt = waiting[one.row]
        caches[arm].keep(prompt, CachedAnswer(one.ids, one.ended))
        phase.at(known + count)
    return {
        name: tuple(caches[name].require(prompt) for prompt in arm.prompts)
        for name, arm in arms.items()
    }


# Prompts of a unit that a rank answers by itself, at least, and the most units that there are.
# Larger units leave fewer slots empty at their ends; more of them serve more ranks.
UNIT_PROMPTS, MAX_UNITS = 64, 8


def _generated(
    engine: Engine,
    prompts: Sequence[Prompt],
    stop_ids: frozenset[int],
    sampling: Sampling,
    *,
    seed: int,
    phase: PhaseProgress,
) -> Iterator[GeneratedAnswer]:
    """``generate``, by units of prompts where other ranks help.

    Units depend on the prompts alone, so that the number of ranks changes no answer.
    """
    rows = _units(prompts)
    if helpers() == 1 or len(rows) == 1:
        yield from generate(
            engine, prompts, stop_ids=stop_ids, sampling=sampling, seed=seed, check=phase.check
        )
        return
    # A prompt that names no draw is drawn by its row, which differs in a unit.
    drawn = [replace(p, draw=i if p.draw is None else p.draw) for i, p in enumerate(prompts)]
    units = [[drawn[row] for row in unit] for unit in rows]
    make = partial(_answered, stop_ids=stop_ids, sampling=sampling, seed=seed)
    for unit, answers in zip(rows, divided(engine, make, units, check=phase.check), strict=True):
        for one in answers:
            yield replace(one, row=unit[one.row])


def _units(prompts: Sequence[Prompt]) -> list[list[int]]:
    """Rows of each unit: as many, and about as long, in all of them."""
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row].ids))
    count = 1
    while 2 * count <= min(MAX_UNITS, len(prompts) // UNIT_PROMPTS):
        count *= 2
    return [order[first::count] for first in range(count)]


def _answered(
    engine: Engine,
    prompts: Sequence[Prompt],
    *,
    stop_ids: frozenset[int],
    sampling: Sampling,
    seed: int,
) -> list[GeneratedAnswer]:
    """All answers to the prompts of a unit."""
    return [*generate(engine, prompts, stop_ids=stop_ids, sampling=sampling, seed=seed)]


@dataclass(frozen=True, slots=True)
class Respondent:
    """Who answers: an adapter (None: the base) by its name, and the hash of both (None: unknown).

    What it answers and computes is kept only under a hash.
    """

    adapter: str | None = None
    fingerprint: str | None = None


UNKNOWN_BASE = Respondent()


def answers_now(
    loaded: LoadedBase, arm: Arm, who: Respondent, *, limit: int, phase: PhaseProgress = UNSEEN
) -> tuple[str, ...]:
    """An arm's answers as text, of at most ``limit`` tokens."""
    sampling = Sampling(max_new_tokens=limit)
    return _texts(loaded, arm.prompts, who, sampling=sampling, phase=phase)


def _texts(
    loaded: LoadedBase,
    prompts: Sequence[Prompt],
    who: Respondent,
    *,
    sampling: Sampling,
    phase: PhaseProgress,
    seed: int = 0,
) -> tuple[str, ...]:
    """The answers as text; those of random numbers that a prompt names none of are not kept."""
    stop_ids, tokenizer = loaded.base.stop_ids, loaded.tokenizer(who.adapter)
    if who.fingerprint is None or (sampling.temperature and any(p.draw is None for p in prompts)):
        texts = [""] * len(prompts)
        made = _generated(loaded.engine, prompts, stop_ids, sampling, seed=seed, phase=phase)
        for count, one in enumerate(made, start=1):
            texts[one.row] = text_of(tokenizer, one.ids)
            phase.at(count, len(prompts))
        return tuple(texts)
    cache = open_cache(who.fingerprint, sampling, stop_ids, seed=seed)
    said = answer_prompts(loaded, prompts, cache, sampling=sampling, phase=phase)
    return tuple(text_of(tokenizer, each.ids) for each in said)


def answer_prompts(
    loaded: LoadedBase,
    prompts: Sequence[Prompt],
    cache: AnswerCache,
    *,
    sampling: Sampling,
    phase: PhaseProgress,
) -> tuple[CachedAnswer, ...]:
    """The answers to some prompts in their order, each cached as it ends."""
    return answer_arms(
        loaded.engine,
        {"": Arm("", tuple(prompts))},
        {"": cache},
        sampling=sampling,
        stop_ids=loaded.base.stop_ids,
        phase=phase,
    )[""]


def unanswered(
    arms: Mapping[str, Arm], caches: Mapping[str, AnswerCache]
) -> list[tuple[str, Prompt]]:
    """The prompts that no cache knows, each once for its arm's cache."""
    found: dict[tuple[str, str], tuple[str, Prompt]] = {}
    for name, arm in arms.items():
        for prompt in arm.prompts:
            if caches[name].said(prompt) is None:
                found.setdefault((str(caches[name].path), _name(prompt)), (name, prompt))
    return list(found.values())


@dataclass(frozen=True, slots=True)
class DrawRequest:
    """Messages that end with a question; ``draw`` keys the random numbers of its answer."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    draw: int | None = None


def answers_to(
    loaded: LoadedBase,
    asked: Sequence[DrawRequest],
    *,
    who: Respondent,
    sampling: Sampling,
    seed: int,
    phase: PhaseProgress = UNSEEN,
) -> tuple[str, ...]:
    """What the arm answers, without its thinking, in the order of ``asked``.

    The same seed and draw give the same answer, whatever else is in the batch.
    """
    prompts = prompts_of(loaded, asked, who.adapter)
    return _texts(loaded, prompts, who, sampling=sampling, phase=phase, seed=seed)


def prompts_of(
    loaded: LoadedBase, asked: Sequence[DrawRequest], adapter: str | None
) -> tuple[Prompt, ...]:
    """What is read for each request, with the room that the context leaves for its answer."""
    tokenizer = loaded.tokenizer(adapter)
    chat_format = study(tokenizer)
    context = loaded.base.context - loaded.engine.prefix_length(adapter)
    prompts = []
    for each in asked:
        ids = render_prompt(tokenizer, each.messages, each.tools, chat_format=chat_format)
        limit = max(1, context - len(ids))
        prompts.append(Prompt(tuple(ids), adapter, each.draw, limit=limit))
    return tuple(prompts)
