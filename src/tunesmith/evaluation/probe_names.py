"""Which names of probes are known: bundled ones, their groups, files, and tasks of lm-eval."""

from pathlib import Path

from tunesmith.core.errors import ConfigError

KNOWLEDGE = ("arc_easy", "piqa", "copa", "wikitext")
ABILITIES = (
    "instructions",
    "refusals",
    "benign",
    "tools",
    "no_tools",
    "korean",
    "spanish",
    "free_answers",
)
TEXTS = ("korean_text", "spanish_text")
GROUPS = {"default": KNOWLEDGE, "abilities": ABILITIES}
BUNDLED = (*KNOWLEDGE, *ABILITIES, *TEXTS)  # probes/README.md
LM_EVAL = "lm_eval:"


def is_probe_file(name: str) -> bool:
    """Whether a name means a file; ConfigError where it means no probe at all."""
    if name in GROUPS or name in BUNDLED or name.startswith(LM_EVAL):
        return False
    if Path(name).suffix or Path(name).exists():
        return True
    raise ConfigError(
        f"evaluate.forgetting.probes: there is no probe `{name}`.",
        remedy=f"Bundled are {', '.join(BUNDLED)}, in groups {', '.join(GROUPS)}; a file is "
        f"named by its path; a task of lm-eval is {LM_EVAL}NAME.",
    )
