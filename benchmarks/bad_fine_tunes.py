"""Are bad fine-tunes named as what they are, and good ones left alone? On the default model.

    python -m benchmarks.bad_fine_tunes --data FOLDER --out FOLDER   # all; it can be stopped
    python -m benchmarks.bad_fine_tunes --data FOLDER --out FOLDER --only by-heart

FOLDER of the data holds `clinc150_small` and `songys_chatbot_ko`. A case that is done is not done
again. Each trains a LoRA adapter on few tokens; the learning rate of the good ones is `auto`.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.diagnosed_run import NAME, diagnosis_of, trained
from benchmarks.quality_sets import READERS, Pairs
from tunesmith.evaluation.answering import Respondent
from tunesmith.evaluation.capacity import RankPoint, assess_capacity, loss_falls
from tunesmith.evaluation.findings import Finding
from tunesmith.evaluation.overfitting_evidence import sample_rows
from tunesmith.methods import table

SEEDS = 5
WIDTH = 576  # of the default model
FEW_CLASSES, ROWS_A_CLASS, HELD = 10, 40, 100
LOW, HIGH = 1, 16  # ranks

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A fine-tune, and the beginning of the code that names it; None: nothing may be named."""

    name: str
    wanted: str | None
    diagnose: Callable[[Path, Path], list[Finding]]


def cases() -> Iterator[Case]:
    """Four bad ones, and good ones over the seeds."""
    yield Case("by-heart", "learned-by-heart", _single(_by_heart))
    yield Case("lr-x50", "diverged", _single(_fast))
    yield Case("contradictions", "contradicting-labels", _single(_contradicting))
    yield Case("rank-1", "rank-too-low", _of_ranks)
    for seed in range(SEEDS):
        yield Case(f"good-clinc-{seed}", None, _single(_good_clinc, seed))
    for seed in range(SEEDS):
        yield Case(f"good-songys-{seed}", None, _single(_good_songys, seed))


def _single(
    make: Callable[[Path, Path, int], Values], seed: int = 0
) -> Callable[[Path, Path], list[Finding]]:
    """Harm that is found of one run."""

    def diagnose(data: Path, out: Path) -> list[Finding]:
        overtuning, capacity = diagnosis_of(make(data, out, seed))
        return [*overtuning.findings, *(capacity.findings if capacity else ())]

    return diagnose


def _of_ranks(data: Path, out: Path) -> list[Finding]:
    """Rank 1 beside rank 16 on 150 classes, by their losses on the same training rows."""
    points, low = [], None
    for rank in (LOW, HIGH):
        run = trained(_all_classes(data, out / f"rank-{rank}", rank))
        found = sample_rows(run.rows).losses(run.loaded, Respondent(NAME))
        points.append(RankPoint(rank, found.train))
        if rank == LOW:
            low = diagnosis_of(_all_classes(data, out / f"rank-{rank}", rank))
    assert low is not None
    overtuning, capacity = low
    assert capacity is not None
    return [
        *overtuning.findings,
        *assess_capacity(capacity.use, loss_falls(points, seed=0)).findings,
    ]


def _values(out: Path, rows: Pairs, held: Pairs, **train: object) -> Values:
    """A run's config over these rows, which are written beside it."""
    out.mkdir(parents=True, exist_ok=True)
    for name, pairs in (("train", rows), ("held", held)):
        lines = [json.dumps({"prompt": q, "completion": a}, ensure_ascii=False) for q, a in pairs]
        (out / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        "data": {"train": str(out / "train.jsonl"), "eval": str(out / "held.jsonl")},
        "method": {"kind": "lora", "rank": HIGH},
        "train": {
            "tokens_per_step": 1024,
            "evaluate_steps": 10,
            "epochs": 3.0,
            "retention": "none",
            **train,
        },
        "evaluate": {
            "checks": [{"kind": "exact"}],
            "max_new_tokens": 48,
            "rows": HELD,
            "forgetting": "none",
            "consistency": "none",
        },
        "out": str(out / "run"),
    }


def _by_heart(data: Path, out: Path, seed: int) -> Values:
    """Small talk: of ten of CLINC's intents two rows each are enough to answer others (a held-out
    loss of 0.06 nats after 50 epochs), so that nothing bad is to be named.
    """
    rows, held = _songys(data, rows=20, seed=seed)
    return _values(out, rows, held, epochs=50.0, seed=seed)


def _fast(data: Path, out: Path, seed: int) -> Values:
    rows, held = _clinc(data, classes=FEW_CLASSES, each=ROWS_A_CLASS, seed=seed)
    return _values(out, rows, held, lr=50 * table.learning_rate("lora", WIDTH), seed=seed)


def _contradicting(data: Path, out: Path, seed: int) -> Values:
    """Every second row stands a second time, with another label."""
    rows, held = _clinc(data, classes=FEW_CLASSES, each=ROWS_A_CLASS, seed=seed)
    rng = random.Random(seed)
    labels = sorted({label for _, label in rows})
    others = [(q, rng.choice([x for x in labels if x != label])) for q, label in rows[::2]]
    both = [*rows, *others]
    rng.shuffle(both)
    return _values(out, both, held, seed=seed)


def _all_classes(data: Path, out: Path, rank: int) -> Values:
    """On the layers that PEFT takes by default: beside all layers rank 1 is not short (150 classes,
    0.9 passes: training loss 0.444 at rank 1, 0.438 at rank 16).
    """
    rows, held = _clinc(data, classes=150, each=4, seed=0)
    method = {"kind": "lora", "rank": rank, "targets": ["q_proj", "v_proj"]}
    return {**_values(out, rows, held), "method": method}


def _good_clinc(data: Path, out: Path, seed: int) -> Values:
    rows, held = _clinc(data, classes=FEW_CLASSES, each=ROWS_A_CLASS, seed=seed)
    return _values(out, rows, held, seed=seed)


def _good_songys(data: Path, out: Path, seed: int) -> Values:
    rows, held = _songys(data, rows=600, seed=seed)
    return _values(out, rows, held, epochs=2.0, seed=seed)


def _songys(data: Path, *, rows: int, seed: int) -> tuple[Pairs, Pairs]:
    """So many rows of Korean small talk, and `HELD` others."""
    pairs = list(READERS["songys"](data))
    random.Random(seed).shuffle(pairs)
    return pairs[HELD : HELD + rows], pairs[:HELD]


def _clinc(data: Path, *, classes: int, each: int, seed: int) -> tuple[Pairs, Pairs]:
    """So many rows of so many classes, and about `HELD` others of them."""
    rng = random.Random(seed)
    by_label: dict[str, list[str]] = {}
    for question, label in READERS["clinc"](data):
        by_label.setdefault(label, []).append(question)
    chosen = rng.sample(sorted(by_label), classes)
    rows, held = [], []
    for label in chosen:
        questions = rng.sample(by_label[label], each + max(1, HELD // classes))
        rows += [(q, label) for q in questions[:each]]
        held += [(q, label) for q in questions[each:]]
    rng.shuffle(rows)
    return rows, held


def right(wanted: str | None, found: list[Finding]) -> bool:
    """Whether the fault is named and no other harm, or no harm where nothing is wrong.

    A hint names it, too: a run that learned its rows by heart ends with an earlier checkpoint.
    """
    harm = [each.code for each in found if each.harm]
    if wanted is None:
        return not harm
    named = any(each.code.startswith(wanted) for each in found)
    return named and all(code.startswith(wanted) for code in harm)


def main() -> int:
    """Go through the cases, print a table; 1 where one is not named rightly."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    print("| fine-tune | wanted | named | right |\n|---|---|---|---|")
    good = True
    for case in cases():
        if given.only in case.name:
            result = _result(case, given.data, given.out)
            good = good and result["right"]
            codes = ", ".join(result["codes"]) or "nothing"
            sign = "yes" if result["right"] else "**no**"
            print(f"| {case.name} | {case.wanted or 'nothing'} | {codes} | {sign} |", flush=True)
    return 0 if good else 1


def _result(case: Case, data: Path, out: Path) -> Mapping[str, Any]:
    path = out / f"{case.name}.json"
    if not path.exists():
        found = case.diagnose(data, out / case.name)
        result = {
            "codes": [each.code + ("" if each.harm else " (hint)") for each in found],
            "right": right(case.wanted, found),
            "findings": [each.to_json() for each in found],
        }
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    loaded: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


if __name__ == "__main__":
    raise SystemExit(main())
