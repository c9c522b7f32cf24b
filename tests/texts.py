"""What an expression in the source may say: a text with slots for the values in it.

The syntax is read, and nothing run: names are followed to what is assigned to them, calls to what
the project's functions return. Any other value is a slot, with a sample of what it may hold: `7`,
which a catalogue takes for a number and for a text.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product

from tests.names import (
    called,
    calls_of,
    defined,
    defined_module,
    is_name,
    is_parameter,
    is_text,
    methods_called,
    reaching,
    within,
)
from tests.source import Module

DEEPEST, MOST = 7, 48  # calls and names that are followed; texts that one message may have
Texts = tuple[str, ...]
OPEN, OF, CLOSE, PLURAL = "\ue000", "\ue001", "\ue002", "\ue003"  # in texts until they are shown
SLOT = re.compile(f"{OPEN}(\\w+)((?::text)?){OF}([^{CLOSE}]*){CLOSE}")


def slot(name: str, sample: str = "7") -> str:
    """A value in a text."""
    return f"{OPEN}{name}{OF}{sample}{CLOSE}"


ANYTHING: Texts = (slot("value"),)
# How the helpers of core/numbers.py write a value.
WRITTEN = {
    "duration": slot("time:text", "7 minutes"),
    "duration_between": slot("time:text", "7 to 7 minutes"),
    "bytes_text": slot("size", "7 GB"),
    "percent": f"{slot('share')} %",
    "clock": slot("time", "7:07"),
    "counted": slot("names:text", "7 and 7 more"),
}


@dataclass
class Scope:
    """A module or function in which names have values."""

    module: Module
    function: ast.FunctionDef | None
    seen: set[int]  # ids of the constants that were read
    env: Mapping[str, Texts] = field(default_factory=dict)
    depth: int = 0

    def at(
        self,
        module: Module,
        function: ast.FunctionDef | None,
        env: Mapping[str, Texts] | None = None,
    ) -> "Scope":
        """Another place, one step further down."""
        return Scope(module, function, self.seen, env or {}, self.depth + 1)


def texts(node: ast.expr, scope: Scope) -> Texts:
    """What an expression may say; a slot where that cannot be known, nothing for None."""
    reader = READERS.get(type(node))
    found = reader(node, scope) if reader and scope.depth < DEEPEST else ANYTHING
    is_none = isinstance(node, ast.Constant) and node.value is None
    return tuple(islice(dict.fromkeys(found), MOST)) or (() if is_none else ANYTHING)


def _constant(node: ast.Constant, scope: Scope) -> Texts:
    scope.seen.add(id(node))
    if node.value is None:
        return ()
    return (node.value,) if isinstance(node.value, str) else ANYTHING


def _joined(node: ast.JoinedStr, scope: Scope) -> Texts:
    return _sums([texts(part, scope) for part in node.values])


def _formatted(node: ast.FormattedValue, scope: Scope) -> Texts:
    found = ANYTHING if node.format_spec else texts(node.value, scope)
    if found == ANYTHING:
        found = (slot("n" if node.format_spec else _name_of(node.value)),)
    return tuple(f"'{each}'" for each in found) if node.conversion == ord("r") else found


def _name_of(node: ast.expr) -> str:
    """What a reader would call a value."""
    if isinstance(node, ast.Attribute):
        return node.attr if node.attr not in ("name", "text") else _name_of(node.value)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr == "join" and node.args:
            return _name_of(node.args[0])
        return "n" if called(node) == "len" else called(node).strip("_") or "value"
    if isinstance(node, ast.Subscript | ast.Starred):
        return _name_of(node.value)
    if isinstance(node, ast.BinOp):
        return "n"
    return node.id.strip("_") if isinstance(node, ast.Name) else "value"


def _sums(parts: Sequence[Texts]) -> Texts:
    """Texts one after the other: in every way where those are few, else each of them once."""
    ways = 1
    for part in parts:
        ways *= len(part)
    if ways <= MOST:
        return tuple("".join(each) for each in product(*parts))
    longest = max(map(len, parts))
    return tuple("".join(p[i % len(p)] for p in parts) for i in range(longest))


def _operation(node: ast.BinOp, scope: Scope) -> Texts:
    left = texts(node.left, scope)
    if isinstance(node.op, ast.Mult):
        return ("", *left) if left != ANYTHING else ANYTHING
    right = texts(node.right, scope)
    if is_list(node.left, scope) or is_list(node.right, scope):
        return (*left, *right)
    return _sums([left, right]) if isinstance(node.op, ast.Add) else ANYTHING


def is_list(node: ast.expr, scope: Scope) -> bool:
    """Whether it has several texts, and is none itself."""
    if isinstance(node, ast.IfExp):
        return is_list(node.body, scope) or is_list(node.orelse, scope)
    if isinstance(node, ast.BinOp):
        return is_list(node.left, scope) or is_list(node.right, scope)
    if isinstance(node, ast.Call):
        found = (f for _, f in defined(scope.module, called(node)))
        return any(isinstance(f, ast.FunctionDef) and _gives_list(f) for f in found)
    return isinstance(node, LISTS)


def _gives_list(function: ast.FunctionDef) -> bool:
    return isinstance(function.returns, ast.Subscript)


LISTS = (ast.List, ast.Tuple, ast.ListComp, ast.Dict)


def _either(node: ast.IfExp, scope: Scope) -> Texts:
    return (*texts(node.body, scope), *texts(node.orelse, scope))


def _any_of(node: ast.BoolOp, scope: Scope) -> Texts:
    found = [text for value in node.values for text in texts(value, scope)]
    return tuple(filter(None, found)) or ("",)


def _named_expr(node: ast.NamedExpr, scope: Scope) -> Texts:
    return texts(node.value, scope)


def _elements(node: ast.List | ast.Tuple | ast.Set, scope: Scope) -> Texts:
    return tuple(text for each in node.elts for text in texts(each, scope))


def _starred(node: ast.Starred, scope: Scope) -> Texts:
    return texts(node.value, scope)


def _comprehension(node: ast.GeneratorExp | ast.ListComp, scope: Scope) -> Texts:
    return texts(node.elt, scope)


def _values(node: ast.Dict, scope: Scope) -> Texts:
    return tuple(text for value in node.values for text in texts(value, scope))


def _subscript(node: ast.Subscript, scope: Scope) -> Texts:
    return texts(node.value, scope)


def _name(node: ast.Name, scope: Scope) -> Texts:
    if node.id in scope.env:
        return scope.env[node.id]
    below = scope.at(scope.module, scope.function, scope.env)
    function = scope.function
    if function is not None:
        if values := reaching(function, node):
            return tuple(text for value in values for text in texts(value, below))
        if is_parameter(function, node.id):
            return tuple(given(function, node.id, below))
    return tuple(
        text
        for module, value in defined(scope.module, node.id)
        if isinstance(value, ast.expr)
        for text in texts(value, scope.at(module, None))
    )


def given(function: ast.FunctionDef, name: str, scope: Scope) -> Iterator[str]:
    """What callers in the project give for a parameter, and its default."""
    arguments = [*function.args.posonlyargs, *function.args.args]
    names = [each.arg for each in arguments]
    is_method = names[:1] in (["self"], ["cls"])
    place = names.index(name) - is_method if name in names else None
    for module, caller, call in calls_of(function.name):
        if is_method != isinstance(call.func, ast.Attribute):
            continue
        if module is not scope.module and (is_method or not _leads_to(module, function)):
            continue
        values = [k.value for k in call.keywords if k.arg == name]
        if place is not None and place < len(call.args):
            values.append(call.args[place])
        for value in values:
            yield from texts(value, scope.at(module, caller))
    for node in (*function.args.defaults, *(d for d in function.args.kw_defaults if d)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from ANYTHING


def _leads_to(module: Module, function: ast.FunctionDef) -> bool:
    return any(node is function for _, node in defined(module, function.name))


PASSED = ("localized", "sanitize", "str", "shorten")
BETWEEN_NAMES = (", ", " and ", " or ", " · ", " + ")
OF_TEXTS = ("strip", "lstrip", "rstrip", "lower", "removesuffix", "removeprefix")


def _call(node: ast.Call, scope: Scope) -> Texts:
    name = called(node)
    if name == "pluralize":
        return tuple(f"{slot('n')} {noun}{PLURAL}" for noun in texts(node.args[1], scope))
    if name == "capitalized":
        return tuple(text[:1].upper() + text[1:] for text in texts(node.args[0], scope))
    if name in PASSED and node.args:
        return texts(node.args[0], scope)
    if name in WRITTEN:
        return (WRITTEN[name],)
    if isinstance(node.func, ast.Attribute):
        return _method(node, node.func, scope)
    return _returns(defined(scope.module, name), node, scope)


def _method(node: ast.Call, target: ast.Attribute, scope: Scope) -> Texts:
    name = target.attr
    if name in OF_TEXTS:
        given = [each.value for each in node.args if is_text(each)]
        found = texts(target.value, scope)
        is_known = len(given) == len(node.args)
        return tuple(getattr(each, name)(*given) for each in found) if is_known else found
    if name == "join":
        return _one_after_another(node, target.value, scope)
    if name == "get" and node.args:
        parts = (target.value, *node.args[1:])
        return tuple(text for part in parts for text in texts(part, scope) if text)
    home = target.value
    module = defined_module(scope.module, home.id) if isinstance(home, ast.Name) else None
    found = defined(module, name) if module else methods_called(name, scope.module)
    return _returns(found, node, scope)


def _one_after_another(node: ast.Call, between: ast.expr, scope: Scope) -> Texts:
    """Of `between.join(...)` each part; of texts between which only names stand, a slot."""
    found = tuple(filter(None, texts(node.args[0], scope)))
    stands = between.value if is_text(between) else ""
    are_texts = any(" " in SLOT.sub("", each) for each in found)
    return ANYTHING if stands in BETWEEN_NAMES and are_texts else found


def _returns(functions: Iterable[tuple[Module, ast.AST]], node: ast.Call, scope: Scope) -> Texts:
    return tuple(
        text
        for module, function in functions
        if isinstance(function, ast.FunctionDef)
        for text in returned(function, node, module=module, scope=scope)
    )


def _attribute(node: ast.Attribute, scope: Scope) -> Texts:
    """Of a property what it returns."""
    found = (
        (module, function)
        for module, function in methods_called(node.attr, scope.module)
        if function.decorator_list and is_name(function.returns, "str")
    )
    return _returns(found, ast.Call(node, [], []), scope)


def returned(
    function: ast.FunctionDef, call: ast.Call, *, module: Module, scope: Scope
) -> Iterator[str]:
    """What a function may return or yield for these arguments."""
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    if names[:1] in (["self"], ["cls"]):
        names = names[1:]
    pairs = [*zip(names, call.args, strict=False), *((k.arg, k.value) for k in call.keywords)]
    outside = scope.at(scope.module, scope.function, scope.env)
    inside = scope.at(module, function, {name: texts(v, outside) for name, v in pairs if name})
    for node in within(function):
        if isinstance(node, ast.Return | ast.Yield) and node.value is not None:
            yield from texts(node.value, inside)


READERS = {
    ast.Constant: _constant,
    ast.JoinedStr: _joined,
    ast.FormattedValue: _formatted,
    ast.BinOp: _operation,
    ast.IfExp: _either,
    ast.BoolOp: _any_of,
    ast.NamedExpr: _named_expr,
    ast.List: _elements,
    ast.Tuple: _elements,
    ast.Set: _elements,
    ast.Starred: _starred,
    ast.GeneratorExp: _comprehension,
    ast.ListComp: _comprehension,
    ast.Dict: _values,
    ast.Subscript: _subscript,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Call: _call,
}
