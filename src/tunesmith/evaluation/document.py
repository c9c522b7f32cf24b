"""The evaluate document: the verdict with its texts, scores, prompts, costs, probes, measures."""

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from tunesmith.config import RunConfig
from tunesmith.evaluation.answers import Answers
from tunesmith.evaluation.arms import BaseArms
from tunesmith.evaluation.costs import BreakEven
from tunesmith.evaluation.findings import EARLIER, in_languages
from tunesmith.evaluation.verdict import Verdict
from tunesmith.evaluation.verdict_text import elsewhere_text, skill_text, text_with

# Keys of further measures; each is null where it was not measured.
MEASURES = ("degeneration", "scale", "consistency", "knowledge", "overfitting", "capacity")


def document(
    answers: Answers,
    verdict: Verdict,
    base: BaseArms,
    *,
    config: RunConfig,
    cost: BreakEven | None = None,
    parts: Mapping[str, object] = MappingProxyType({}),
) -> dict[str, object]:
    """What evaluation.json holds and `evaluate --json` prints; ``parts`` are those of ``MEASURES``.

    `report` is set by who writes it.
    """
    texts = in_languages(lambda words: text_with(verdict, words))
    head = {"answer": verdict.answer, **texts, "goal": config.goal}
    said: dict[str, Any] = verdict.to_json()
    said["skill"] |= in_languages(lambda words: skill_text(verdict, words))
    said["elsewhere"] |= in_languages(lambda words: elsewhere_text(verdict, words))
    forgetting, beside = verdict.forgetting, verdict.beside
    return {
        "verdict": {**head, **said},
        "about": {
            "goal": config.goal,
            "model": config.model,
            "method": None if "nothing-tuned" in verdict.reasons else config.method.kind,
            "data": config.data.model_dump(mode="json")["eval"],
            "evaluate": config.evaluate.model_dump(mode="json", by_alias=True),
        },
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
        **({"hosted": {each.name: each.to_json() for each in beside}} if beside else {}),
        "forgetting": [each.to_json() for each in forgetting.findings] if forgetting else None,
        **{name: parts.get(name) for name in MEASURES},
        **{earlier: parts.get(name) for name, earlier in EARLIER.items()},
        "report": None,
    }
