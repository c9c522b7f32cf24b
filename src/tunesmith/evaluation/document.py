"""The evaluate document: what evaluation.json holds and `evaluate --json` prints."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from tunesmith.config import RunConfig
from tunesmith.config.evaluate import PriceSettings
from tunesmith.core import files
from tunesmith.evaluation.answering import CachedAnswer
from tunesmith.evaluation.answers import Answers
from tunesmith.evaluation.arms import Arm, BaseArms
from tunesmith.evaluation.findings import told
from tunesmith.evaluation.requests import BreakEven, Request, Timed
from tunesmith.evaluation.verdict import Verdict, verdict_text
from tunesmith.runs.folder import RunFolder

REPORT = "report.html"
# Keys of further measures; each is null where it was not measured.
MEASURES = ("strength", "consistency", "knowledge", "overtuning", "capacity")


def facts_of(
    arms: Mapping[str, Arm],
    said: Mapping[str, Sequence[CachedAnswer]],
    timed: Mapping[str, Timed],
    prices: PriceSettings,
) -> dict[str, dict[str, object]]:
    """What an arm's requests take; ``cut`` counts answers that ended at their longest."""
    requests = {name: request_of(arm, said[name], timed.get(name)) for name, arm in arms.items()}
    return {
        name: {
            "prompt_tokens": arm.prompt_tokens,
            "virtual_tokens": arm.virtual_tokens,
            "completion_tokens": requests[name].completion_tokens,
            "cut": sum(each.ended == "length" for each in said[name]),
            "seconds_to_first_token": timed[name].seconds_to_first_token if name in timed else None,
            "seconds_per_answer": requests[name].seconds,
            "cost_per_million_requests": requests[name].cost(prices),
        }
        for name, arm in arms.items()
    }


def request_of(arm: Arm, said: Sequence[CachedAnswer], timed: Timed | None) -> Request:
    """An arm's mean request; virtual tokens are read as others are."""
    return Request(
        arm.prompt_tokens + arm.virtual_tokens,
        completion_tokens=_mean([len(each.ids) for each in said]),
        seconds=timed.seconds_per_answer if timed else None,
        quartiles=timed.quartiles if timed else None,
    )


def about_of(config: RunConfig) -> dict[str, object]:
    """What is judged on what, by which settings."""
    return {
        "goal": config.goal,
        "model": config.model,
        "method": config.method.kind,
        "data": config.data.eval,
        "evaluate": config.evaluate.model_dump(mode="json", by_alias=True),
    }


def document(
    answers: Answers,
    verdict: Verdict,
    base: BaseArms,
    *,
    about: Mapping[str, object],
    cost: BreakEven | None = None,
    measures: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Everything that was found, the verdict first.

    ``about`` says what was judged on what; ``measures`` are those of ``MEASURES``.
    """
    forgetting = verdict.forgetting
    said = told(lambda language: verdict_text(verdict, language=language))
    head = {"answer": verdict.answer, **said, "goal": about.get("goal")}
    return {
        "verdict": {**head, **verdict.to_json()},
        "about": dict(about),
        **answers.to_json(),
        "left_out": dict(base.left_out),
        "prompts": {
            "baseline_prompt": base.instruction,
            "examples": [
                {"messages": [[m.role, m.content] for m in row.messages], "line": row.line}
                | {"file": row.file}
                for row in base.examples
            ],
        },
        "cost": asdict(cost) if cost else None,
        "forgetting": [each.to_json() for each in forgetting.findings] if forgetting else None,
        **{name: (measures or {}).get(name) for name in MEASURES},
        "report": None,
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def write_evaluation(
    evaluation: dict[str, object] | None, answers: Answers | None, folder: RunFolder
) -> None:
    """Put both into the run's folder, each file complete or as it was.

    The document names the page that `write_report` makes of it.
    """
    if evaluation is None or answers is None:
        return
    evaluation["report"] = str(folder.path / REPORT)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in answers.rows()]
    files.write_text(folder.answers, "".join(lines))
    files.write_json(folder.evaluation, evaluation)


def update_summary(evaluation: dict[str, object] | None, folder: RunFolder) -> None:
    """Let a run's summary, if it has one, tell of this evaluation too."""
    summary = _summary(folder)
    if summary is not None:
        files.write_json(folder.summary, {**summary, "evaluation": evaluation})


def training_seconds(folder: RunFolder) -> float | None:
    """About how long a run's steps took, by its speed; None where it does not say."""
    summary = _summary(folder) or {}
    tokens, speed = summary.get("tokens"), summary.get("tokens_per_second")
    if not isinstance(tokens, int | float) or not isinstance(speed, int | float) or not speed:
        return None
    return tokens / speed


def _summary(folder: RunFolder) -> dict[str, object] | None:
    try:
        found = json.loads(folder.summary.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
