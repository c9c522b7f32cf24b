"""A planted conflict: is it told from adapters that go together, and does `--auto` refuse it?

    python -m benchmarks.conflicts --data DIR --out DIR [--rows 100] [--threads 2]

`plain` and `json` answer the same CLINC150 messages in two formats that exclude each other; `plain`
and `tone` (polite Korean replies to songys' questions) have nothing in common. Three LoRAs of the
product over its default model; both pairs are compared and merged by it. What is there already is
not trained or answered again. OUT/conflicts.json has all figures; a page of each pair is beside.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tunesmith as ts
from benchmarks.methods.measure import UNTOLD
from benchmarks.methods.tasks import TASKS, Row, classification, tone
from tunesmith.core.progress import Event, Notice, Phase, Progress
from tunesmith.report.writing import write_page
from tunesmith.studies.conflicts import find_conflicts
from tunesmith.studies.merge import MAX_DROP, NothingKeepsAll, combine_best, named

TRAIN_ROWS, HELD_ROWS = 900, 100
PAIRS = {"planted": ("plain", "json"), "apart": ("plain", "tone")}


@dataclass(frozen=True, slots=True)
class Skill:
    """Rows on both sides, the check, and the longest answer."""

    read: Callable[[Path], tuple[list[Row], list[Row]]]
    check: Mapping[str, object]
    max_new_tokens: int


def in_form(form: Callable[[str], str]) -> Callable[[Path], tuple[list[Row], list[Row]]]:
    """CLINC150's messages with every intent in a form."""

    def read(data: Path) -> tuple[list[Row], list[Row]]:
        train, held = (
            [
                {
                    "messages": [
                        *row["messages"][:-1],
                        {"role": "assistant", "content": form(row["messages"][-1]["content"])},
                    ]
                }
                for row in rows
            ]
            for rows in classification(data)
        )
        return train, held

    return read


SKILLS = {
    "plain": Skill(in_form(lambda intent: f"intent: {intent}"), {"kind": "exact"}, 16),
    "json": Skill(
        in_form(lambda intent: json.dumps({"INTENT": intent.upper()})), {"kind": "exact"}, 32
    ),
    "tone": Skill(tone, TASKS["tone"].check, 48),
}


def main() -> None:
    """Train what is missing, then look at both pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=HELD_ROWS, help="held-out rows that are asked")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    runs = {name: trained(name, given) for name in SKILLS}
    found = {
        pair: looked_at(pair, [runs[name] for name in names], given)
        for pair, names in PAIRS.items()
    }
    text = json.dumps(found, indent=2, ensure_ascii=False)
    (given.out / "conflicts.json").write_text(text + "\n", encoding="utf-8")
    for pair, document in found.items():
        print(pair)
        print("\n".join(f"  {line}" for line in told(document)))


def trained(name: str, given: argparse.Namespace) -> Path:
    """The run of a skill, trained unless it is complete."""
    skill = SKILLS[name]
    run: Path = given.out / "runs" / name
    paths = {part: given.out / "data" / f"{name}-{part}.jsonl" for part in ("train", "held")}
    for path, rows, count in zip(
        paths.values(), skill.read(given.data), (TRAIN_ROWS, HELD_ROWS), strict=True
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows[:count])
        path.write_text("".join(lines), encoding="utf-8")
    if (run / "config.yaml").exists():
        ts.train(resume=run)
        return run
    evaluate = {"rows": HELD_ROWS, "max_new_tokens": skill.max_new_tokens, **UNTOLD}
    ts.train(
        str(paths["train"]),
        eval=str(paths["held"]),
        checks=[skill.check],
        settings={"train": {"threads": given.threads}, "evaluate": evaluate},
        out=run,
    )
    return run


def looked_at(pair: str, runs: Sequence[Path], given: argparse.Namespace) -> dict[str, Any]:
    """What both commands say of two runs; of the second, what it refuses."""
    adapters = named([str(run) for run in runs])
    progress = Progress(phrase, threads=given.threads)
    document = find_conflicts(adapters, scores=True, rows=given.rows, progress=progress).to_json()
    write_page(document, given.out / f"{pair}.html")
    out = given.out / "merged" / pair
    chosen: dict[str, object]
    if (out / "adapter_config.json").exists():
        chosen = {"out": str(out), "known": True}
    else:
        try:
            chosen = combine_best(adapters, out, rows=given.rows, progress=progress).to_json()
        except NothingKeepsAll as refusal:
            chosen = {"refused": str(refusal), **refusal.trial.to_json()}
    return {**document, "auto": chosen, "max_drop": MAX_DROP}


def told(document: Mapping[str, Any]) -> list[str]:
    """The lines that a reader wants first."""
    (pair,) = document["pairs"]
    keys = ("cosine", "sign_conflict", "input_overlap", "output_overlap", "chance_overlap")
    weights = ", ".join(f"{key} {pair[key]:.3f}" for key in keys)
    drops = [
        f"{each['name']}: worst drop {100 * each['worst_drop']['mean']:.0f} points "
        f"({each['worst_drop']['adapter']}), rank loses {each['error']:.0%}"
        for each in document["auto"].get("tried") or document["tried"]
    ]
    auto = document["auto"]
    taken = auto.get("refused") or f"merged by {auto.get('name', 'what was chosen before')}"
    verdict = document["verdict"]
    expected = f"expected from reading: {verdict['expected']}, measured: {verdict['answer']}"
    return [weights, str(verdict["text"]), expected, *drops, f"--auto: {taken}"]


def phrase(event: Event) -> None:
    """Phases and notices, a line each."""
    if isinstance(event, Notice):
        print(f"  note: {event.message}", flush=True)
    elif isinstance(event, Phase) and event.total and event.done % 100 == 0:
        print(f"  {event.phase}: {event.done} of {event.total}", flush=True)


if __name__ == "__main__":
    main()
