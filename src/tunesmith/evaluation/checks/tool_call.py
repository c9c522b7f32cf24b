"""tool_call: does the answer call the tools that are wanted, with their arguments, and no other?"""

import json
from collections import Counter
from collections.abc import Sequence

from pydantic import JsonValue

from tunesmith.config.checks import ToolCallSettings
from tunesmith.data.rows import ToolCall
from tunesmith.evaluation.checks.check import Case, Check, Figures
from tunesmith.evaluation.checks.json_text import same_value
from tunesmith.evaluation.checks.written_calls import begins_a_call, calls_in


def tool_call_check(settings: ToolCallSettings) -> Check:
    """1.0 where the calls of the answer are those that are wanted, in any order.

    Without ``calls`` those of the reference are wanted; where it has none, none.
    """
    given = settings.calls
    ignore_case = settings.ignore_case

    def wanted(case: Case) -> list[ToolCall]:
        if given is None:
            return list(calls_in(case.wanted))
        return [ToolCall(call.name, call.arguments) for call in given]

    def rule(case: Case) -> float:
        own, asked = list(calls_in(case.answer)), wanted(case)
        if not own and not asked:
            return float(not begins_a_call(case.answer))
        return float(same_calls(own, asked, ignore_case=ignore_case))

    def fault(case: Case) -> str | None:
        if given is None and not wanted(case) and begins_a_call(case.wanted):
            return "the reference begins a call in a form that cannot be read"
        return None

    def figures(cases: Sequence[Case]) -> Figures:
        pairs = [(list(calls_in(case.answer)), wanted(case)) for case in cases]
        called = [
            (bool(own) or begins_a_call(case.answer), bool(asked))
            for case, (own, asked) in zip(cases, pairs, strict=True)
        ]
        names = [_names(own) == _names(asked) for own, asked in pairs]
        return {
            "right_names": sum(names) / len(pairs),
            "called_without_need": called.count((True, False)),
            "not_called": called.count((False, True)),
        }

    return Check(
        rule=rule, aggregate=figures, needs="reference" if given is None else None, fault=fault
    )


def same_calls(
    own: Sequence[ToolCall], wanted: Sequence[ToolCall], *, ignore_case: bool = False
) -> bool:
    """Whether both are the same calls in any order; 1 equals 1.0, texts count without white space
    around them.
    """
    left = list(wanted)
    for call in own:
        same = (
            i
            for i, one in enumerate(left)
            if one.name == call.name
            and same_value(_plain(one), _plain(call), ignore_case=ignore_case)
        )
        if (place := next(same, None)) is None:
            return False
        del left[place]
    return not left


def _plain(call: ToolCall) -> JsonValue:
    found: JsonValue = json.loads(json.dumps(call.arguments))
    return found


def _names(calls: Sequence[ToolCall]) -> Counter[str]:
    return Counter(call.name for call in calls)
