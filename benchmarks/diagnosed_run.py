"""Train a run of a config, unless it is there already, and say of it all that is measured."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tunesmith as ts
from tunesmith.adapters.loaded_base import LoadedBase, attach_folder
from tunesmith.config import RunConfig, load_run_config
from tunesmith.core.errors import TunesmithError
from tunesmith.core.progress import SILENT
from tunesmith.data.dataset import RunRows
from tunesmith.evaluation.answering import Respondent
from tunesmith.evaluation.capacity import Capacity, capacity_of
from tunesmith.evaluation.knowledge import ask_facts, fact_sheet, knowledge_from
from tunesmith.evaluation.overfitting import Overfitting, assess_overfitting
from tunesmith.evaluation.overfitting_evidence import (
    Answered,
    ArmLosses,
    Evidence,
    evidence_of,
    sample_rows,
)
from tunesmith.runs.evaluation_files import training_history
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.result import open_for
from tunesmith.runs.rows import load_rows

NAME = "default"


def train_or_resume(folder: RunFolder, config: RunConfig | Mapping[str, object]) -> None:
    """Train a run that is not there, or resume it."""
    if folder.config.exists():
        ts.train(resume=folder.path)
    else:
        ts.train(config=config)


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run over its base; ``error`` in place of an adapter where training broke off."""

    config: RunConfig
    folder: RunFolder
    loaded: LoadedBase
    rows: RunRows
    error: str | None = None


def trained(values: Mapping[str, Any]) -> Trained:
    """Train, or go on where it was interrupted; a run that is complete is left as it is."""
    config = load_run_config(None, dict(values))
    folder = RunFolder(Path(str(config.out)))
    broke = folder.path / "broke.txt"
    error = broke.read_text(encoding="utf-8") if broke.exists() else None
    if error is None and not folder.adapter.is_dir():
        try:
            train_or_resume(folder, config)
        except TunesmithError as refusal:
            if refusal.code != "loss":
                raise
            error = str(refusal)
            broke.write_text(error, encoding="utf-8")
    loaded = open_for(config, progress=SILENT)
    if error is None:
        attach_folder(loaded, folder.adapter, name=NAME)
    rows = load_rows(
        config.data,
        loaded.tokenizer(NAME if error is None else None),
        context=loaded.base.context,
        seed=config.train.seed,
    )
    return Trained(config, folder, loaded, rows, error)


def diagnosis_of(values: Mapping[str, Any]) -> tuple[Overfitting, Capacity | None]:
    """Over-tuning and capacity of a run."""
    run = trained(values)
    width = run.loaded.engine.model.config.hidden_size
    course = training_history(
        run.folder, run.config.method, width=width, broken=run.error is not None
    )
    if run.error is not None:
        passes = course.tokens / run.rows.train.tokens
        evidence = Evidence(course.curves, passes, len(run.rows.train), rate=course.rate)
        return assess_overfitting(evidence), None
    capacity = capacity_of(run.loaded.engine, NAME)
    rows, loaded = sample_rows(run.rows), run.loaded
    base = rows.base_losses(loaded)
    whole = evidence_of(
        run.rows,
        course,
        ArmLosses(rows.losses(loaded, Respondent(NAME)), base),
        answered=_answered(run.folder),
        capacity=capacity,
        seed=run.config.train.seed,
    )
    return assess_overfitting(whole), capacity


def knowledge_of(values: Mapping[str, Any]) -> dict[str, object] | None:
    """What is said of a run's facts; None where its answers do not look like facts."""
    run = trained(values)
    settings = run.config.evaluate.knowledge
    assert settings is not None
    sheet = fact_sheet(run.rows.sample, run.rows.held_conversations, settings)
    if sheet is None:
        return None
    arms = [ask_facts(run.loaded, sheet, settings, who=Respondent(arm)) for arm in (None, NAME)]
    assert arms[0] is not None
    assert arms[1] is not None
    return knowledge_from(sheet, arms[0], arms[1], seed=run.config.train.seed).to_json()


def _answered(folder: RunFolder) -> Answered | None:
    if not folder.answers.exists():
        return None
    lines = folder.answers.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return Answered([row["answers"]["tuned"] for row in rows], [row["reference"] for row in rows])
