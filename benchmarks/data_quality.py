"""Do the warnings find what is in open data sets, and how long do they take?

python -m benchmarks.data_quality --data FOLDER [--rows 1000000]
"""

import argparse
import json
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tests.data.quality.rows import EDITS, in_other_case, in_other_punctuation, with_another_word

from benchmarks.quality_sets import Pairs, conversations, read_sets
from tunesmith.data.quality.distribution import Sample
from tunesmith.data.quality.report import Quality
from tunesmith.data.quality.text import see
from tunesmith.data.quality.unsuitable import measure
from tunesmith.data.rows import Conversation, Message
from tunesmith.data.split import Prompts

EDITED, SEEDS = 200, 5
NEAR = "near_duplicates"


def main() -> None:
    """Print one JSON document, a section for each question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--rows", type=int, default=0, help="generated rows that are timed")
    options = parser.parse_args()
    sets = read_sets(options.data)
    document = {
        "leakage": {
            "arc easy": leakage(sets["arc easy, leaked"], sets["arc easy"]),
            "banking77": leakage(sets["banking77"], sets["banking77 test"]),
            "clinc": leakage(sets["clinc"], sets["clinc test"]),
        },
        "near duplicates": near_duplicates(sets["clinc"]),
        "sets": {name: looked_at(pairs) for name, pairs in sets.items()},
        "speed": speed(options.rows) if options.rows else None,
    }
    print(json.dumps(document, indent=2))


def watched(rows: Sequence[Conversation], held: Sequence[Conversation] = ()) -> Quality:
    """What is seen of the rows."""
    quality = Quality()
    for row in held:
        quality.hold(row)
    for row in rows:
        quality.observe(row)
    return quality


def lines(quality: Quality, *codes: str) -> set[int]:
    """The lines of the rows that the warnings of these codes are about."""
    return {int(i) + 1 for code in codes for i in np.flatnonzero(quality.drop([code]).rows)}


def leakage(train: Pairs, held: Pairs) -> dict[str, object]:
    """Rows told, by message."""
    quality = watched(conversations(train), conversations(held, file="held"))
    told = [note for note in quality.warnings() if note.code == "leakage"]
    return {"train": len(train), "held": len(held), **{n.message: n.count for n in told}}


def near_duplicates(pairs: Pairs) -> dict[str, object]:
    """Edited copies that are found, and untouched rows that are told.

    A row that is told is false if it is more than a word away from every other row of its label,
    which is decided by comparing it with each of them.
    """
    kinds = {
        "case": (in_other_case,),
        "punctuation": (in_other_punctuation,),
        "a word": (with_another_word,),
        "each in turn": EDITS,
    }
    found: dict[str, object] = {}
    for name, edits in kinds.items():
        shares, told, false, alone = [], [], [], []
        for seed in range(SEEDS):
            rng = random.Random(seed)
            chosen = rng.sample(range(len(pairs)), EDITED)
            copies = [
                (edits[n % len(edits)](pairs[i][0], rng), pairs[i][1]) for n, i in enumerate(chosen)
            ]
            at = lines(watched(conversations([*pairs, *copies])), NEAR)
            shares.append(len([line for line in at if line > len(pairs)]) / EDITED)
            untouched = [line - 1 for line in at if line <= len(pairs)]
            told.append(len(untouched) / len(pairs))
            false.append(len(_far(untouched, [*pairs, *copies])) / len(pairs))
            few = lines(watched(conversations([*(pairs[i] for i in chosen), *copies])), NEAR)
            alone.append(len([line for line in few if line <= EDITED]) / EDITED)
        found[name] = {
            "found": shares,
            "untouched told": told,
            "of these false": false,
            "untouched told without the other rows": alone,
        }
    return found


def _far(rows: Sequence[int], pairs: Pairs) -> list[int]:
    """Rows without another of the same answer that is at most a word away."""
    split = [re.sub(r"[^\w ]|_", "", text.casefold()).split() for text, _ in pairs]
    same: dict[str, list[int]] = defaultdict(list)
    for i, (_, answer) in enumerate(pairs):
        same[answer].append(i)
    return [
        row
        for row in rows
        if not any(
            other != row and _gaps(split[row]) & _gaps(split[other])
            for other in same[pairs[row][1]]
        )
    ]


def _gaps(words: Sequence[str]) -> set[str]:
    """The text, and what is left of it without one of its words; spaces do not count."""
    return {"".join(words), *("".join([*words[:i], *words[i + 1 :]]) for i in range(len(words)))}


def looked_at(pairs: Pairs) -> dict[str, object]:
    """Warnings of a set, the figures of `knowledge`, and the groups that a split would keep."""
    rows = conversations(pairs)
    sample, prompts = Sample(), Prompts()
    start = time.process_time()
    quality = watched(rows)
    warnings = quality.warnings()
    seconds = time.process_time() - start
    for row in rows:
        sample.observe(see(row))
        prompts.observe(row)
    facts = measure(sample.rows())
    sizes = prompts.groups().sizes
    return {
        "rows": len(rows),
        "seconds": round(seconds, 2),
        "warnings": {note.code: note.count for note in warnings},
        "knowledge": {
            "named_rows": round(facts.named_rows, 3),
            "named_words": round(facts.named_words, 3),
            "asking_rows": round(facts.asking_rows, 3),
            "new_words": round(facts.new_words, 3),
            "told": facts.are_knowledge,
        },
        "groups": len(sizes),
        "largest group": int(sizes.max()),
    }


def speed(count: int) -> dict[str, object]:
    """Generated rows of about 1,000 characters, each seen once and never kept."""
    before = _kilobytes("VmRSS")
    quality = Quality()
    start, processor = time.perf_counter(), time.process_time()
    for row in generated(count):
        quality.observe(row)
    watched_at, warned = time.process_time(), quality.warnings()
    return {
        "rows": count,
        "seconds": round(time.perf_counter() - start, 1),
        "processor seconds, rows": round(watched_at - processor, 1),
        "processor seconds, warnings": round(time.process_time() - watched_at, 1),
        "more memory, MB": (_kilobytes("VmHWM") - before) // 1024,
        "warnings": {note.code: note.count for note in warned},
    }


def _kilobytes(name: str) -> int:
    """Memory of this process (Linux): VmRSS now, VmHWM at most."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(rf"{name}:\s+(\d+)", status)[0])


def generated(count: int) -> Iterator[Conversation]:
    """Rows of random words; each hundredth is a light edit of the one before."""
    rng = random.Random(0)
    words = [
        "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9)))
        for _ in range(20_000)
    ]
    asked, answer = "", ""
    for line in range(1, count + 1):
        if line % 100:
            asked, answer = (" ".join(rng.choices(words, k=80)) for _ in range(2))
        else:
            asked = with_another_word(asked, rng)
        messages = (Message("user", f"{asked}?"), Message("assistant", f"{answer}."))
        yield Conversation(messages, "rows", line)


if __name__ == "__main__":
    main()
