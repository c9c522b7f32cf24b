"""The evaluate document: what evaluation.json holds and `evaluate --json` prints."""

import json
from collections.abc import Mapping, Sequence

from tunesmith import files
from tunesmith.evaluate.verdict import Verdict
from tunesmith.evaluate.verdict_text import verdict_text
from tunesmith.train.run_folder import RunFolder
from tunesmith.workflows.answer_cache import Said
from tunesmith.workflows.answers import Answers
from tunesmith.workflows.arms import Arm, BaseArms

# Keys of further measures; each is null where it was not measured.
MEASURES = ("consistency", "knowledge", "overtuning", "capacity")


def facts_of(
    arms: Mapping[str, Arm], said: Mapping[str, Sequence[Said]]
) -> dict[str, dict[str, object]]:
    """What an arm's requests take; ``cut`` counts answers that ended at their longest."""
    return {
        name: {
            "prompt_tokens": arm.prompt_tokens,
            "virtual_tokens": arm.virtual_tokens,
            "completion_tokens": _mean([len(each.ids) for each in said[name]]),
            "cut": sum(each.ended == "length" for each in said[name]),
        }
        for name, arm in arms.items()
    }


def document(
    answers: Answers,
    verdict: Verdict,
    base: BaseArms,
    *,
    goal: str | None,
    measures: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Everything that was found, the verdict first; ``measures`` are those of ``MEASURES``."""
    forgetting = verdict.forgetting
    head = {"answer": verdict.answer, "text": verdict_text(verdict), "goal": goal}
    return {
        "verdict": {**head, **verdict.to_json()},
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
        "forgetting": [each.to_json() for each in forgetting.findings] if forgetting else None,
        **{name: (measures or {}).get(name) for name in MEASURES},
        "report": None,
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def write_evaluation(
    evaluation: dict[str, object] | None, answers: Answers | None, folder: RunFolder
) -> None:
    """Put both into the run's folder, each file complete or as it was."""
    if evaluation is None or answers is None:
        return
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in answers.rows()]
    files.write_text(folder.answers, "".join(lines))
    files.write_json(folder.evaluation, evaluation)
