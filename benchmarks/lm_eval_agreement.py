"""Do the probes' scores agree with EleutherAI's lm-eval, on the same model and the same rows?

Needs the extra `lm-eval`. lm-eval runs the model through transformers with task files that are
written here; ours runs it in packed streams. Both compute in float32.
"""

import argparse
import json
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from tunesmith.adapters.loaded_base import attach_folder, open_base
from tunesmith.config.evaluate import ForgettingSettings
from tunesmith.evaluation import probe_run
from tunesmith.models.resolve import resolve

POINTS, PERPLEXITY = 0.2, 0.001  # points of accuracy, share of the perplexity
CHOICES = """task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{rows}"}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{query}}}}"
doc_to_choice: choices
doc_to_target: gold
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
TEXTS = """task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{rows}"}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list: [{{metric: word_perplexity}}, {{metric: byte_perplexity}}]
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One score of one arm by both programs."""

    probe: str
    arm: str
    measure: str
    theirs: float
    ours: float

    @property
    def agrees(self) -> bool:
        """Whether the two are near enough."""
        if self.measure.startswith("acc"):
            return abs(self.ours - self.theirs) <= POINTS / 100 + 1e-9
        return abs(self.ours / self.theirs - 1) <= PERPLEXITY

    def __str__(self) -> str:
        far = (
            f"{100 * (self.ours - self.theirs):+.2f} points"
            if self.measure.startswith("acc")
            else f"{100 * (self.ours / self.theirs - 1):+.5f} %"
        )
        mark = "yes" if self.agrees else "**no**"
        both = f"{self.theirs:.6g} | {self.ours:.6g}"
        return f"| {self.probe} | {self.arm} | {self.measure} | {both} | {far} | {mark} |"


def write_probes(source: Path, into: Path, *, questions: int, characters: int) -> list[str]:
    """Row files and lm-eval's task files for them; the names of the probes."""
    for name in ("arc_easy", "piqa"):
        rows = [json.loads(line) for line in (source / f"{name}_first500.jsonl").open()]
        for row in rows:
            row["query"] = row["query"].rstrip() + "\nAnswer:"
        _write(into, name, rows[:questions], CHOICES)
    text = (source / "wikitext2_valid.txt").read_text(encoding="utf-8")[:characters]
    articles = [part for part in re.split(r"\n(?= = [^=])", text) if part.strip()]
    _write(into, "wikitext", [{"text": part} for part in articles], TEXTS)
    return ["arc_easy", "piqa", "wikitext"]


def _write(into: Path, name: str, rows: list[dict[str, object]], task: str) -> None:
    path = into / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    named = task.format(name=f"local_{name}", rows=path)
    (into / f"local_{name}.yaml").write_text(named, encoding="utf-8")


def theirs(
    folder: Path, probes: list[str], into: Path, window: int, adapter: Path | None
) -> dict[str, Any]:
    """lm-eval's scores: probe -> measure -> value."""
    model = HFLM(
        pretrained=str(folder),
        peft=str(adapter) if adapter else None,
        dtype="float32",
        device="cpu",
        batch_size=8,
        max_length=window,
    )
    found = simple_evaluate(
        model=model,
        tasks=[f"local_{name}" for name in probes],
        task_manager=TaskManager(include_path=str(into), include_defaults=False),
        bootstrap_iters=0,
        log_samples=False,
    )
    return {
        name: {key.split(",")[0]: value for key, value in found["results"][f"local_{name}"].items()}
        for name in probes
    }


def ours(
    model: str, probes: list[str], into: Path, adapter: Path | None
) -> Iterator[tuple[str, str, Mapping[str, float]]]:
    """Our scores: probe, arm, measure -> value."""
    loaded = open_base(model, dtype="float32", device="cpu")
    paths = tuple(str(into / f"{name}.jsonl") for name in probes)
    probing = probe_run.ProbeRun(loaded, ForgettingSettings(probes=paths))
    if adapter:
        attach_folder(loaded, adapter, name="tuned")
    else:
        probing.score_base()
    found = probing.forgetting("tuned" if adapter else None)
    assert found is not None
    for finding in found.findings:
        for arm in ("base", "tuned") if adapter else ("base",):
            of_arm = {
                key: value[arm] for key, value in finding.details.items() if isinstance(value, dict)
            }
            if finding.measure == "accuracy":
                of_arm = {
                    "acc": finding.base if arm == "base" else finding.tuned,
                    "acc_norm": of_arm["accuracy_norm"],
                }
            yield finding.probe, arm, of_arm


def main() -> None:
    """Print every figure of both, and what each took; ends with 1 where one differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("probes", type=Path, help="folder of forgetting_probes")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--adapter", type=Path, help="a PEFT folder: the tuned arm too")
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--characters", type=int, default=60_000, help="of WikiText")
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    probe_run.WINDOW_TOKENS = given.window
    folder = resolve(given.model)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        into = Path(name)
        probes = write_probes(
            given.probes, into, questions=given.questions, characters=given.characters
        )
        start = time.perf_counter()
        mine = list(ours(given.model, probes, into, given.adapter))
        seconds = {"ours, all arms": time.perf_counter() - start}
        for arm in ("base", "tuned") if given.adapter else ("base",):
            start = time.perf_counter()
            adapter = given.adapter if arm == "tuned" else None
            found = theirs(folder, probes, into, given.window, adapter)
            seconds[f"lm-eval, {arm}"] = time.perf_counter() - start
            for probe, of, values in mine:
                if of == arm and probe in found:
                    both = [key for key in values if key in found[probe]]
                    figures += [
                        Figure(probe, arm, key, found[probe][key], values[key]) for key in both
                    ]
    print("| probe | arm | measure | lm-eval | ours | difference | agrees |\n" + "|---" * 7 + "|")
    print("\n".join(map(str, figures)))
    print({name: round(each, 1) for name, each in seconds.items()})
    raise SystemExit(0 if all(figure.agrees for figure in figures) else 1)


if __name__ == "__main__":
    main()
