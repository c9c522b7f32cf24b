"""How a result is evaluated on held-out rows: against what, by which rules and measures."""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from tunesmith.config.checks import DEFAULT_EMBEDDER, RULES, Checks
from tunesmith.config.endpoint import HostedSettings
from tunesmith.config.settings import Settings, TogetherError


class ForgettingSettings(Settings):
    """Probes of general ability, base against tuned, and how much each may lose."""

    probes: tuple[str, ...] = Field(
        ("default",),
        min_length=1,
        description="bundled ones (default: what the base knows; abilities: how it answers), "
        "files, or lm_eval:TASK",
    )
    accuracy_points: float = Field(
        3.0, gt=0, le=100, description="points of accuracy on the probes' questions"
    )
    perplexity_percent: float = Field(
        5.0, gt=0, description="per cent that the perplexity of plain text may rise"
    )
    passed_points: float = Field(
        10.0, gt=0, le=100, description="points of the probes' prompts that are answered by rule"
    )
    scale: Literal["auto", "none"] = Field(
        "auto",
        description="auto: what forgets more is scaled down as far as needed; none: it is not",
    )


class ConsistencySettings(Settings):
    """Answers drawn again at a temperature, and answers to the same in other words."""

    samples: int = Field(
        5, ge=0, le=100, description="answers drawn for each question, two or more; 0 for none"
    )
    temperature: float = Field(
        0.7, gt=0, le=5, allow_inf_nan=False, description="at which they are drawn"
    )
    rows: int = Field(40, ge=1, description="held-out questions that are asked again, at most")
    paraphrases: int = Field(
        3, ge=0, le=5, description="other ways to put a question, made by rules; 0 for none"
    )
    paraphrases_from: str | None = Field(
        None, description='file of {"query": ..., "paraphrases": [...]}, which come first'
    )
    meaning: str | None = Field(
        None,
        description=f"embedding model that compares meanings, as {DEFAULT_EMBEDDER}; null: none",
    )
    minutes: float = Field(
        3.0, gt=0, allow_inf_nan=False, description="longest time, over all arms together"
    )

    @model_validator(mode="after")
    def _something_is_asked(self) -> "ConsistencySettings":
        if self.samples == 1:
            raise ValueError("one sample agrees with nothing: give samples 2 or more, or 0")
        if not self.samples and not self.paraphrases and self.paraphrases_from is None:
            raise ValueError("nothing is asked again: write consistency: none")
        return self


class KnowledgeSettings(Settings):
    """Facts asked closed-book: those of training rows in other words, and held-out ones."""

    questions: str | None = Field(
        None,
        description='file of {"query": ..., "answer": ...}: training facts in other words; '
        "null: made by rules, where the training answers look like facts",
    )
    rows: int = Field(60, ge=2, description="facts of each kind that are asked, at most")
    max_new_tokens: int = Field(48, ge=1, description="longest answer to such a question")


OWN_ARMS = ("base", "prompted", "examples", "tuned", "previous")
# Without checks there is no answer to score, so that these change nothing.
NEED_CHECKS = (
    *("forgetting", "consistency", "knowledge"),
    *("baseline_prompt", "num_fewshot", "timed_rows", "prices", "arms"),
)


class PriceSettings(Settings):
    """What requests and training cost, in any one currency; null: not known."""

    prompt: float | None = Field(None, ge=0, description="of a million prompt tokens")
    completion: float | None = Field(None, ge=0, description="of a million tokens of answers")
    training_hour: float | None = Field(None, ge=0, description="of an hour of training")

    @model_validator(mode="after")
    def _a_request_has_both(self) -> "PriceSettings":
        if (self.prompt is None) != (self.completion is None):
            raise ValueError("a request costs by prompt and completion: give both")
        if self.training_hour is not None and self.prompt is None:
            raise ValueError("training_hour has no effect without prompt and completion")
        return self


class EvaluateSettings(Settings):
    """How the result is evaluated on held-out rows."""

    checks: Checks = Field((), description="rules; the first decides")
    rows: int = Field(
        200, ge=1, description="held-out rows that are answered, and whose losses count, at most"
    )
    max_new_tokens: int | Literal["auto"] = Field(
        "auto", description="longest answer that is generated; auto: by the data's own answers"
    )
    baseline_prompt: str | None = Field(
        None, description="the instructions that you would send instead: a text, or its file"
    )
    num_fewshot: int = Field(
        5, ge=0, description="training rows in the prompt of the arm `examples`; 0: no such arm"
    )
    arms: dict[str, HostedSettings] = Field(
        {}, description="hosted models that are asked too: {hosted: {endpoint: URL, model: NAME}}"
    )
    timed_rows: int = Field(
        5, ge=0, description="rows that are asked one by one to measure seconds; 0: none"
    )
    prices: PriceSettings = Field(
        default_factory=PriceSettings,
        description="what tokens cost you: {prompt: 0.5, completion: 1.5} a million",
    )
    forgetting: ForgettingSettings | None = Field(
        default_factory=ForgettingSettings,
        description="probes of what training may cost: default, none, or its keys",
    )
    consistency: ConsistencySettings | None = Field(
        default_factory=ConsistencySettings,
        description="whether answers agree when asked again: default, none, or its keys",
    )
    knowledge: KnowledgeSettings | None = Field(
        default_factory=KnowledgeSettings,
        description="facts asked in other words: default (where answers are facts), none, a file",
    )

    @field_validator("max_new_tokens")
    @classmethod
    def _an_answer_has_a_token(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be 1 or more")
        return value

    @property
    def checked_by(self) -> Literal["rule", "reference"] | None:
        """Whether the first check, which decides, is a rule about the answer alone or compares it
        with a reference; None without one, and where it is an opinion.
        """
        if not self.scores_in_training:
            return None
        return "rule" if isinstance(self.checks[0], RULES) else "reference"

    @property
    def scores_in_training(self) -> bool:
        """Whether the first check needs neither the base's answers nor another model's opinion."""
        return bool(self.checks) and self.checks[0].kind not in ("style", "judge")

    @property
    def longest_answer(self) -> int:
        """Tokens of the longest answer, once they are chosen (`evaluation.answers`)."""
        assert self.max_new_tokens != "auto", "chosen before: evaluation.answers.py"
        return self.max_new_tokens

    @field_validator("forgetting", mode="before")
    @classmethod
    def _a_word_or_a_list_means_probes(cls, value: object) -> object:
        if value == "none":
            return None
        if isinstance(value, str | list | tuple):
            return {"probes": [value] if isinstance(value, str) else value}
        return value

    @field_validator("consistency", mode="before")
    @classmethod
    def _a_word_turns_it_on_or_off(cls, value: object) -> object:
        if isinstance(value, str) and value not in ("none", "default"):
            raise ValueError("must be default, none, or keys such as samples and rows")
        return None if value == "none" else {} if value == "default" else value

    @field_validator("knowledge", mode="before")
    @classmethod
    def _a_word_means_a_file(cls, value: object) -> object:
        if value in ("none", "default"):
            return None if value == "none" else {}
        return {"questions": value} if isinstance(value, str) else value

    @field_validator("baseline_prompt")
    @classmethod
    def _a_prompt_says_something(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("is empty: give the instructions, or their file")
        return value

    @field_validator("arms")
    @classmethod
    def _arms_have_names_of_their_own(
        cls, value: dict[str, HostedSettings]
    ) -> dict[str, HostedSettings]:
        for name in value:
            if name in OWN_ARMS or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
                raise ValueError(
                    f"`{name}` cannot be the name of a further arm: take letters, digits, `-`, "
                    f"`_` and `.`, and none of {', '.join(OWN_ARMS)}"
                )
        return value

    @model_validator(mode="after")
    def _instructed_arms_have_instructions(self) -> "EvaluateSettings":
        asked = [name for name, arm in self.arms.items() if arm.instructed]
        if asked and self.baseline_prompt is None:
            what = f"arms.{asked[0]}.instructed has no effect without baseline_prompt"
            raise TogetherError(what, "arms", "baseline_prompt")
        return self

    @model_validator(mode="after")
    def _arms_need_checks(self) -> "EvaluateSettings":
        """Without checks nothing is answered, and there is no verdict; 0 turns a thing off."""
        fields = type(self).model_fields
        without = [
            name
            for name in NEED_CHECKS
            if getattr(self, name)
            not in (None, 0, {}, fields[name].get_default(call_default_factory=True))
        ]
        if not self.checks and without:
            names = " and ".join(without)
            what = (
                f"{names} has no effect without checks: it is part of the verdict"
                if len(without) == 1
                else f"{names} have no effect without checks: they are part of the verdict"
            )
            raise TogetherError(what, *without)
        return self
