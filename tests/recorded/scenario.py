"""The scenario: every method is trained, every command is run, and what they gave is returned."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.recorded.command import run, run_well, workplace
from tests.recorded.inputs import write_inputs
from tests.recorded.normal import normal, normal_text, shape
from tests.recorded.renames import Renames, read_renames
from tests.recorded.steps import Step
from tests.recorded.trained import (
    VARIANTS,
    Trained,
    read_trained,
    sha256,
    train_words,
    without_root,
)

TEXTS = {".yaml", ".jsonl", ".json", ""}  # files that are recorded as texts, not as hashes
DEFINING = ("model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja")


@dataclass(slots=True)
class Scenario:
    """The scenario in ``root``, a new folder; ``renames`` change its command lines only."""

    root: Path
    renames: Renames = field(default_factory=read_renames)

    def begin(self) -> dict[str, str]:
        """Write models and data; SHA-256 of the base's files."""
        write_inputs(self.root)
        base = self.root / "base"
        return {name: sha256((base / name).read_bytes()) for name in DEFINING}

    def train(self) -> tuple[dict[str, Trained], dict[str, object]]:
        """Train every variant: what each run trained, and each command's document."""
        adapters: dict[str, Trained] = {}
        documents: dict[str, object] = {}
        with workplace(self.root):
            for name in VARIANTS:
                ended = run_well((*self.renames.of_words(train_words(name)), "--json"))
                adapters[name] = read_trained(self.root / "runs" / name)
                documents[f"train-{name}"] = normal(ended.document, self.root)
        return adapters, documents

    def commands(self, steps: Sequence[Step]) -> dict[str, object]:
        """By name of the step: its exit status, document and files."""
        with workplace(self.root):
            return {step.name: self._command(step) for step in steps}

    def _command(self, step: Step) -> dict[str, object]:
        words = (*self.renames.of_words(step.words), "--json")
        ended = run(words, lines=step.lines)
        try:
            document = ended.document
        except ValueError:
            raise AssertionError(f"{step.name}: no JSON: {ended.out}{ended.err}") from None
        return {
            "status": ended.status,
            "document": shape(document) if step.is_shape else normal(document, self.root),
            "files": {
                str(file): self._contents(file)
                for pattern in step.files
                for file in sorted(Path().glob(pattern))
            },
        }

    def _contents(self, file: Path) -> str:
        data = without_root(file, self.root)
        if file.suffix not in TEXTS:
            return sha256(data)
        return normal_text(data.decode(), self.root)
