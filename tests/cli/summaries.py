"""A run's summary as `runs.run` gives it, without loading what makes it."""

from dataclasses import asdict, dataclass

IN_MEMORY = ("answers", "trackers")


@dataclass(frozen=True)
class Summary:
    run: str = "runs/a b"
    adapter: str | None = "runs/a b/adapter"
    steps: int = 120
    tokens: int = 491_520
    train_loss: float = 0.5
    eval_loss: float | None = 0.75
    tokens_per_second: float | None = 745.4
    peak_bytes: int = 2_100_000_000
    seconds: float = 660.0
    evaluation: dict | None = None
    reason: str = "done"
    notices: tuple[str, ...] = ()
    answers: "Answers | None" = None
    trackers: None = None

    @property
    def report(self) -> str:
        return f"{self.run}/report.html"

    def to_json(self) -> dict:
        return {
            key: value for key, value in asdict(self).items() if key not in ("answers", "trackers")
        }


@dataclass
class Answers:
    """What a run's questions were answered, as the closing lines read it."""

    count: int = 5

    def rows(self):
        answers = {"base": "Dunno\n\x1b[2J.", "tuned": "On its way."}
        row = {
            "question": "Where is it?",
            "answers": answers,
            "reference": "It is on its way.",
        }
        return iter([row] * self.count)


def score(mean, low, high, n=50):
    return {"score": mean, "low": low, "high": high, "n": n}


EVALUATION = {
    "arms": {
        "base": {"checks": {"json": score(0.1, 0.04, 0.2)}},
        "tuned": {"checks": {"json": score(0.9, 0.8, 0.96)}},
    },
    "differences": {"json": {"base": {"mean": 0.8, "low": 0.65, "high": 0.9, "n": 50}}},
}
