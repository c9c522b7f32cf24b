"""Every command of the program on the scenario's input, in the order in which they run."""

from collections.abc import Sequence
from dataclasses import dataclass

CHECK = '{"kind": "regex", "name": "has_b", "pattern": "b"}'
NO_MORE = ("--evaluate.forgetting", "none", "--evaluate.consistency", "none")
BASE = ("--model", "base")
STORE = ("--store", "store")
INDEX = ("rag", "index", "documents", *STORE, "--embedding", "embedder", "--processes", 1)


@dataclass(frozen=True, slots=True)
class Step:
    """A command line without `--json`.

    ``files`` are patterns of what it writes, whose bytes are recorded too; ``lines`` is its
    standard input. A document whose values are those of the machine has ``is_shape``: only its
    keys and kinds of values are recorded.
    """

    name: str
    words: Sequence[object]
    files: tuple[str, ...] = ()
    lines: str = ""
    is_shape: bool = False


def _merge(method: str, *more: object) -> Step:
    out = f"combined/{method}"
    words = ("adapters", "merge", "runs/lora", "runs/rslora", "--out", out, "--method", method)
    return Step(f"merge-{method}", (*words, *more), (f"{out}/adapter_model.safetensors",))


def _export(adapter: str, to: str, *more: object, files: tuple[str, ...]) -> Step:
    name = f"{adapter}-{to}" + ("-merged" if "--merged" in more else "")
    out = f"exported/{name}"
    words = ("adapters", "export", f"runs/{adapter}", "--to", to, "--out", out, *more)
    return Step(f"export-{name}", words, tuple(f"{out}/{file}" for file in files))


QUICK = (
    Step("doctor", ("doctor",), is_shape=True),
    Step("methods", ("methods",)),
    Step("model-list", ("model", "list")),
    Step("init", ("init", "rows.jsonl", "--out", "made.yaml"), ("made.yaml",)),
    Step("init-chats", ("init", "chats.jsonl", "--out", "chats.yaml"), ("chats.yaml",)),
    Step("check", ("data", "check", "rows.jsonl", "chats.jsonl", *BASE)),
    Step("check-faulty", ("data", "check", "faulty.jsonl", *BASE)),
    Step("check-table", ("data", "check", "table.csv", "--data.format", "alpaca", *BASE)),
    Step("show", ("data", "show", "rows.jsonl", "-n", 2, "--tokens", *BASE)),
    Step("show-chats", ("data", "show", "chats.jsonl", "--data.document", "answer", *BASE)),
    Step("split", ("data", "split", "rows.jsonl", "--out", "split"), ("split/*.jsonl",)),
    Step(
        "split-by",
        ("data", "split", "table.csv", "--out", "split-by", "--by", "half", "--share", 0.5),
        ("split-by/*.jsonl",),
    ),
    Step("train", ("train", "run.yaml", "--out", "runs/evaluated")),
    Step("evaluate", ("evaluate", "runs/evaluated"), ("runs/evaluated/answers.jsonl",)),
    Step(
        "evaluate-adapter",
        (
            *("evaluate", "runs/dora/adapter", "--data", "held.jsonl", "--out", "judged"),
            *("--evaluate.checks", f"[{CHECK}]", "--evaluate.max_new_tokens", 6, *NO_MORE),
        ),
        ("judged/answers.jsonl",),
    ),
    Step("report", ("report", "runs/evaluated")),
    Step("report-ko", ("report", "runs/evaluated", "--language", "ko")),
    Step("chat", ("chat", "base", "--max-new-tokens", 8), lines="say 1\nsay 2\n"),
    Step(
        "chat-many",
        (
            *("chat", "runs/lora", "--adapter", "runs/prompt", "--adapter", "base"),
            *("--max-new-tokens", 8, "--system", "Answer in letters."),
        ),
        lines="say 1\n/reset\nsay 2\n",
    ),
    Step(
        "chat-drawn",
        ("chat", "runs/p-tuning", "--max-new-tokens", 8, "--temperature", 1, "--seed", 3),
        lines="say 1\n",
    ),
    Step("chat-full", ("chat", "runs/full", "--max-new-tokens", 8), lines="say 1\n"),
    Step("adapters-list", ("adapters", "list")),
    Step("adapters-show", ("adapters", "show", "lora")),
    Step("adapters-show-prefix", ("adapters", "show", "runs/p-tuning/adapter")),
    Step("adapters-verify", ("adapters", "verify", "runs/lora-new-tokens")),
    Step(
        "adapters-verify-other", ("adapters", "verify", "runs/lora", "--model", "runs/full/model")
    ),
    Step("conflicts", ("adapters", "conflicts", "runs/lora", "runs/rslora", "--no-scores")),
    _merge("linear", "--weights", "1,0.5"),
    _merge("magnitude"),
    _merge("ties", "--rank", 2),
    _merge("dare", "--seed", 1),
    _merge("dare-ties"),
    _merge("sce"),
    _merge("knots"),
    _export("lora", "peft", files=("adapter_model.safetensors", "adapter_config.json")),
    _export("lora", "merged", files=("model.safetensors", "config.json")),
    _export("dora", "vllm", files=("adapter_model.safetensors", "adapter_config.json")),
    _export("dora", "vllm", "--merged", files=("model.safetensors", "config.json")),
    _export("lora", "gguf", files=("*.gguf",)),
    _export("lora", "gguf", "--merged", files=("*.gguf",)),
    _export("lora", "ollama", files=("*.gguf", "Modelfile")),
    _export("prompt", "peft", files=("adapter_model.safetensors",)),
    Step("runs-list", ("runs", "list")),
    Step("runs-show", ("runs", "show", "evaluated")),
    Step("refused-config", ("train", "wrong.yaml")),
    Step("refused-resume", ("train", "--resume", "nowhere")),
    Step("refused-exists", ("train", "run.yaml", "--out", "runs/lora")),
    Step("refused-data", ("train", "--data", "faulty.jsonl", *BASE, "--out", "runs/faulty")),
    Step("refused-target", ("train", "run.yaml", "--method.targets", "[wq]", "--out", "runs/wq")),
    Step("refused-merge", ("adapters", "merge", "runs/lora", "runs/prompt", "--out", "no")),
    Step("refused-export", ("adapters", "export", "runs/prompt", "--to", "gguf", "--out", "no")),
    Step("refused-chat", ("chat", "nowhere"), lines="hello\n"),
    Step("refused-ask", ("rag", "ask", "who?", "--store", "nowhere")),
    Step("refused-flag", ("evaluate", "runs/lora", "--colour", "red")),
    Step("refused-command", ("tell",)),
    Step(
        "compare-grid",
        (
            *("compare", "plain.yaml", "--grid", "method.rank=1,3", "--out", "grid"),
            *("--grid", "train.lr=0.003,0.006"),
        ),
        ("grid/*/adapter/adapter_model.safetensors",),
    ),
    Step(
        "distill",
        (
            *("data", "distill", "--prompt", "instruction.txt", "--inputs", "questions.jsonl"),
            *("--out", "distilled.jsonl", *BASE, "--check", CHECK, "--max-new-tokens", 8),
            *("--samples", 2, "--temperature", 1),
        ),
        ("distilled.jsonl",),
    ),
    Step("train-second", ("train", "run.yaml", "--data", "second.jsonl", "--out", "runs/second")),
    Step("conflicts-scores", ("adapters", "conflicts", "runs/evaluated", "runs/second")),
    Step(
        "merge-auto",
        (
            *("adapters", "merge", "runs/evaluated", "runs/second", "--auto"),
            *("--out", "combined/auto", "--max-drop", 100),
        ),
        ("combined/auto/adapter_model.safetensors",),
    ),
    Step("rag-index", INDEX),
    Step("rag-index-again", INDEX),
    Step(
        "rag-ask",
        (
            *("rag", "ask", "Who painted the cedar room?", *STORE, *BASE),
            *("--threshold", -1, "--max-new-tokens", 8, "--explain", "--neighbours", 1),
        ),
    ),
    Step(
        "rag-ask-adapter",
        (
            *("rag", "ask", "Who painted the elm room?", *STORE, "--model", "runs/lora"),
            *("--threshold", -1, "--max-new-tokens", 8, "--mode", "text", "--limit", 2),
        ),
    ),
    Step(
        "rag-ask-unknown",
        ("rag", "ask", "What is the moon made of?", *STORE, *BASE, "--threshold", 1),
    ),
    Step(
        "rag-dataset",
        ("rag", "dataset", "facts.jsonl", *STORE, *BASE, "--out", "asked", "--share", 0.25),
        ("asked/*.jsonl",),
    ),
    Step(
        "rag-dataset-written",
        (
            *("rag", "dataset", *STORE, *BASE, "--out", "written", "--chunks", 4),
            *("--tries", 1, "--share", 0.5),
        ),
    ),
    Step(
        "rag-evaluate",
        (
            *("rag", "evaluate", "facts.jsonl", *STORE, *BASE, "--adapter", "runs/lora"),
            *("--out", "retrieved", "--max-new-tokens", 4),
        ),
    ),
    Step("refused-store", ("rag", "index", "nowhere", "--store", "s")),
)
SLOW = (
    Step("compare-methods", ("compare", "methods.yaml", "--out", "compared", "--train.lr", 0.002)),
    Step("compare-report", ("report", "compared")),
    Step(
        "compare-named",
        (
            *("compare", "plain.yaml", "--methods", "lora,qlora,prompt,p-tuning,full"),
            *("--out", "named", "--train.lr", 0.001),
        ),
        ("named/*/adapter/adapter_model.safetensors", "named/*/model/model.safetensors"),
    ),
    Step(
        "curve",
        (
            *("data", "curve", "--data", "rows.jsonl", *BASE, "--dtype", "float32"),
            *(
                "--device",
                "cpu",
                "--train.lr",
                0.003,
                "--train.steps",
                4,
                "--train.rows_per_step",
                3,
            ),
            *("--train.tokens_per_micro_batch", 4096, "--train.recompute", "none"),
            *("--train.retention", "none"),
            *("--method.rank", 2, "--evaluate.checks", f"[{CHECK}]", "--data.eval", 0.25),
            *("--evaluate.max_new_tokens", 6, "--shares", "0.5,1", "--out", "curve"),
        ),
    ),
)
