"""A run's folder as a finished and judged run leaves it, small and made up."""

import json
from pathlib import Path

import yaml


def scored(score: float | None, n: int = 50) -> dict[str, object]:
    if score is None:
        return {"score": None, "low": None, "high": None, "n": 0}
    return {"score": score, "low": max(0.0, score - 0.1), "high": min(1.0, score + 0.1), "n": n}


def finding(probe: str, measure: str, change: float, outcome: str) -> dict[str, object]:
    return {
        "probe": probe,
        "measure": measure,
        "base": 0.5,
        "tuned": 0.5 + change,
        "difference": change,
        "low": change - 0.02,
        "high": change + 0.02,
        "margin": 0.03,
        "outcome": outcome,
        "n": 300,
    }


def arm(score: float, tokens: int) -> dict[str, object]:
    return {
        "prompt_tokens": tokens,
        "seconds_per_answer": tokens / 100,
        "checks": {"label": scored(score), "style": scored(None)},
    }


def rates(share: float) -> dict[str, object]:
    zero = scored(0.0)
    return {"any": scored(share), "itself": scored(share), "question": zero, "one_for_all": zero}


def evaluation() -> dict[str, object]:
    return {
        "verdict": {
            "answer": "yes",
            "text": "Yes: 97 % of answers now pass.",
            "texts": {"ko": "예: 이제 답변의 97%가 통과합니다."},
            "skill": {"answer": "yes", "text": "Skill: yes, +94 points over the base."},
            "elsewhere": {"answer": "lost", "text": "Elsewhere: lost."},
        },
        "arms": {"base": arm(0.03, 40), "prompted": arm(0.44, 252), "tuned": arm(0.97, 40)},
        "forgetting": [
            finding("piqa", "accuracy", -0.01, "kept"),
            finding("wikitext", "perplexity", 0.4, "forgotten"),
        ],
        "consistency": {
            "samples": {
                "questions": 30,
                "arms": {"base": {"passes": scored(0.1)}, "tuned": {"passes": scored(0.9)}},
            },
            "paraphrases": None,
            "text": "Asked again it answers alike.",
        },
        "degeneration": {
            "found": ["any", "itself"],
            "arms": {"base": rates(0.0), "tuned": rates(0.6)},
            "references": rates(0.0),
            "text": "But 60 % of its answers are degenerate.",
        },
        "knowledge": None,
        "overfitting": {"text": "Nothing was learned by heart."},
        "capacity": {
            "rank": 4,
            "rank_for_99": 2,
            "energy_shares": [0.7, 0.995, 0.999, 1.0],
            "layers": [{"layer": "q", "rank": 4, "singular_values": [3.0, 1.0, 0.1, 0.0]}],
            "text": "2 of 4 directions hold 99 %.",
        },
    }


def answers() -> list[dict[str, object]]:
    fails = {"base": ["label"], "tuned": []}
    return [
        {
            "question": "where is <b>my</b> card?",
            "answers": {
                "base": "It is </script><script>alert(1)</script> here",
                "tuned": "card_arrival",
            },
            "reference": "card_arrival",
            "failed": fails,
        },
        {
            "question": "한국어 질문\x07",
            "answers": {"base": "card_arrival", "tuned": "lost card"},
            "reference": "card_arrival",
            "failed": {"base": [], "tuned": ["label"]},
            "degenerate": {"base": [], "tuned": ["itself"]},
        },
    ]


def write_run(path: Path, **changed: object) -> Path:
    """A run's folder; ``evaluation`` or ``answers`` may be given, None leaves the file out."""
    path.mkdir(parents=True, exist_ok=True)
    config = {
        "goal": "Name the <intent>",
        "model": "smollm2-135m-instruct",
        "data": {"train": [{"path": "a.jsonl", "weight": 1}]},
        "method": {"kind": "lora"},
    }
    (path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    lines("metrics.jsonl", path, [{"step": i, "loss": 3.0 / i} for i in range(1, 31)])
    events: list[dict[str, object]] = [
        {"event": "planned", "trainable_parameters": 4_884_480},
        {"event": "notice", "message": "few rows"},
        {"event": "notice", "message": "few rows"},
        {"event": "heldout", "step": 30, "loss": 0.2},
    ]
    lines("events.jsonl", path, events)
    summary = {"steps": 30, "seconds": 75.0, "peak_bytes": 2_000_000_000, "adapter": "adapter"}
    (path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    (path / "environment.json").write_text(json.dumps({"tunesmith": "0.1.0"}), encoding="utf-8")
    judged = changed.get("evaluation", evaluation())
    if judged is not None:
        (path / "evaluation.json").write_text(json.dumps(judged), encoding="utf-8")
    rows = changed.get("answers", answers())
    if rows is not None:
        lines("answers.jsonl", path, rows)  # type: ignore[arg-type]
    return path


def write_comparison(path: Path) -> Path:
    """Three runs that were compared, one of which failed."""
    runs: list[dict[str, object]] = []
    for name, score, size in (("lora", 0.97, 2e7), ("prompt", 0.6, 5e4), ("full", None, None)):
        write_run(path / name)
        limits = scored(score)
        runs.append(
            {
                "name": name,
                "method": name,
                **{key: limits[key] for key in ("score", "low", "high")},
                "adapter_bytes": size,
                "peak_bytes": size and 2e9 + size,
                "eval_loss": 0.5,
                "trainable_parameters": 1000,
                "error": None if score else "out of memory",
            }
        )
    document = {"names": [run["name"] for run in runs], "runs": runs, "base": scored(0.1)}
    (path / "comparison.json").write_text(json.dumps(document), encoding="utf-8")
    return path


def clash() -> dict[str, object]:
    """What `adapters conflicts --json` prints of two adapters of four blocks."""
    measures = ("sign_conflict", "input_overlap", "output_overlap", "chance_overlap")
    layers = [
        {
            "layer": f"model.layers.{i}.{part}",
            "depth": i,
            "kind": part.rpartition(".")[2],
            "cosine": 0.3 - 0.2 * i,
            **dict.fromkeys(measures, 0.4 + 0.1 * i),
        }
        for i in range(4)
        for part in ("self_attn.q_proj", "mlp.down_proj")
    ]
    empty = dict.fromkeys(("cosine", *measures), float("nan"))
    head = {"layer": "lm_head", "depth": None, "kind": "lm_head", **empty}
    whole = {"a": "intents", "b": "tone", "cosine": -0.125, **dict.fromkeys(measures, 0.58)}
    drop = {"mean": 0.31, "low": 0.2, "high": 0.42, "n": 50}
    linear = {**scored(0.6), "drop": drop}
    arms = {"base": scored(0.1), "alone": scored(0.91), "linear": linear}
    return {
        "pairs": [{**whole, "layers": [*layers, head]}],
        "verdict": {"answer": "clash", "text": "Layers 2-3 pull in opposite directions."},
        "scores": [{"adapter": "intents", "check": "exact", "rows": 50, "arms": arms}],
        "tried": [{"name": "linear", "error": 0.123}],
        "left_out": {"tone": "its run has no <checks>"},
        "side_by_side": "tunesmith chat --adapter runs/intents --adapter runs/tone",
    }


def retrieved() -> dict[str, object]:
    """What `rag evaluate --json` prints, with an adapter."""
    limits = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 50}
    scores = ("exact_match", "f1", "refusal", "false_refusal", "refused_shown")
    cited = ("citation_precision", "faithfulness")

    def cell(f1: float, *names: str) -> dict[str, object]:
        intervals = dict.fromkeys((*scores, *names), limits)
        return {"f1": f1, "low": f1 - 0.1, "high": f1 + 0.1, "intervals": intervals}

    gated = {"with_threshold": cell(0.33, *cited)}
    cells = {
        "base": cell(0.11),
        "tuned": cell(0.22),
        "base_rag": {**cell(0.44, *cited), **gated},
        "tuned_rag": {**cell(0.77, *cited), **gated},
    }
    added = {"mean": 0.661, "low": 0.5, "high": 0.8, "n": 50}
    says = {"text": "Both: <66> points.", "texts": {"en": "Both: <66> points.", "ko": "둘 다"}}
    measures = {"recall_at_1": 0.944, "recall_at_5": 0.992, "mrr": 0.966, "ndcg_at_10": 0.973}
    return {
        "questions": 50,
        "unanswerable": 15,
        "no_passage": 2,
        "retrieval": dict.fromkeys(("dense", "text", "hybrid"), measures),
        "cells": cells,
        "threshold": 0.5,
        "fitted_threshold": {"score": 0.41, "false_refusals": 0.1, "refusals": 0.8},
        "effects": {"both": {"f1": added, "exact_match": added, **says}},
    }


def lines(name: str, folder: Path, rows: list[dict[str, object]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / name).write_text(text, encoding="utf-8")
