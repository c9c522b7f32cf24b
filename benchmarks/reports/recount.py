"""Counts a run's answers again, with nothing of Tunesmith: rule, shares, paired bootstrap.

python -m benchmarks.reports.recount PURPOSE RUN
"""

import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

UNSAID = {"familyFriendly", "priceRange", "customer rating"}  # said in other words


def _facts_said(answer: str, question: str) -> float:
    facts = dict(re.findall(r"([\w ]+)\[([^\]]*)\]", question))
    wanted = [value for name, value in facts.items() if name.strip() not in UNSAID]
    recall = sum(value.lower() in answer.lower() for value in wanted) / len(wanted)
    return 2 * recall / (1 + recall)  # F1; nothing is counted that was not asked for


def _intent(text: str) -> str | None:
    try:
        return str(json.loads(text)["intent"])
    except (ValueError, KeyError, TypeError):
        return None


RULES: dict[str, Callable[[str, Any], float]] = {
    "intents": lambda answer, row: float(answer.strip() == row["reference"].strip()),
    "working": lambda answer, _: float(bool(re.search(r"\n#### -?[\d.,]+\s*$", answer))),
    "tone": lambda answer, _: float("".join(filter(str.isalnum, answer)).endswith("요")),
    "demo": lambda answer, row: float(_intent(answer) == _intent(row["reference"])),
    "restaurants": lambda answer, row: _facts_said(answer, row["question"]),
}


def recount(purpose: str, run: Path) -> dict[str, Any]:
    """What was counted, and whether the verdict says the same."""
    rule = RULES[purpose]
    lines = (run / "answers.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    scores = {arm: [rule(row["answers"][arm], row) for row in rows] for arm in rows[0]["answers"]}
    best = max((arm for arm in scores if arm != "tuned"), key=lambda arm: sum(scores[arm]))
    pairs = [t - o for t, o in zip(scores["tuned"], scores[best], strict=True)]
    draw = random.Random(0)
    means = sorted(sum(draw.choices(pairs, k=len(pairs))) / len(pairs) for _ in range(2000))
    low, high = means[50], means[1949]
    verdict = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))["verdict"]
    better = low > 0
    told = {"yes": True, "no": False}.get(verdict["answer"])
    agrees = better == ("better" in verdict["reasons"])
    return {
        "purpose": purpose,
        "shares": {arm: round(sum(each) / len(each), 4) for arm, each in scores.items()},
        "against": best,
        "difference": [round(v, 3) for v in (sum(pairs) / len(pairs), low, high)],
        "better": better,
        "verdict": verdict["answer"],
        "verdict_yes": told,
        "agrees": agrees,
        "text": verdict["text"],
    }


if __name__ == "__main__":
    found = recount(sys.argv[1], Path(sys.argv[2]))
    print(json.dumps(found, ensure_ascii=False, indent=1))
