"""How is the source tree cut into files? Counts that need no run, each with its places."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain

import networkx

from tests.source import PACKAGE, Module, import_graph, imports

SHORT_LINES = 50
MAX_LINES = 350
# The packages that hold the methods and their settings: here a kind may be named.
METHODS, CONFIG = f"{PACKAGE}.methods", f"{PACKAGE}.config"
# An exporter writes one kind's format, so it may name that kind.
EXPORTERS = (f"{PACKAGE}.export", f"{PACKAGE}.exports")
PUBLIC_NAMES = f"{PACKAGE}.api.settings"  # `ts.LoRA`, `ts.Full`
# Kinds that are common words too: they count only where a kind is asked for.
WORDS = frozenset({"prompt", "full"})
LORA = f"{METHODS}.lora"
# Through this class every method reaches the whole engine, so LoRA's reader stops at it.
ENGINE = f"{PACKAGE}.engine", "Engine"

Places = dict[str, list[str]]


def is_bare(module: Module) -> bool:
    """Whether it is the root, or an ``__init__.py`` that holds nothing but a docstring."""
    if module.name == PACKAGE:
        return True
    return module.path.name == "__init__.py" and not module.tree.body[1:]


def short_modules(sources: Iterable[Module]) -> list[Module]:
    """Modules under 50 lines, bare ``__init__.py`` files and the root aside."""
    return [m for m in sources if m.lines < SHORT_LINES and not is_bare(m)]


def share_of_short(sources: Iterable[Module]) -> float:
    """Short modules per module, bare ``__init__.py`` files and the root aside on both sides."""
    sources = tuple(sources)
    return len(short_modules(sources)) / max(1, sum(not is_bare(m) for m in sources))


def with_one_importer(sources: Iterable[Module]) -> Places:
    """Modules that exactly one other module imports, with that module."""
    importers = defaultdict(list)
    for name, targets in import_graph(sources).items():
        for target in targets:
            importers[target].append(name)
    return {name: found for name, found in sorted(importers.items()) if len(found) == 1}


def repeated_classes(sources: Iterable[Module]) -> Places:
    """Names of classes that are defined more than once, nested ones and protocols included."""
    found = defaultdict(list)
    for module in sources:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(f"{module.where}:{node.lineno}")
    return {name: places for name, places in sorted(found.items()) if len(places) > 1}


def long_files(sources: Iterable[Module]) -> list[Module]:
    """Files over 350 lines."""
    return [m for m in sources if m.lines > MAX_LINES]


def cycles(sources: Iterable[Module]) -> list[list[str]]:
    """Groups of modules that import each other, however indirectly."""
    graph = networkx.DiGraph(
        (name, target) for name, targets in import_graph(sources).items() for target in targets
    )
    groups = networkx.strongly_connected_components(graph)
    return sorted(sorted(group) for group in groups if len(group) > 1)


def lora_files(sources: Iterable[Module]) -> list[Module]:
    """What a reader opens from LoRA's own file on: what it imports, and what these import.

    Followed within ``methods`` and ``engine`` only, and not through the module that defines
    ``Engine``, behind which all of the engine lies.
    """
    by_name = {module.name: module for module in sources}
    graph = import_graph(by_name.values())
    found: dict[str, Module] = {}
    todo = [name for name in by_name if name == LORA or name.startswith(f"{LORA}.")]
    while todo:
        name = todo.pop()
        seen = name in found or name.split(".")[1] not in ("methods", "engine")
        if seen or _defines_engine(by_name[name]):
            continue
        found[name] = by_name[name]
        todo += graph[name]
    return [found[name] for name in sorted(found)]


def _defines_engine(module: Module) -> bool:
    package, name = ENGINE
    classes = (n.name for n in ast.walk(module.tree) if isinstance(n, ast.ClassDef))
    return module.name.startswith(f"{package}.") and name in classes


def kinds_named(sources: Iterable[Module]) -> Places:
    """Files outside ``methods`` and ``config`` that name kinds of methods, with the places.

    Kinds are the values of `kind: Literal[...]` in the settings of methods. A file names one with
    a string that equals it (for `full` and `prompt` only where a kind is asked for: compared with
    something that ends in `kind` or `method`, given as `kind`, matched, or listed among kinds
    only), with a settings class, with a constant of the settings that lists kinds, or with an
    import of a method's own module. Docstrings do not count.
    """
    sources = tuple(sources)
    kinds, names = _kinds(sources)
    found = {}
    for module in sources:
        if not module.name.startswith((METHODS, CONFIG, PUBLIC_NAMES)):
            places = sorted({*_strings(module.tree, kinds), *_names(module, kinds, names)})
            if places:
                found[module.where] = [f"{line}: {what}" for line, what in places]
    return found


def outside_exporters(named: Places) -> Places:
    """Those of ``kinds_named`` that do not lie in the packages of exporters."""
    folders = tuple(f"/{name.replace('.', '/')}/" for name in EXPORTERS)
    return {where: p for where, p in named.items() if not any(f in where for f in folders)}


def _kinds(sources: Iterable[Module]) -> tuple[frozenset[str], frozenset[str]]:
    """The kinds; the names of the classes and constants of the settings that stand for kinds."""
    kinds: set[str] = set()
    names: set[str] = set()
    homes = [m for m in sources if m.name.startswith((f"{CONFIG}.methods", METHODS))]
    for node in chain.from_iterable(ast.walk(module.tree) for module in homes):
        if isinstance(node, ast.ClassDef) and (own := _kinds_of_class(node)):
            kinds |= own
            names.add(node.name)
    settings = (m for m in homes if m.name.startswith(CONFIG))
    for node in chain.from_iterable(module.tree.body for module in settings):
        if isinstance(node, ast.Assign | ast.AnnAssign) and kinds & set(_constants(node.value)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {t.id for t in targets if isinstance(t, ast.Name)}
    return frozenset(kinds), frozenset(names)


def _kinds_of_class(node: ast.ClassDef) -> set[str]:
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == "kind":
            return set(_constants(line.annotation))
    return set()


def _constants(*nodes: ast.AST | None) -> Iterator[str]:
    for node in nodes:
        for inner in ast.walk(node) if node is not None else ():
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                yield inner.value


def _strings(tree: ast.Module, kinds: frozenset[str]) -> Iterator[tuple[int, str]]:
    """Line and text of each string that names a kind."""
    docstrings = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in docstrings:
            continue
        asked = _asked_as_kind(node, kinds)
        found = kinds & set(_constants(*asked))
        if isinstance(node, ast.Constant) and node.value in kinds - WORDS:
            found = {node.value}
        for kind in found:
            yield node.lineno, repr(kind)


def _asked_as_kind(node: ast.AST, kinds: frozenset[str]) -> list[ast.AST | None]:
    """The parts of a node whose strings can only mean kinds."""
    match node:
        case ast.Compare():
            sides = [node.left, *node.comparators]
            if any(ast.unparse(side).endswith(("kind", "method")) for side in sides):
                return [*sides]
        case ast.Dict():
            keys = [k for k in node.keys if k is not None]
            if _all_kinds(keys, kinds):
                return [*keys]
            pairs = zip(node.keys, node.values, strict=True)
            return [v for k, v in pairs if isinstance(k, ast.Constant) and k.value == "kind"]
        case ast.List() | ast.Set() | ast.Tuple() if _all_kinds(node.elts, kinds):
            return [*node.elts]
        case ast.keyword(arg="kind"):
            return [node.value]
        case ast.Match() if ast.unparse(node.subject).endswith(("kind", "method")):
            return [case.pattern for case in node.cases]
    return []


def _all_kinds(nodes: list[ast.expr], kinds: frozenset[str]) -> bool:
    values = [n.value for n in nodes if isinstance(n, ast.Constant)]
    return len(values) > 1 and len(values) == len(nodes) and set(values) <= kinds


def _names(
    module: Module, kinds: frozenset[str], names: frozenset[str]
) -> Iterator[tuple[int, str]]:
    """Line and name of each import, and each use of an attribute, that stands for a kind."""
    stems = {kind.replace("-", "_") for kind in kinds}
    for line, target in imports(module):
        under = target.removeprefix(f"{METHODS}.").split(".")[0]
        own = target.startswith(f"{METHODS}.") and any(
            under == stem or under.startswith(f"{stem}_") for stem in stems
        )
        in_settings = target.startswith((f"{CONFIG}.", f"{METHODS}."))
        if own or (in_settings and target.rpartition(".")[2] in names):
            yield line, f"import of {target}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr in names:
            yield node.lineno, ast.unparse(node)
