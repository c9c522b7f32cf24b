"""From the runs of a workload to medians, ratios and a table."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.measure import UNCOUNTED_STEPS
from benchmarks.plan import OURS, Goal, Side, Work

# One run: a side's JSON line, or {"skipped": why}. One round: every side once, by name.
Run = dict[str, Any]
Round = dict[str, Run]
NAMES = {"tokens_per_second": "tokens per second", "peak_bytes": "peak memory"}


def summarise(
    work: Work, sides: Sequence[Side], rounds: Sequence[Round], step_flops: Sequence[int]
) -> dict[str, Any]:
    """Medians of each side, the ratios asked for, the share of the machine's rate."""
    rates = [r["matrix rate"] for r in rounds]
    matrix = {d: statistics.median(r[d] for r in rates) for d in ("bfloat16", "float32")}
    figures = {side.name: _side([r[side.name] for r in rounds]) for side in sides}
    for side in sides:
        mine = figures[side.name]
        if mine["tokens_per_second"] and not side.own_rows:
            rate = statistics.median(_sustained(run, step_flops) for run in mine["runs"])
            mine["gigaflops"] = rate
            mine["share_of_bfloat16_rate"] = rate / matrix["bfloat16"]
    return {
        "title": work.title,
        "repeats": len(rounds),
        "steps": len(step_flops),
        "gigaflops_per_step": [flops / 1e9 for flops in step_flops],
        "matrix_gigaflops": matrix,
        "sides": figures,
        "goals": [_judge(goal, figures, rounds) for goal in work.goals],
    }


def _side(runs: Sequence[Run]) -> dict[str, Any]:
    done = [run for run in runs if "skipped" not in run]
    if not done:
        return {"skipped": runs[0]["skipped"], "tokens_per_second": None, "peak_bytes": None}
    speeds = [run["tokens_per_second"] for run in done if run["tokens_per_second"]]
    return {
        "tokens_per_second": statistics.median(speeds) if speeds else None,
        "peak_bytes": statistics.median(run["peak_bytes"] for run in done),
        "first_loss": done[0]["losses"][0],
        "last_loss": done[0]["losses"][-1],
        "runs": done,
    }


def _sustained(run: Run, step_flops: Sequence[int]) -> float:
    """GFLOP/s of the work that the counted steps needed."""
    seconds = sum(run["step_seconds"][UNCOUNTED_STEPS:])
    return float(sum(step_flops[UNCOUNTED_STEPS:]) / seconds / 1e9)


def _judge(goal: Goal, sides: dict[str, Any], rounds: Sequence[Round]) -> dict[str, Any]:
    """The ratio of medians (or ours alone), its range over the rounds, and whether it is met."""

    def ratio(of: dict[str, Any]) -> float | None:
        mine = of[OURS].get(goal.quantity)
        other = 1.0 if goal.against is None else of[goal.against].get(goal.quantity)
        return mine / other if mine and other else None

    value = ratio(sides)
    each = [r for r in (ratio(one) for one in rounds) if r is not None]
    met = None
    if value is not None:
        met = value >= goal.bound if goal.at_least else value <= goal.bound
    return {
        "quantity": goal.quantity,
        "against": goal.against,
        "value": value,
        "lowest": min(each, default=None),
        "highest": max(each, default=None),
        "bound": goal.bound,
        "met": met,
    }


def markdown(summary: dict[str, Any]) -> str:
    """A workload's table and its ratios."""
    matrix = summary["matrix_gigaflops"]
    lines = [
        f"### {summary['title']}",
        f"Medians of {summary['repeats']} rounds, {summary['steps']} steps each. The machine "
        f"multiplies at {matrix['bfloat16']:.0f} GFLOP/s in bf16, {matrix['float32']:.0f} in fp32.",
        "",
        "| side | tokens/s | peak GB | GFLOP/s needed | of bf16 rate | loss, first to last |",
        "|---|---|---|---|---|---|",
        *(_row(name, side) for name, side in summary["sides"].items()),
        "",
        *(f"- {_sentence(goal)}" for goal in summary["goals"]),
    ]
    return "\n".join(lines)


def _row(name: str, side: dict[str, Any]) -> str:
    if "skipped" in side:
        return _cells([name, side["skipped"], "", "", "", ""])
    speed, rate = side["tokens_per_second"], side.get("gigaflops")
    return _cells(
        [
            name,
            f"{speed:.0f}" if speed else "",
            f"{side['peak_bytes'] / 1e9:.2f}",
            f"{rate:.0f}" if rate else "",
            f"{side['share_of_bfloat16_rate']:.0%}" if rate else "",
            f"{side['first_loss']:.3f} to {side['last_loss']:.3f}",
        ]
    )


def _cells(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _sentence(goal: dict[str, Any]) -> str:
    absolute = goal["against"] is None
    what = NAMES[goal["quantity"]] + ("" if absolute else f" against {goal['against']}")

    def shown(value: float) -> str:
        return f"{value / 1e9:.2f} GB" if absolute else f"{value:.2f}x"

    kind = "at least" if goal["quantity"] == "tokens_per_second" else "at most"
    asked = f"asked for: {kind} {shown(goal['bound'])}"
    if goal["value"] is None:
        return f"{what}: not measured ({asked})"
    span = f"{shown(goal['lowest'])} to {shown(goal['highest'])}"
    verdict = "met" if goal["met"] else "NOT MET"
    return f"{what}: **{shown(goal['value'])}** (rounds: {span}; {asked}): {verdict}"
