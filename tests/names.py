"""Where a name in the source leads: to the values, functions and methods of the project."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tests.source import Module, modules

Function = ast.FunctionDef | None  # None: in the module itself
Call = tuple[Module, Function, ast.Call]
NO_VALUES = ("annotation", "returns", "ctx", "op")  # fields of nodes in which nothing is made


@dataclass(frozen=True, slots=True)
class Index:
    """The nodes of a module that are looked for; those in a function with it."""

    calls: list[tuple[Function, ast.Call]]
    texts: list[tuple[Function, ast.expr]]
    classes: list[ast.ClassDef]
    imports: list[ast.ImportFrom]

    def add(self, node: ast.AST, function: Function) -> None:
        """Keep it, if it is looked for."""
        if isinstance(node, ast.Call):
            self.calls.append((function, node))
        elif isinstance(node, ast.JoinedStr) or is_text(node):
            self.texts.append((function, node))
        elif isinstance(node, ast.ClassDef):
            self.classes.append(node)
        elif isinstance(node, ast.ImportFrom):
            self.imports.append(node)


def is_text(node: ast.AST) -> bool:
    """Whether it is a text as it is written."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@cache
def index(module: Module) -> Index:
    """Found in one walk through the module, except for what only developers read."""
    found = Index([], [], [], [])
    todo: list[tuple[ast.AST, Function]] = [(module.tree, None)]
    while todo:
        node, function = todo.pop()
        if is_for_developers(node, module):
            continue
        found.add(node, function)
        if isinstance(node, ast.FunctionDef):
            function = node
        todo += [(each, function) for each in _inside(node)]
    return found


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node; the words of an f-string are read with it."""
    for name in node._fields:
        value = getattr(node, name, None) if name not in NO_VALUES else None
        if isinstance(value, list):
            is_whole = isinstance(node, ast.JoinedStr)
            parts = (each for each in value if isinstance(each, ast.AST))
            yield from (each for each in parts if not (is_whole and is_text(each)))
        elif isinstance(value, ast.AST) and not isinstance(value, ast.Name):
            yield value


OF_DEVELOPERS = ("ValueError", "TypeError", "RuntimeError", "AttributeError", "KeyError")
NOT_SHOWN = ("help", "description", "title", "metavar", "style")


def is_for_developers(node: ast.AST, module: Module) -> bool:
    """Docstrings, help and its like, names of styles, and mistakes of a caller."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Assert():
            return True
        case ast.keyword(arg=name):
            return name in NOT_SHOWN
        case ast.FunctionDef(name=name):
            return name == "__repr__"
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name.endswith(("_HELP", "style"))
        case ast.Raise(exc=ast.Call() as made):
            return called(made) in OF_DEVELOPERS and ".config." not in module.name
    return False


def called(node: ast.Call) -> str:
    """The last part of the name of what is called."""
    target = node.func
    if isinstance(target, ast.Attribute):
        return target.attr
    return target.id if isinstance(target, ast.Name) else ""


@dataclass(slots=True)
class Assigned:
    """A value of a name, and where it was given: in a block of statements, whose lines are told."""

    line: int
    value: ast.expr
    block: tuple[int, int]


def reaching(function: ast.FunctionDef, use: ast.Name) -> list[ast.expr]:
    """What a name may be where it is used: the last value before it in a block around it, those
    given since, and with what was added to them on some way.
    """
    found, added = assigned(function, use.id)
    around = [e for e in found if e.line < use.lineno and e.block[0] <= use.lineno <= e.block[1]]
    first = max((each.line for each in around), default=0)
    values = [each.value for each in found if first <= each.line < use.lineno or not first]
    more = [each.value for each in added if first < each.line < use.lineno or not first]
    return [*values, *(ast.BinOp(value, ast.Add(), one) for value in values for one in more)]


@cache
def assigned(function: ast.FunctionDef, name: str) -> tuple[list[Assigned], list[Assigned]]:
    """The values that a name is given in a function, and what is added to them in other blocks."""
    found: list[Assigned] = []
    added: list[Assigned] = []
    for block in _blocks(function):
        lines, start = (block[0].lineno, block[-1].end_lineno or 0), len(found)
        for node in block:
            if more := _added_by(node, name):
                if len(found) > start:
                    found[-1].value = ast.BinOp(found[-1].value, ast.Add(), more)
                else:
                    added.append(Assigned(node.lineno, more, lines))
            found += [Assigned(node.lineno, each, lines) for each in _assigned_by(node, name)]
    for node in within(function):
        if isinstance(node, ast.NamedExpr) and is_name(node.target, name):
            found.append(Assigned(node.lineno - 1, node.value, (0, 0)))
    return found, added


def _added_by(node: ast.stmt, name: str) -> ast.expr | None:
    """What `name += ...` or `name.append(...)` adds."""
    if isinstance(node, ast.AugAssign) and is_name(node.target, name):
        return node.value
    call = node.value if isinstance(node, ast.Expr) else None
    if isinstance(call, ast.Call) and called(call) in ("append", "extend"):
        return ast.List(call.args) if is_name(call.func.value, name) else None
    return None


def _assigned_by(node: ast.stmt, name: str) -> Iterator[ast.expr]:
    if isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple | ast.List):
        for each in node.iter.elts:
            yield from _assigned_by(ast.Assign([node.target], each), name)
    targets, value = _assignment(node)
    for target in targets:
        if is_name(target, name) and value is not None:
            yield value
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = zip(target.elts, value.elts, strict=False)
            yield from (one for each, one in pairs if is_name(each, name))


def is_name(node: ast.AST | None, name: str) -> bool:
    """Whether a node is this name."""
    return isinstance(node, ast.Name) and node.id == name


@cache
def within(function: ast.AST) -> tuple[ast.AST, ...]:
    """Every node of a function."""
    return tuple(ast.walk(function))


@cache
def _blocks(function: ast.AST) -> tuple[list[ast.stmt], ...]:
    parts = (getattr(n, p, None) for n in within(function) for p in ("body", "orelse"))
    return tuple(part for part in parts if isinstance(part, list) and part)


def _assignment(node: ast.AST) -> tuple[list[ast.expr], ast.expr | None]:
    if isinstance(node, ast.Assign):
        return node.targets, node.value
    return ([node.target], node.value) if isinstance(node, ast.AnnAssign) else ([], None)


@cache
def _calls() -> dict[str, list[tuple[Module, ast.FunctionDef | None, ast.Call]]]:
    found: dict[str, list[tuple[Module, ast.FunctionDef | None, ast.Call]]] = {}
    for module in modules():
        for function, call in index(module).calls:
            found.setdefault(called(call), []).append((module, function, call))
    return found


def calls_of(name: str) -> list[tuple[Module, ast.FunctionDef | None, ast.Call]]:
    """All calls of what has this name."""
    return _calls().get(name, [])


def is_parameter(function: ast.FunctionDef, name: str) -> bool:
    """Whether callers give it."""
    given = function.args
    return any(a.arg == name for a in (*given.posonlyargs, *given.args, *given.kwonlyargs))


@cache
def names_of(module: Module) -> dict[str, list[ast.AST | str]]:
    """What a module's own names are: nodes, or the dotted names that were imported."""
    found: dict[str, list[ast.AST | str]] = {}
    for node in index(module).imports:
        for alias in node.names:
            found.setdefault(alias.asname or alias.name, []).append(f"{node.module}.{alias.name}")
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.setdefault(node.name, []).append(node)
        targets, value = _assignment(node)
        for target in targets:
            if isinstance(target, ast.Name) and value is not None:
                found.setdefault(target.id, []).append(value)
    return found


@cache
def _by_name() -> dict[str, Module]:
    return {module.name: module for module in modules()}


def defined(module: Module, name: str) -> Iterator[tuple[Module, ast.AST]]:
    """Where a module's name leads, through imports of the project."""
    for found in names_of(module).get(name, ()):
        if not isinstance(found, str):
            yield module, found
            continue
        home, _, original = found.rpartition(".")
        if home in _by_name() and _by_name()[home] is not module:
            yield from defined(_by_name()[home], original)


@cache
def methods_of() -> dict[str, list[tuple[Module, ast.FunctionDef]]]:
    """The methods of all classes by their names."""
    found: dict[str, list[tuple[Module, ast.FunctionDef]]] = {}
    for module in modules():
        for each in (part for node in index(module).classes for part in node.body):
            if isinstance(each, ast.FunctionDef):
                found.setdefault(each.name, []).append((module, each))
    return found


def methods_called(name: str, module: Module) -> list[tuple[Module, ast.FunctionDef]]:
    """Those of the module, or else the only one of this name."""
    found = methods_of().get(name, [])
    here = [each for each in found if each[0] is module]
    return here or (found if len(found) == 1 else [])


def defined_module(module: Module, name: str) -> Module | None:
    """The module of the project that a name stands for."""
    found = (n for n in names_of(module).get(name, ()) if isinstance(n, str))
    return next((_by_name()[n] for n in found if n in _by_name()), None)
