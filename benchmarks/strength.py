"""What a result keeps and forgets at a share of its strength: scores, held-out loss, perplexity.

    python -m benchmarks.strength RUN... [--shares 1 0.8 0.6 0.4] [--rows 100]

RUN is the folder of a finished run of LoRA, QLoRA or full fine-tuning with a check and held-out
rows, at full strength.
"""

import argparse
import statistics
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.asked import texts
from tunesmith.adapters import store
from tunesmith.adapters.loaded_base import LoadedBase, attach_folder, open_base
from tunesmith.config import RunConfig
from tunesmith.config.evaluate import ForgettingSettings
from tunesmith.config.load import load_run_config
from tunesmith.core.progress import SILENT
from tunesmith.evaluation.answering import Respondent
from tunesmith.evaluation.answers import questions_of, with_answer_length
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.overfitting_evidence import sample_rows
from tunesmith.evaluation.probe_run import ProbeRun
from tunesmith.methods import table
from tunesmith.methods.adapter import Adapter
from tunesmith.runs import result
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.result import open_for
from tunesmith.runs.rows import load_rows
from tunesmith.runs.selection import rise_of


def main() -> None:
    """A table for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--shares", nargs="+", type=float, default=[1.0, 0.8, 0.6, 0.4])
    parser.add_argument("--rows", type=int, default=100, help="held-out rows that are answered")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for run in given.runs:
        print(
            f"\n{run}\n| share | score | held-out loss | wikitext |\n|---|---|---|---|", flush=True
        )
        measure(RunFolder(run), given.shares, given.rows)


def measure(run: RunFolder, shares: list[float], rows: int) -> None:
    """A line for each share, and one for the base."""
    config = load_run_config(run.config, {})
    loaded = open_for(config, progress=SILENT)
    (check,) = build_checks(config.evaluate.checks[:1])
    read = load_rows(
        config.data, loaded.tokenizer(None), context=loaded.base.context, seed=config.train.seed
    )
    questions = questions_of(read.held_conversations, loaded.base.tokenizer, limit=rows)
    measured = sample_rows(read)
    probing = ProbeRun(loaded, ForgettingSettings(probes=("wikitext",)), seed=0)
    probing.score_base()
    start = {n: p.detach().clone() for n, p in loaded.engine.model.named_parameters()}
    adapter, tensors = trained(run, config, loaded)
    name = adapter.name if adapter.frozen_base else None
    for share in [*shares, 0.0]:
        store.put_(adapter, tensors)
        table.scale_down_(adapter, share, lambda: start)
        forgotten = probing.forgetting(name)
        assert forgotten is not None
        rise = rise_of(forgotten)
        said = texts(
            loaded,
            questions,
            adapter=name,
            limit=with_answer_length(config, read.held).evaluate.longest_answer,
        )
        pairs = zip(said, questions, strict=True)
        score = statistics.mean(check.score(text, each.reference) for text, each in pairs)
        losses = measured.losses(loaded, Respondent(name))
        loss = statistics.mean(losses.held)
        print(f"| {share:g} | {100 * score:.1f} | {loss:.3f} | {rise:+.3f} nats |", flush=True)


def trained(
    run: RunFolder, config: RunConfig, loaded: LoadedBase
) -> tuple[Adapter, Mapping[str, Tensor]]:
    """What the run trained, attached, and its tensors."""
    if run.adapter.is_dir():
        adapter = attach_folder(loaded, run.adapter, name="tuned")
        return adapter, {n: p.detach().clone() for n, p in adapter.parameters.items()}
    adapter = result.attach(loaded, config, name="tuned")
    whole = open_base(str(run.model), dtype=config.dtype, device=config.device)
    return adapter, dict(whole.engine.model.named_parameters())


if __name__ == "__main__":
    main()
