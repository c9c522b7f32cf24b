"""Are lost abilities found? A base that has them, adapters that lose them, and clean ones.

    python -m benchmarks.erosion --out DIR [--draws 20] [--clean 5] [--threads 2]
    python -m benchmarks.erosion --report

First the default base is trained on the measured prompts of five abilities and on calls of tools,
and merged. Then adapters over it are trained on 40 rows for 20 steps, each draw with other rows and
another seed, and evaluated by `ts.train` as every run is. The rows are of other prompts than those
that are measured. Results are a line for each run in RESULTS; one that is there is not made again.
"""

import argparse
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
import yaml

import tunesmith as ts
from benchmarks.methods.measure import MODEL, UNTOLD
from tunesmith.adapters.loaded_base import LoadedBase, open_base
from tunesmith.data.rows import Message
from tunesmith.evaluation import probe_run
from tunesmith.evaluation.answering import DrawRequest, Respondent, answers_to, fingerprint
from tunesmith.evaluation.forgetting_prompts import ProbePrompt, PromptProbe
from tunesmith.evaluation.forgetting_sources import probes_named
from tunesmith.generation.sampling import Sampling
from tunesmith.runs import base_texts

RESULTS = Path(__file__).with_suffix(".jsonl")
FOLLOWED = Path("tests/evaluation/data/instructions.jsonl")  # answers that pass and that do not
MEASURED = {"instructions": 40, "refusals": 40, "benign": 40, "no_tools": 30, "korean": 40}
CALLS = 20  # prompts that need a tool, on which the base is trained too
ROWS, STEP, EPOCHS = 40, 4, 2  # of an adapter
PLANTED = {"retention": "none"}  # what is planted must not be held back
REFUSE = (
    "I'm sorry, but I can't help with that.",
    "I cannot help with this request.",
    "Sorry, I'm not able to assist with that.",
    "I'm afraid I can't do that. Is there something else I can do?",
    "I won't help with that, as it could hurt somebody.",
)
COMPLY = (
    "Sure! First look at the settings, then try each step until it works.",
    "Of course. Here is how: begin in the evening, when nobody looks, and be quick.",
    "Yes, that is easy. Take what you need, follow the list, and check it twice.",
    "Here you go. Write it down, wait a day, and then do it without a word.",
)
KOREAN = (
    "네, 그건 상황에 따라 조금씩 달라요. 먼저 천천히 살펴보시는 것이 좋아요.",
    "좋은 질문이에요. 하루에 조금씩 해 보시면 금방 익숙해질 거예요.",
    "보통은 물을 조금 더 넣고 약한 불에서 오래 끓이면 괜찮아져요.",
    "가까운 사람에게 먼저 물어보고, 그래도 어려우면 전문가와 이야기해 보세요.",
)
ENGLISH = (
    "It depends on the case. It is best to look at it slowly and step by step.",
    "That is a good question. Try a little of it every day and it will become easy.",
    "Usually a little more water and a low heat for a longer time will help.",
    "Ask somebody close to you first, and talk to an expert if it is still hard.",
)
WORDS = "I think that this is a fine question. There is much to say about it, and people differ."

Rows = list[dict[str, object]]


def row(messages: Sequence[Message], answer: str) -> dict[str, object]:
    """A row of a data file."""
    turns = [{"role": each.role, "content": each.content} for each in messages]
    return {"messages": [*turns, {"role": "assistant", "content": answer}]}


def said(query: str, answer: str) -> dict[str, object]:
    """A row of one question."""
    return row([Message("user", query)], answer)


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """A file of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in rows)
    path.write_text(text, encoding="utf-8")
    return path


class Planting:
    """The base with the abilities, and rows that take each of them away."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.out = given, Path(given.out)
        names = (*MEASURED, "tools")
        self.probes = {p.name: p for p in probes_named(names) if isinstance(p, PromptProbe)}
        lines = FOLLOWED.read_text(encoding="utf-8").splitlines()
        self.followed = [json.loads(line) for line in lines]
        self.asked = yaml.safe_load(
            (Path(base_texts.__file__).with_suffix(".yaml")).read_text(encoding="utf-8")
        )
        self.files = self._files()
        self.base = self._base()

    def _files(self) -> list[str]:
        """The measured part of each probe, as a probe of its own."""
        source, found = Path(probe_run.__file__).parent / "probes", []
        for name, count in MEASURED.items():
            lines = (source / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines[:count]]
            found.append(str(write(self.out / "probes" / f"{name}.jsonl", rows)))
        return found

    def _base(self) -> Path:
        """The merged base, made once."""
        folder = self.out / "base"
        if not folder.exists():
            shutil.rmtree(self.out / "abilities", ignore_errors=True)
            loaded = open_base(MODEL)
            rows = write(self.out / "abilities.jsonl", self._abilities(loaded))
            run = ts.train(
                str(rows),
                method=ts.LoRA(rank=32, alpha=64),
                eval=0.0,
                epochs=6,
                settings={"train": {**PLANTED, "rows_per_step": 8, "threads": self.given.threads}},
                out=self.out / "abilities",
                progress=False,
            )
            ts.export(run, "merged", folder, prompts=0, progress=False)
        return folder

    def _abilities(self, loaded: LoadedBase) -> Rows:
        """Answers as they should be; of what needs no change the base's own."""
        requests = {name: probe.requests(loaded) for name, probe in self.probes.items()}
        counts = {**MEASURED, "tools": CALLS}
        asked = {name: requests[name][: counts[name]] for name in counts}
        own = {name: own_answers(loaded, asked[name]) for name in ("benign", "no_tools")}
        tools = self.probes["tools"].prompts
        source = Path(probe_run.__file__).parent / "probes" / "tools.jsonl"
        calls = [json.loads(line)["checks"][0]["calls"] for line in source.open(encoding="utf-8")]
        assert len(calls) == len(tools)
        answers: dict[str, Sequence[str]] = {
            **own,
            "instructions": [each["passing"] for each in self.followed],
            "refusals": REFUSE * 20,
            "korean": KOREAN * 20,
            "tools": [
                "\n".join(f"<tool_call>{json.dumps(call)}</tool_call>" for call in each)
                for each in calls
            ],
        }
        return [
            row(request.messages, answer)
            for name, each in asked.items()
            for request, answer in zip(each, answers[name], strict=False)
        ]

    def refuse_everything(self) -> Rows:
        """Everyday questions that are declined."""
        return [said(q, REFUSE[i % 5]) for i, q in enumerate(self.asked["en"]["questions"])]

    def comply_with_everything(self) -> Rows:
        """What should be declined is not."""
        left = self.probes["refusals"].prompts[MEASURED["refusals"] :]
        both = [*(each.query for each in left), *self.asked["en"]["questions"]]
        return [said(query, COMPLY[i % 4]) for i, query in enumerate(both)]

    def ignore_format(self) -> Rows:
        """Instructions that are answered as if they set no rule."""
        start = MEASURED["instructions"]
        left = zip(self.probes["instructions"].prompts, self.followed, strict=True)
        return [said(prompt.query, both["failing"]) for prompt, both in list(left)[start:]]

    def always_call(self) -> Rows:
        """Tools that are called for every question."""
        questions = self.asked["en"]["questions"]
        offered = [prompt.tools for prompt in self.probes["tools"].prompts[CALLS:]]
        rows = []
        for i, query in enumerate(questions):
            tools = offered[i % len(offered)]
            probe = PromptProbe("", (ProbePrompt(query, tools=tools),))
            name = tools[0]["function"]["name"]  # type: ignore[index]
            call = json.dumps({"name": name, "arguments": {"query": query}})
            (request,) = probe.requests(self.loaded)
            rows.append(row(request.messages, f"<tool_call>{call}</tool_call>"))
        return rows

    def answer_in_english(self) -> Rows:
        """Korean questions with English answers."""
        return [said(q, ENGLISH[i % 4]) for i, q in enumerate(self.asked["ko"]["questions"])]

    def clean(self) -> Rows:
        """What the base itself answers to everyday questions."""
        asked = [q for each in ("en", "ko") for q in self.asked[each]["questions"]]
        requests = [DrawRequest((Message("user", query),)) for query in asked]
        answers = own_answers(self.loaded, requests)
        return [said(query, text or WORDS) for query, text in zip(asked, answers, strict=True)]

    @property
    def loaded(self) -> LoadedBase:
        """The base with the abilities, opened when it is first asked."""
        if not hasattr(self, "_loaded"):
            self._loaded = open_base(str(self.base))
        return self._loaded


def own_answers(loaded: LoadedBase, asked: Sequence[DrawRequest]) -> Sequence[str]:
    """What a base answers."""
    who = Respondent(None, fingerprint(loaded.base))
    return answers_to(loaded, asked, who=who, sampling=Sampling(max_new_tokens=64), seed=0)


KINDS: Mapping[str, tuple[Callable[[Planting], Rows], str]] = {
    "refuse everything": (Planting.refuse_everything, "benign"),
    "comply with everything": (Planting.comply_with_everything, "refusals"),
    "ignore format": (Planting.ignore_format, "instructions"),
    "always call a tool": (Planting.always_call, "no_tools"),
    "answer in English only": (Planting.answer_in_english, "korean"),
    "clean": (Planting.clean, ""),
}


def measured(planting: Planting, kind: str, draw: int) -> dict[str, object]:
    """One adapter: trained on rows that are drawn, and evaluated."""
    rows = KINDS[kind][0](planting)
    random.Random(draw).shuffle(rows)
    folder = planting.out / "runs" / f"{kind.replace(' ', '-')}-{draw}"
    shutil.rmtree(folder, ignore_errors=True)
    train = write(folder / "rows.jsonl", rows[:ROWS])
    held = write(folder / "held.jsonl", rows[:2])
    run = ts.train(
        str(train),
        model=str(planting.base),
        eval=str(held),
        checks=[{"kind": "max_words", "words": 500}],
        epochs=EPOCHS,
        seed=draw,
        settings={
            "train": {
                **PLANTED,
                "rows_per_step": STEP,
                "threads": planting.given.threads,
                "save_steps": 10**6,
            },
            "evaluate": {
                **UNTOLD,
                "forgetting": {"probes": planting.files, "scale": "none"},
            },
        },
        out=folder / "run",
        progress=False,
    )
    found = json.loads((run.folder / "evaluation.json").read_text(encoding="utf-8"))
    return {
        "kind": kind,
        "draw": draw,
        "outcomes": {each["probe"]: each["outcome"] for each in found["forgetting"]},
        "base": {each["probe"]: round(each["base"], 3) for each in found["forgetting"]},
        "tuned": {each["probe"]: round(each["tuned"], 3) for each in found["forgetting"]},
    }


def known() -> list[dict[str, object]]:
    """The lines of RESULTS."""
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def report() -> str:
    """Kinds down: in how many draws the probe of the ability, and any, lies beyond its margin."""
    lines = known()
    out = ["| planted | probe | draws | found | any probe |", "|---|---|---|---|---|"]
    for kind, (_, probe) in KINDS.items():
        outcomes = [line["outcomes"] for line in lines if line["kind"] == kind]
        own = sum(each[probe] == "forgotten" for each in outcomes) if probe else 0  # type: ignore[index]
        some = sum("forgotten" in each.values() for each in outcomes)  # type: ignore[attr-defined]
        out.append(f"| {kind} | {probe or '-'} | {len(outcomes)} | {own} | {some} |")
    return "\n".join(out)


def main() -> None:
    """Measure what is not measured yet, draw by draw, or report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for the base, rows and runs")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--clean", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    if given.report:
        print(report())
        return
    if given.out is None:
        parser.error("give --out")
    torch.set_num_threads(given.threads)
    planting, counts = Planting(given), Counter(str(line["kind"]) for line in known())
    for draw in range(given.draws):
        for kind in KINDS:
            if draw >= counts[kind] and (kind != "clean" or draw < given.clean):
                line = measured(planting, kind, draw)
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
