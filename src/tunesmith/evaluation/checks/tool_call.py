"""tool_call: does the answer call the tools that are wanted, with their arguments, and no other?"""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from tunesmith.config.checks import ToolCallSettings
from tunesmith.data.rows import Tool, ToolCall, function_of
from tunesmith.evaluation.checks.check import Case, Check, Figures
from tunesmith.evaluation.checks.json_text import NotJson, parse_json, same_value

NAMES, ARGUMENTS = ("name", "function"), ("arguments", "parameters")
# Qwen3-Coder and Qwen3.5: <function=name><parameter=key>value</parameter></function>
FUNCTION = re.compile(r"<function=([^>\n]+)>(.*?)</function>", re.DOTALL)
PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>", re.DOTALL)


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
        return float(same_calls(list(calls_in(case.answer)), wanted(case), ignore_case=ignore_case))

    def figures(cases: Sequence[Case]) -> Figures:
        pairs = [(list(calls_in(case.answer)), wanted(case)) for case in cases]
        called = [(bool(own), bool(asked)) for own, asked in pairs]
        names = [_names(own) == _names(asked) for own, asked in pairs]
        return {
            "right_names": sum(names) / len(pairs),
            "called_without_need": called.count((True, False)),
            "not_called": called.count((False, True)),
        }

    return Check(rule=rule, aggregate=figures, needs="reference" if given is None else None)


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


def calls_in(text: str, tools: Sequence[Tool] = ()) -> Iterator[ToolCall]:
    """The calls that a text makes, in one of the ways in which chat templates have them written.

    JSON with a name and arguments (or parameters), by itself, in a list or between marks, as of
    Hermes, Qwen, Llama 3, Mistral, Granite and SmolLM; `<function=...>` of Qwen3-Coder; and Python
    calls, `[weather(city="Oslo")]` or marked as code, as of Llama 4 and Gemma. What has no types in
    the text has those of ``tools``, where these say that it is a text.
    """
    tagged = list(FUNCTION.finditer(text))
    if tagged:
        for each in tagged:
            name = each[1].strip()
            texts = _text_parameters(tools, name)
            found = [(key.strip(), value) for key, value in PARAMETER.findall(each[2])]
            yield ToolCall(name, {k: v if k in texts else _value(v) for k, v in found})
        return
    found_any = False
    for value in _json_values(text):
        for call in _calls_of(value):
            found_any = True
            yield call
    if not found_any:
        yield from _python_calls(text)


def _text_parameters(tools: Sequence[Tool], name: str) -> set[str]:
    """The parameters of a tool whose schema is that of a text."""
    for tool in tools:
        function = function_of(tool)
        if function.get("name") == name:
            schema = function.get("parameters")
            known = schema.get("properties") if isinstance(schema, Mapping) else None
            if not isinstance(known, Mapping):
                return set()
            kinds = {k: v.get("type") for k, v in known.items() if isinstance(v, Mapping)}
            return {name for name, kind in kinds.items() if kind == "string"}
    return set()


def _value(text: str) -> JsonValue:
    """The JSON value that a text is, or the text."""
    try:
        return parse_json(text)
    except NotJson:
        return text


def _json_values(text: str) -> Iterator[JsonValue]:
    """Every JSON object or list that the text holds, from left to right."""
    decoder, place = json.JSONDecoder(), 0
    while match := re.compile(r"[{\[]").search(text, place):
        try:
            value, place = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            place = match.end()
        else:
            yield value


def _calls_of(value: JsonValue) -> Iterator[ToolCall]:
    """The calls that a JSON value is."""
    if isinstance(value, list):
        for item in value:
            yield from _calls_of(item)
        return
    if not isinstance(value, dict):
        return
    if isinstance(inner := value.get("function"), dict):  # as the API of OpenAI writes it
        yield from _calls_of(inner)
        return
    name = next((value[key] for key in NAMES if isinstance(value.get(key), str)), None)
    arguments = next((value[key] for key in ARGUMENTS if key in value), None)
    if isinstance(arguments, str):
        arguments = _value(arguments)
    if isinstance(name, str) and isinstance(arguments, dict):
        yield ToolCall(name, arguments)


def _python_calls(text: str) -> Iterator[ToolCall]:
    """Calls with named literals, of a text that is one, a list of some, or marked as code."""
    listed = re.search(r"\[\s*[A-Za-z_][\w.]*\(.*\)\s*\]", text, re.DOTALL)
    marked = re.search(r"```(?:tool_code|python)?\n(.*?)```", text, re.DOTALL)
    code = listed[0] if listed else marked[1] if marked else text
    try:
        tree = ast.parse(code.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for call in tree.elts if isinstance(tree, ast.List) else [tree]:
        if not isinstance(call, ast.Call) or call.args:
            return
        try:
            arguments = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
            json.dumps(arguments)  # no set, bytes or `...`, which no tool takes
        except (ValueError, TypeError, RecursionError, MemoryError):
            return
        yield ToolCall(ast.unparse(call.func), arguments)
