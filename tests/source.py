"""The source tree as the style tests see it: its files, their syntax, and who imports whom."""

import ast
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
PACKAGE = "tunesmith"
NOT_OURS = {".git", ".venv", ".venv-bench", "build", "dist", "runs", "__pycache__"}


@dataclass(frozen=True)
class Module:
    """One parsed file of the package."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def where(self) -> str:
        return str(self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path)

    @property
    def lines(self) -> int:
        """As `wc -l` counts them."""
        return self.text.count("\n")

    @property
    def package(self) -> str:
        """What relative imports start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


def parsed(name: str, path: Path, text: str) -> Module:
    return Module(name, path=path, text=text, tree=ast.parse(text, filename=str(path)))


@cache
def modules(src: Path = SRC) -> tuple[Module, ...]:
    """Every module of the package, by name; ``src`` may be another checkout's."""
    found = []
    for path in sorted((src / PACKAGE).rglob("*.py")):
        parts = path.relative_to(src).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(parsed(name, path, path.read_text(encoding="utf-8")))
    return tuple(found)


def imports(module: Module) -> Iterator[tuple[int, str]]:
    """Line and dotted target of every import, in functions and under TYPE_CHECKING too.

    `from a import b` gives `a.b`: whether b is a module or a value, it lies in a. A constant
    handed to import_module counts as well.
    """
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            start = _start_of(module, node)
            for alias in node.names:
                yield node.lineno, f"{start}.{alias.name}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield node.lineno, argument.value


def _start_of(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.package.split(".")
    above = parts[: len(parts) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def import_graph(sources: Iterable[Module]) -> dict[str, set[str]]:
    """Each module's name -> the names of those that it imports.

    The root's are left out: it names the public functions for those who check types, and loads
    each when it is first used.
    """
    sources = tuple(sources)
    names = {module.name for module in sources}
    return {
        module.name: {
            next((n for n in (target, target.rpartition(".")[0]) if n in names), "")
            for _, target in (imports(module) if module.name != PACKAGE else ())
        }
        - {"", module.name}
        for module in sources
    }


@cache
def project_files() -> tuple[Path, ...]:
    """The files that a commit holds or would hold; without git, all that look like ours."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        found = (p for p in ROOT.rglob("*") if not NOT_OURS & set(p.relative_to(ROOT).parts))
    else:
        found = (ROOT / name for name in listed.decode().split("\0") if name)
    return tuple(sorted(path for path in found if path.is_file()))
