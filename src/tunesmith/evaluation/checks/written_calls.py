"""Which calls of tools does a text make, in the ways in which chat templates have them written?"""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from tunesmith.data.rows import Tool, ToolCall, function_of
from tunesmith.evaluation.checks.json_text import NotJson, parse_json

NAMES, ARGUMENTS = ("name", "function"), ("arguments", "parameters")
# Qwen3-Coder and Qwen3.5: <function=name><parameter=key>value</parameter></function>
FUNCTION = re.compile(r"<function=([^>\n]+)>(.*?)</function>", re.DOTALL)
PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
# GLM: <tool_call>name <arg_key>key</arg_key> <arg_value>value</arg_value></tool_call>
KEYED = re.compile(
    r"<tool_call>\s*([\w.-]+)\s*((?:<arg_key>(?:(?!</arg_value>).)*</arg_value>\s*)*)</tool_call>",
    re.DOTALL,
)
KEYED_PARAMETER = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
# A name before a JSON object. gpt-oss: `to=functions.name<|channel|>commentary json<|message|>{`;
# Mistral's later templates: `[TOOL_CALLS]name[ARGS]{`, both also without their special tokens.
HARMONY = re.compile(
    r"to=functions\.([\w.-]+?)(?:<\|\w+\|>|commentary|analysis|final|json|\s)*(?=\{)"
)
NAMED = re.compile(r"\s*(?:\[TOOL_CALLS\])?\s*([A-Za-z_][\w.-]*)(?:\[ARGS\])?\s*(?=\{)")
# Gemma 4: call:name{key:value,key:<|"|>text<|"|>}, where the quotes are special tokens
CALL = re.compile(r"call:([\w.-]+)\{")
QUOTE = '<|"|>'
KEY = re.compile(r"\s*([\w.-]+)\s*:")
LITERAL = re.compile(r"\s*(?:[\[{].*[\]}]|True|False|None)\s*\Z", re.DOTALL)
# What begins a call that may not end: no plain answer has it.
MARK = (
    r"<tool_call>|<\|tool_call|\[TOOL_CALLS\]|<function=|to=functions\.|<\|python_tag\|>"
    r"|<seed:tool_call>|<\|tools_prefix\|>"
)
OPENING = re.compile(MARK + r"|^\s*call:[\w.-]+\{")
# The same with what is in front of it: gpt-oss names the channel of a call before it.
CHANNEL = r"(?:(?:<\|start\|>)?assistant)?(?:<\|channel\|>)?(?:commentary|analysis)?\s*"
BEGINNING = re.compile(rf"{CHANNEL}to=functions\.|{MARK}|call:[\w.-]+\{{")
LISTED = re.compile(r"\[\s*[A-Za-z_][\w.]*\(.*\)\s*\]", re.DOTALL)
FENCED = re.compile(r"```(?:tool_code|python)?\n(.*?)```", re.DOTALL)


def calls_in(text: str, tools: Sequence[Tool] = ()) -> Iterator[ToolCall]:
    """The calls that a text makes, in one of the ways in which chat templates have them written.

    JSON with a name and arguments (or parameters), by itself, in a list or between marks, as of
    Hermes, Qwen, Llama 3, Mistral, Granite and SmolLM; a name before JSON, as of Ministral 3 and
    gpt-oss; `[{name: arguments}]` of Apertus; `<function=...>` of Qwen3-Coder and Seed;
    `<arg_key>` of GLM; `call:name` of Gemma 4; and Python calls, `[weather(city="Oslo")]` or marked
    as code, as of Llama 4, LFM2 and Gemma 3. What has no types in the text has those of ``tools``,
    where these say that it is a text.
    """
    for pattern, parameter in ((FUNCTION, PARAMETER), (KEYED, KEYED_PARAMETER)):
        if tagged := list(pattern.finditer(text)):
            for each in tagged:
                name = each[1].strip()
                texts = _text_parameters(tools, name)
                found = [(key.strip(), value) for key, value in parameter.findall(each[2])]
                yield ToolCall(name, {k: v if k in texts else _value(v) for k, v in found})
            return
    for form in (_named_calls, _braced_calls, _json_calls, _keyed_calls, _python_calls):
        if calls := list(form(text)):
            yield from calls
            return


def begins_a_call(text: str) -> bool:
    """Whether a text has the mark of a call, be it one that is cut or malformed."""
    return OPENING.search(text) is not None


def before_calls(text: str) -> str:
    """What a text that makes calls says in front of the first; "" where it begins with one."""
    if begun := BEGINNING.search(text):
        return text[: begun.start()].strip()
    for place, value in _json_values(text):
        if any(_calls_of(value, marked=False)):
            return re.sub(r"```\w*\s*\Z", "", text[:place]).strip()
    written = LISTED.search(text) or FENCED.search(text)
    return text[: written.start()].strip() if written else ""


def _named_calls(text: str) -> Iterator[ToolCall]:
    """Names before JSON objects: those of gpt-oss anywhere, else a text that is nothing else."""
    decoder = json.JSONDecoder()
    if marked := list(HARMONY.finditer(text)):
        for name in marked:
            value = _decoded(decoder, text, name.end())
            if value is not None:
                yield ToolCall(name[1], value[0])
        return
    place, found = text.find("[TOOL_CALLS]") if "[TOOL_CALLS]" in text else 0, []
    while each := NAMED.match(text, place):
        value = _decoded(decoder, text, each.end())
        if value is None:
            return
        found.append(ToolCall(each[1], value[0]))
        place = value[1]
    if not text[place:].strip():
        yield from found


def _decoded(
    decoder: json.JSONDecoder, text: str, place: int
) -> tuple[dict[str, JsonValue], int] | None:
    """The JSON object at a place and where it ends; None where there is none."""
    try:
        value, end = decoder.raw_decode(text, place)
    except (ValueError, RecursionError):
        return None
    return (value, end) if isinstance(value, dict) else None


def _json_calls(text: str) -> Iterator[ToolCall]:
    marked = begins_a_call(text)
    for _, value in _json_values(text):
        yield from _calls_of(value, marked=marked)


def _keyed_calls(text: str) -> Iterator[ToolCall]:
    """`[{name: arguments}]`, of a text that is nothing else but its marks."""
    try:
        listed = parse_json(re.sub(r"<\|tools_\w+\|>", "", text).strip())
    except NotJson:
        return
    if not isinstance(listed, list) or not all(
        isinstance(each, dict) and len(each) == 1 for each in listed
    ):
        return
    for each in listed:
        assert isinstance(each, dict)
        for name, arguments in each.items():
            if not isinstance(arguments, dict):
                return
            yield ToolCall(name, arguments)


class _NotRead(Exception):
    """A braced text that is none."""


def _braced_calls(text: str) -> Iterator[ToolCall]:
    """Gemma 4's calls, whose texts may have lost their quotes as special tokens."""
    place = 0
    while each := CALL.search(text, place):
        try:
            arguments, place = _braced(text, each.end())
        except (_NotRead, RecursionError):
            return
        yield ToolCall(each[1], arguments)


def _braced(text: str, place: int) -> tuple[dict[str, JsonValue], int]:
    """The object whose opening brace ends at a place, and where it ends."""
    found: dict[str, JsonValue] = {}
    while not text.startswith("}", place):
        key = KEY.match(text, place)
        if key is None:
            raise _NotRead
        found[key[1]], place = _braced_value(text, key.end(), r",\s*[\w.-]+\s*:|\}")
        place += text.startswith(",", place)
    return found, place + 1


def _braced_value(text: str, place: int, until: str) -> tuple[JsonValue, int]:
    """A value, which ends before ``until`` where it has no quotes."""
    if text.startswith("{", place):
        return _braced(text, place + 1)
    if text.startswith("[", place):
        items: list[JsonValue] = []
        place += 1
        while not text.startswith("]", place):
            item, place = _braced_value(text, place, r"[,\]]")
            items.append(item)
            place += text.startswith(",", place)
        return items, place + 1
    if text.startswith(QUOTE, place):
        end = text.find(QUOTE, place + len(QUOTE))
        if end < 0:
            raise _NotRead
        return text[place + len(QUOTE) : end], end + len(QUOTE)
    match = re.compile(until).search(text, place)
    if match is None:
        raise _NotRead
    return _value(text[place : match.start()].strip()), match.start()


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
    """The JSON value that a text is, be it as Python writes it, or the text."""
    try:
        return parse_json(text)
    except NotJson:
        return _literal(text) if LITERAL.match(text) else text


def _literal(text: str) -> JsonValue:
    """`True`, `['x', 1]`, as templates write them that put a value where a text should be."""
    try:
        value: JsonValue = ast.literal_eval(text.strip())
        json.dumps(value)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return text
    return value


def _json_values(text: str) -> Iterator[tuple[int, JsonValue]]:
    """Every JSON object or list that the text holds, from left to right, and where it begins."""
    decoder, place = json.JSONDecoder(), 0
    while match := re.compile(r"[{\[]").search(text, place):
        try:
            value, place = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            place = match.end()
        else:
            yield match.start(), value


def _calls_of(value: JsonValue, *, marked: bool) -> Iterator[ToolCall]:
    """The calls that a JSON value is; one without arguments is one between marks alone."""
    if isinstance(value, list):
        for item in value:
            yield from _calls_of(item, marked=marked)
        return
    if not isinstance(value, dict):
        return
    if isinstance(inner := value.get("function"), dict):  # as the API of OpenAI writes it
        yield from _calls_of(inner, marked=marked)
        return
    name = next((value[key] for key in NAMES if isinstance(value.get(key), str)), None)
    arguments = next((value[key] for key in ARGUMENTS if key in value), {} if marked else None)
    if isinstance(arguments, str):
        arguments = _value(arguments) if arguments.strip() else {}
    if isinstance(name, str) and isinstance(arguments, dict):
        yield ToolCall(name, arguments)


def _python_calls(text: str) -> Iterator[ToolCall]:
    """Calls with named literals, of a text that is one, a list of some, or marked as code."""
    listed, marked = LISTED.search(text), FENCED.search(text)
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
