"""Tokens and loss of texts in many languages, each a line of results that is kept.

    python -m benchmarks.languages.measure --texts FOLDER --data FOLDER --vocabularies FOLDER
    python -m benchmarks.languages.measure --texts FOLDER --data FOLDER --losses
    python -m benchmarks.languages.measure --data FOLDER --sets     # what is noted of which set

``--texts`` holds XQuAD (`xquad.de.json`, ...) and may hold `jsquad.json` (of JGLUE, same layout).
``--data`` holds the sets of ``benchmarks.quality_sets``. ``--vocabularies`` holds
`ggml-vocab-NAME.gguf` of llama.cpp, which the source distribution of llama-cpp-python contains.
What was measured before is not measured again.
"""

import argparse
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from benchmarks.quality_sets import Pairs, conversations, read_sets
from tunesmith.adapters.loaded_base import open_base
from tunesmith.data.quality.language_fit import (
    PartLanguage,
    languages_of,
    passages,
    token_fit,
)
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.models.load import read_tokenizer
from tunesmith.models.resolve import resolve
from tunesmith.runs.language_fit import language_notes, loss_times
from tunesmith.runs.rows import MAX_SAMPLED

Part = tuple[str, PartLanguage]  # of the sample of this name

RESULTS = Path(__file__).parent / "results"
BASE = "smollm2-135m-instruct"
ROWS, DRAWS = 40, 3  # of a set: rows of a sample, samples
LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")


def main() -> None:
    """Measure what is not in the results yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vocabularies", type=Path)
    parser.add_argument("--losses", action="store_true")
    parser.add_argument("--sets", action="store_true")
    options = parser.parse_args()
    if options.sets or options.texts is None:
        print_notes(options.data)
        return
    samples = sorted(read_samples(options.texts, options.data), key=lambda each: each[0][-1])
    if options.losses:  # the first draw of every set comes first
        measure_losses(_parts(dict(samples)))
    else:
        measure_tokens(list(_parts(dict(samples))), options.vocabularies)


def print_notes(data: Path) -> None:
    """What `data check` notes of the language of each set, on the default base."""
    tokenizer = read_tokenizer(resolve(BASE), trust_remote_code=False)
    for name, pairs in read_sets(data).items():
        some = pairs[:: max(1, len(pairs) // MAX_SAMPLED)]
        notes = language_notes(conversations(some), BASE, tokenizer)
        print(name, len(some), notes[0].message if notes else "-")


def read_samples(texts: Path, data: Path) -> Iterator[tuple[str, Pairs]]:
    """Rows by name of their set and number of the draw: `xquad.de/0`, `banking77/2`."""
    sets = {name: pairs for name, pairs in read_sets(data).items() if name != "xquad"}
    for language in LANGUAGES:
        sets[f"xquad.{language}"] = list(_squad(texts / f"xquad.{language}.json"))
    if (texts / "jsquad.json").exists():
        sets["jsquad.ja"] = list(_squad(texts / "jsquad.json"))
    for language, passage in passages().items():
        sets[f"passage.{language}"] = [("", passage)] * ROWS
    for name, pairs in sets.items():
        draws = 1 if name.startswith("passage") else DRAWS
        for draw in range(draws):
            start = draw * (len(pairs) // DRAWS)
            yield f"{name}/{draw}", pairs[start : start + (1 if draws == 1 else ROWS)]


def _squad(path: Path) -> Iterator[tuple[str, str]]:
    """Question and the passage that answers it, each passage once."""
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            yield paragraph["qas"][0]["question"], paragraph["context"]


def measure_tokens(parts: Sequence[Part], folder: Path | None) -> None:
    """The tokens of each sample under each tokenizer."""
    tokenizers: dict[str, Callable[[], Tokenizer]] = {
        BASE: lambda: read_tokenizer(resolve(BASE), trust_remote_code=False)
    }
    for path in sorted(folder.glob("ggml-vocab-*.gguf")) if folder else ():
        name = path.stem.removeprefix("ggml-vocab-")
        tokenizers[name] = functools.partial(_vocabulary, path)
    known = _known("tokens.jsonl")
    for name, open_tokenizer in tokenizers.items():
        tokenizer = open_tokenizer()
        for sample, found in parts:
            if (name, sample, found.part) not in known:
                fit = token_fit(found, tokenizer)
                _append(
                    "tokens.jsonl",
                    tokenizer=name,
                    sample=sample,
                    part=found.part,
                    language=found.language,
                    own=fit.own,
                    tokens_per_character=round(fit.tokens_per_character, 4),
                    times=round(fit.times, 4),
                )


def measure_losses(parts: Iterable[Part]) -> None:
    """The default base's loss on each sample."""
    loaded, known = open_base(BASE), _known("losses.jsonl")
    own = token_fit(PartLanguage("answers", "en", ("a",)), loaded.base.tokenizer).own
    for sample, found in parts:
        if (BASE, sample, found.part) not in known:
            times = loss_times(loaded, found, own=own)
            _append(
                "losses.jsonl",
                tokenizer=BASE,
                sample=sample,
                part=found.part,
                language=found.language,
                times=None if times is None else round(times, 4),
            )


def _parts(samples: Mapping[str, Pairs]) -> Iterator[Part]:
    for name, pairs in samples.items():
        for found in languages_of(conversations(pairs)):
            yield name, found


def _vocabulary(path: Path) -> Tokenizer:
    return cast("Tokenizer", Vocabulary(path))


class Vocabulary:
    """A tokenizer of llama.cpp, as far as ``token_fit`` needs one."""

    def __init__(self, path: Path) -> None:
        from llama_cpp import Llama

        self._model = Llama(str(path), vocab_only=True, verbose=False)

    def __call__(self, text: Sequence[str], **_: bool) -> Mapping[str, list[list[int]]]:
        """The ids of each text."""
        each = (t.encode("utf-8") for t in text)
        ids = [self._model.tokenize(t, add_bos=False, special=False) for t in each]
        return {"input_ids": ids}


def _known(name: str) -> set[tuple[str, str, str]]:
    path = RESULTS / name
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = map(json.loads, lines)
    return {(row["tokenizer"], row["sample"], row["part"]) for row in rows}


def _append(name: str, **row: object) -> None:
    with (RESULTS / name).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
