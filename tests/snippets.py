"""Code of pages and notebooks, run from first to last in one namespace over a tiny base."""

import json
import re
from pathlib import Path

from tests.runs.tiny import base_folder

MODEL = "smollm2-135m-instruct"


def snippets(file: Path) -> list[str]:
    """The Python of a Markdown page or a notebook, in order."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        return re.findall(r"```python\n(.*?)```", text, re.S)
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if is_code(cell)]


def is_code(cell: dict) -> bool:
    """Whether a cell of a notebook holds code."""
    return cell["cell_type"] == "code"


def run_in_order(file: Path, tmp_path: Path) -> dict[str, object]:
    """What the snippets' names are at the end. Runs and answers are short: only errors count."""
    base = base_folder(tmp_path / "base", max_position_embeddings=2048)
    namespace: dict[str, object] = {}
    for number, text in enumerate(snippets(file), 1):
        code = text.replace(f'ts.pull("{MODEL}").folder', f'"{base}"').replace(MODEL, str(base))
        code = re.sub(r"\b(epochs|steps)=\d+", "steps=2", code)
        code = re.sub(r"(max_new_tokens\W+)\d+", r"\g<1>4", code)
        exec(compile(code, f"{file}: snippet {number}", "exec"), namespace)
    return namespace
