"""Texts that a base writes by itself, by which a run retains how it writes: free ones and answers.

They are written once for each base and kept with its answers; those of the default base come with
the package (`python -m benchmarks.methods.base_texts`).
"""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.core import yaml_text
from tunesmith.core.progress import PhaseProgress
from tunesmith.data.rows import Message
from tunesmith.data.template import render_prompt
from tunesmith.data.tokenizer import begins_texts_with, encode
from tunesmith.evaluation.answering import CachedAnswer, answer_prompts, fingerprint, open_cache
from tunesmith.evaluation.score_cache import name_of
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.sampling import Sampling
from tunesmith.models.hashes import COMBINED, hash_folder
from tunesmith.models.load import Base

TEXTS = 128
LENGTHS = (32, 48, 64, 96, 128)  # tokens of a text with what it begins with, each as often
MIN_WRITTEN = 16  # tokens after a long question
SEED = 0
DEFAULT_LANGUAGE = "en"


def written_by(
    loaded: LoadedBase, languages: Sequence[str], *, phase: PhaseProgress
) -> list[tuple[int, ...]]:
    """Token ids of ``TEXTS`` texts in these languages, at temperature 1, as the base is now.

    Half of them are answers where the base has a chat template.
    """
    prompts = list(prompts_of(loaded, languages))
    stop_ids, sampling = loaded.base.stop_ids, Sampling(temperature=1.0, max_new_tokens=LENGTHS[-1])
    kept = open_cache(fingerprint(loaded.base), sampling, stop_ids, seed=SEED)
    for prompt, said in _brought(loaded.base, prompts):
        kept.keep(prompt, said)
    written = answer_prompts(loaded, prompts, kept, sampling=sampling, phase=phase)
    return [(*prompt.ids, *said.ids) for prompt, said in zip(prompts, written, strict=True)]


def _brought(base: Base, prompts: Sequence[Prompt]) -> Iterator[tuple[Prompt, CachedAnswer]]:
    """What the package has of this base, so that the default one need not write."""
    file = files(__package__) / "base_texts.json"
    brought: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    known = brought.get(hash_folder(base.folder)[COMBINED], {}).get("texts", {})
    for prompt in prompts:
        if (ids := known.get(name_of(prompt.ids, prompt.limit, prompt.draw))) is not None:
            yield prompt, CachedAnswer(tuple(ids), "length")  # why it ended does not matter here


def known_languages() -> tuple[str, ...]:
    """The languages in which there is something to continue and to answer."""
    return tuple(_beginnings())


@cache
def _beginnings() -> dict[str, dict[str, list[str]]]:
    text = (files(__package__) / "base_texts.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, list[str]]] = yaml_text.read(text)
    return found


def prompts_of(loaded: LoadedBase, languages: Sequence[str]) -> Iterator[Prompt]:
    """What the base continues, numbered so that each is written in a way of its own."""
    tokenizer = loaded.base.tokenizer
    kinds = ("openers", "questions") if tokenizer.chat_template else ("openers",)
    begin = [] if begins_texts_with(tokenizer) is None else [tokenizer.bos_token_id]
    rng = np.random.default_rng(SEED)
    for number in range(TEXTS):
        kind = kinds[number % len(kinds)]
        turn, language = divmod(number // len(kinds), len(languages))
        texts = _beginnings()[languages[language]][kind]
        text = texts[turn % len(texts)]
        if kind == "questions":
            ids = render_prompt(tokenizer, [Message("user", text)])
        else:
            ids = [*begin, *encode(tokenizer, [text])[0]]
        length = int(rng.choice(LENGTHS))
        yield Prompt(tuple(ids), draw=number, limit=max(MIN_WRITTEN, length - len(ids)))
