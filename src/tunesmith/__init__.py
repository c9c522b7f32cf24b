"""Tunesmith: fine-tune a language model's behaviour, and prove that it worked.

``import tunesmith as ts`` loads nothing heavy: each public name is read from its file when it is
first used.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# torch's OpenMP threads wait for each other in a busy loop, which costs most of the speed where
# another process is at work. libgomp reads this once, when torch is loaded; child processes
# inherit it.
SPIN_COUNT = "GOMP_SPINCOUNT"
torch_came_first = "torch" in sys.modules and SPIN_COUNT not in os.environ
os.environ.setdefault(SPIN_COUNT, "3000")

# On CUDA, segments that grow in place: streams differ in length, and blocks of fixed sizes would
# fall to pieces. Read with the first tensor on a GPU; a user's setting has priority.
_ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
if sys.platform == "linux" and not any(name in os.environ for name in _ALLOCATOR):
    os.environ[_ALLOCATOR[0]] = "expandable_segments:True"

if TYPE_CHECKING:
    from tunesmith.api.adapters import list_adapters, show_adapter, verify
    from tunesmith.api.catalog import list_methods, list_models, pull
    from tunesmith.api.compare import Comparison, compare
    from tunesmith.api.curve import Curve, curve
    from tunesmith.api.data import check, split
    from tunesmith.api.distill import distill
    from tunesmith.api.evaluate import Evaluation, evaluate
    from tunesmith.api.export import export
    from tunesmith.api.hub import pull_adapter, push_adapter
    from tunesmith.api.load import Dialogue, Model, chat, load
    from tunesmith.api.merge import conflicts, merge
    from tunesmith.api.plan import Plan, plan
    from tunesmith.api.rag import rag
    from tunesmith.api.recommend import Recommendation, recommend
    from tunesmith.api.reproduce import Reproduction, reproduce
    from tunesmith.api.runs import list_runs, show_run, write_report
    from tunesmith.api.search import Search, search
    from tunesmith.api.settings import IA3, Full, LoRA, Prompt, PTuning, QLoRA, checks
    from tunesmith.api.setup import demo, doctor, init
    from tunesmith.api.show_data import show
    from tunesmith.api.store import Store
    from tunesmith.api.train import Run, open_run, train
    from tunesmith.config.run import RunConfig
    from tunesmith.core.errors import (
        AdapterError,
        ConfigError,
        DataError,
        MemoryRefusal,
        ModelError,
        RagError,
        RunError,
        TunesmithError,
        UsageError,
    )
    from tunesmith.core.progress import Cancelled
    from tunesmith.server.serve import Server, ServerLimits, serve

_FILES = {
    "api.adapters": ("list_adapters", "show_adapter", "verify"),
    "api.catalog": ("list_methods", "list_models", "pull"),
    "api.compare": ("Comparison", "compare"),
    "api.curve": ("Curve", "curve"),
    "api.data": ("check", "split"),
    "api.distill": ("distill",),
    "api.evaluate": ("Evaluation", "evaluate"),
    "api.export": ("export",),
    "api.hub": ("pull_adapter", "push_adapter"),
    "api.load": ("Dialogue", "Model", "chat", "load"),
    "api.merge": ("conflicts", "merge"),
    "api.plan": ("Plan", "plan"),
    "api.rag": ("rag",),
    "api.recommend": ("Recommendation", "recommend"),
    "api.reproduce": ("Reproduction", "reproduce"),
    "api.runs": ("list_runs", "show_run", "write_report"),
    "api.search": ("Search", "search"),
    "api.settings": ("Full", "IA3", "LoRA", "PTuning", "Prompt", "QLoRA", "checks"),
    "api.setup": ("demo", "doctor", "init"),
    "api.show_data": ("show",),
    "api.store": ("Store",),
    "api.train": ("Run", "open_run", "train"),
    "config.run": ("RunConfig",),
    "core.progress": ("Cancelled",),
    "core.errors": (
        "AdapterError",
        "ConfigError",
        "DataError",
        "MemoryRefusal",
        "ModelError",
        "RagError",
        "RunError",
        "TunesmithError",
        "UsageError",
    ),
    "server.serve": ("Server", "ServerLimits", "serve"),
}
_WHERE = {name: file for file, names in _FILES.items() for name in names}

__all__ = [
    "IA3",
    "AdapterError",
    "Cancelled",
    "Comparison",
    "ConfigError",
    "Curve",
    "DataError",
    "Dialogue",
    "Evaluation",
    "Full",
    "LoRA",
    "MemoryRefusal",
    "Model",
    "ModelError",
    "PTuning",
    "Plan",
    "Prompt",
    "QLoRA",
    "RagError",
    "Recommendation",
    "Reproduction",
    "Run",
    "RunConfig",
    "RunError",
    "Search",
    "Server",
    "ServerLimits",
    "Store",
    "TunesmithError",
    "UsageError",
    "chat",
    "check",
    "checks",
    "compare",
    "conflicts",
    "curve",
    "demo",
    "distill",
    "doctor",
    "evaluate",
    "export",
    "init",
    "list_adapters",
    "list_methods",
    "list_models",
    "list_runs",
    "load",
    "merge",
    "open_run",
    "plan",
    "pull",
    "pull_adapter",
    "push_adapter",
    "rag",
    "recommend",
    "reproduce",
    "search",
    "serve",
    "show",
    "show_adapter",
    "show_run",
    "split",
    "train",
    "verify",
    "write_report",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'tunesmith' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tunesmith.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
