"""A probe of prompts: are they answered by their rules, and does nothing loop or fall silent?"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.data.chat_format import instructed, study, with_system
from tunesmith.data.rows import Message, Tool
from tunesmith.evaluation.answering import DrawRequest
from tunesmith.evaluation.checks.check import Check
from tunesmith.evaluation.comparison import rows_needed
from tunesmith.evaluation.degeneration import compact, repeats_itself, repeats_question
from tunesmith.evaluation.forgetting_probes import ProbeMeasure
from tunesmith.evaluation.intervals import differences_of, paired_difference

LONGEST_ANSWER = 64  # tokens: every bundled prompt can be answered in fewer
SHORTEST = 0.25  # of the base's answer to the same prompt: shorter ones fell silent
ALL_PROMPTS = "all prompts"
SHOWN = 3  # prompts that the base answers as it should and the tuned arm does not
TOOLS = """You can call these tools:
{tools}
To call one, answer with <tool_call>{{"name": "...", "arguments": {{...}}}}</tool_call> for each \
call and nothing else. If none of them fits, answer in your own words."""


@dataclass(frozen=True, slots=True)
class ProbePrompt:
    """What is asked, with the tools that are offered, and the checks that the answer must pass.

    To an open one an answer of its own is expected: one that repeats neither itself nor the
    question, and is not far shorter than the base's.
    """

    query: str
    checks: tuple[Check, ...] = ()
    tools: tuple[Tool, ...] = ()
    is_open: bool = False

    def passes(self, answer: str, *, shortest: float = 0.0) -> bool:
        """Whether every check passes (one that cannot score does not), and an answer to an open
        prompt is one, of ``shortest`` characters or more.
        """
        if self.is_open:
            text = compact(answer)
            repeats = repeats_itself(text) or repeats_question(text, compact(self.query))
            if repeats or len(answer) < shortest:
                return False
        try:
            return bool(answer.strip()) and all(
                check.score(answer, None, self.query) == 1 for check in self.checks
            )
        except Exception:  # whatever an answer does to a rule, it did not pass it
            return False


@dataclass(frozen=True, slots=True)
class PromptProbe:
    """A probe of prompts that are answered."""

    name: str
    prompts: tuple[ProbePrompt, ...]

    def requests(self, loaded: LoadedBase) -> tuple[DrawRequest, ...]:
        """What is asked, in their order; tools are described where the template omits them."""
        tokenizer = loaded.tokenizer(None)
        chat_format = study(tokenizer)
        as_system = chat_format.keeps_system and with_system(tokenizer) is not None
        found = []
        for each in self.prompts:
            messages: tuple[Message, ...] = (Message("user", each.query),)
            if each.tools and not chat_format.tools.takes_tools:
                messages = instructed(messages, describe_tools(each.tools), as_system=as_system)
                found.append(DrawRequest(messages))
            else:
                found.append(DrawRequest(messages, each.tools))
        return tuple(found)

    def measured(self, base: Sequence[str], tuned: Sequence[str], *, seed: int) -> ProbeMeasure:
        """Both arms compared, from their answers to the prompts in order."""
        before, after = [], []
        for prompt, old, new in zip(self.prompts, base, tuned, strict=True):
            before.append(prompt.passes(old))
            after.append(prompt.passes(new, shortest=SHORTEST * len(old)))
        details = {
            "characters": {"base": _length(base), "tuned": _length(tuned)},
            "lost": self._lost(before, after, base, tuned),
        }
        return compare_passed(self.name, (before, after), seed=seed, details=details)

    def _lost(
        self,
        before: Sequence[bool],
        after: Sequence[bool],
        base: Sequence[str],
        tuned: Sequence[str],
    ) -> list[Mapping[str, str]]:
        """The first prompts that only the base answers as it should, with both answers."""
        places = [i for i in range(len(before)) if before[i] and not after[i]]
        return [
            {"query": self.prompts[i].query, "base": base[i], "tuned": tuned[i]}
            for i in places[:SHOWN]
        ]


def compare_passed(
    name: str,
    passed: tuple[Sequence[bool], Sequence[bool]],
    *,
    seed: int,
    details: Mapping[str, object],
) -> ProbeMeasure:
    """Shares of prompts that the base and the tuned arm answer as they should."""
    base, tuned = ([*map(float, arm)] for arm in passed)
    differences = differences_of(tuned, base)
    return ProbeMeasure(
        name,
        "passed",
        base=fmean(base),
        tuned=fmean(tuned),
        difference=lambda level: paired_difference(tuned, base, seed=seed, level=level),
        rows_needed=lambda limit, error: rows_needed(differences, error=error, against=limit),
        details=details,
        passed=passed,
    )


def with_all_prompts(measured: Sequence[ProbeMeasure], *, seed: int) -> list[ProbeMeasure]:
    """The probes, and as one the prompts of all that the base can answer, where there are several.

    A probe of 80 prompts cannot resolve a few points; all of them together can.
    """
    counted = [each.passed for each in measured if each.passed and not each.is_absent]
    if len(counted) < 2:
        return list(measured)
    base, tuned = ([row for both in counted for row in both[arm]] for arm in (0, 1))
    parts = [replace(each, part=each.part or each.passed is not None) for each in measured]
    return [*parts, compare_passed(ALL_PROMPTS, (base, tuned), seed=seed, details={})]


def _length(texts: Iterable[str]) -> float:
    return fmean(map(len, texts))


def describe_tools(tools: Sequence[Tool]) -> str:
    """Instructions that offer tools, for a chat template without words for them."""
    lines = (json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools)
    return TOOLS.format(tools="\n".join(lines))
