"""Tools of a request: which may or must be called, and the calls that an answer makes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.data.call_format import CallFormat
from tunesmith.data.faults import RowNotes
from tunesmith.data.formats.layout import parse_tools
from tunesmith.data.rows import Tool, ToolCall, function_of
from tunesmith.evaluation.checks.written_calls import before_calls, calls_in
from tunesmith.generation.json_constraint import MAX_CALLS, JsonConstraint
from tunesmith.server.answers import ServedAnswer
from tunesmith.server.errors import ApiError, require_no_fault
from tunesmith.server.protocol import ChatRequest, Json
from tunesmith.server.served import ServedModels

NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ToolRules:
    """The tools that a model is shown, and what it may call.

    ``forced`` are the names of which one must be called (none: it need not call any). ``many``: it
    may call several at once. ``form`` is how forced calls are written.
    """

    tools: Sequence[Tool] = ()
    forced: tuple[str, ...] = ()
    many: bool = True
    form: CallFormat | None = None

    def calls(self, answer: ServedAnswer) -> list[ToolCall]:
        """The calls that an answer makes of these tools; none where it was cut."""
        if not self.tools or answer.reason != "stop":
            return []
        if self.form is not None:
            return self.form.read(answer.text)
        names = {str(function_of(tool).get("name")) for tool in self.tools}
        found = [call for call in calls_in(answer.text, self.tools) if call.name in names]
        return found if self.many else found[:1]

    def said(self, answer: ServedAnswer, calls: Sequence[ToolCall]) -> str:
        """What an answer says in front of its calls, or all that it says where it makes none."""
        if not calls:
            return answer.text
        return "" if self.form is not None else before_calls(answer.text)


NO_TOOLS = ToolRules()


def read_tools(body: ChatRequest) -> ToolRules:
    """The tools of a request; ApiError for a fault."""
    if not body.tools or body.tool_choice == "none":
        return NO_TOOLS
    notes = RowNotes()
    tools = parse_tools({"tools": body.tools}, notes)
    require_no_fault(notes, "tools")
    names = [str(function_of(tool).get("name")) for tool in tools]
    if repeated := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ApiError(f"Two tools are called {repeated[0][:64]!r}.", param="tools")
    many = body.parallel_tool_calls is not False and body.named_tool is None
    if body.tool_choice == "required":
        return ToolRules(tools, tuple(names), many)
    if body.named_tool is None:
        return ToolRules(tools, (), many)
    if body.named_tool not in names:
        raise ApiError(f"No tool is called {body.named_tool[:64]!r}.", param="tool_choice")
    return ToolRules(tools, (body.named_tool,), many)


async def constrain_calls(
    served: ServedModels, adapter: str | None, rules: ToolRules
) -> tuple[ToolRules, JsonConstraint]:
    """The rules with the form of a model's calls, and what holds its answer to it.

    Raises ApiError where calls of this model cannot be forced, DataError for schemas that cannot be
    followed.
    """
    schemas = {name: _schema(tool) for tool in rules.tools if (name := _name(tool)) in rules.forced}
    form = await served.call_format(adapter)
    if form is None:
        raise ApiError(
            "No call can be forced of this model: its chat template writes none with JSON "
            'arguments. Ask with tool_choice "auto".',
            param="tool_choice",
        )
    most = MAX_CALLS if rules.many else 1
    constraint = await served.call_constraint(adapter, form, schemas, most=most)
    return ToolRules(rules.tools, rules.forced, rules.many, form), constraint


def _name(tool: Tool) -> str:
    name = str(function_of(tool).get("name"))
    if not NAME.fullmatch(name):
        what = "A function that must be called needs a name of 1 to 64 letters, digits, _ . or -."
        raise ApiError(what, param="tools")
    return name


def _schema(tool: Tool) -> Json:
    schema = function_of(tool).get("parameters") or {"properties": {}}
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        what = f"The parameters of {_name(tool)!r} are no JSON Schema of an object."
        raise ApiError(what, param="tools")
    return schema
