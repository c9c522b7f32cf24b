"""The field's words are used, and not those that we had in their place (CONTRIBUTING.md, Words)."""

import re

import pytest

from tests.source import ROOT

# What is searched for, and what to write instead; in quotes it may be a name that is on disk.
BANNED = {
    r"\b[Gg]o(es|ing|ne)?[ _]on\b|\b[Ww]ent on\b": "resume, continue from",
    r"(?<![\"`\[])\bjudg(e|ed|es|ing)\b|Judge\b": "evaluate, evaluator, assess, score",
    r"\btold\b|(\b|_)told_": "reported, described, warned",
    r"\bforetell|\bforetold": "estimate",
    r"\bgathered\b|\blook(s|ed)?[ _]over\b|\b[Oo]verview\b": "load, analyze, a report",
    r"\bvoice_of\b|\bvoices?\b(?! a)|\bVoice\b": "participant, fingerprint",
    r"\bkin\b|\bkeeps_little\b": "prefix group, recompute",
    r"\bharmless\b|\bCutting\b|\bOpened\b|\b(MOST|FEWEST|LEAST)_": "sanitize, ChunkConfig, MAX_X",
    r"(?<![\"`])\bweaken|\bfull strength\b|\bits strength\b|\bstrength of\b": "scale down, scale",
    r"\bby heart\b|\bpast its best\b|\bstill falling\b": "memorized, overfit, underfit",
    r"(?<![\"`])\bover-?tuning\b": "overfitting",
    r"\b(4|four|8|16) bits?\b(?! (a|per))": "4-bit, in 16-bit precision",
    r"\bstands?\b|\bstood\b|\bstanding\b": "is, is set to, lies, appears",
    r"\bmend(s|ed|ing|able)?\b|_mend\b|\bmend_": "fix",
    r"\b(leav\w+|left|refus\w+|ignor\w+) (\w+ )?(out )?by name\b": "skips, refuses",
    r"\bcheckpoint_steps\b|\bearly_stop\b|\bstart_text\b": "save_steps, patience, init_text",
    r"\btrain\.clip\b|\bmethod\.start\b": "train.max_grad_norm, method.init",
    r"--(again|among|none)\b|\btoo_long: (refuse|cut)\b": "--retry-failed, --top-k, overflow",
}
# A term of the field among them, or the table of old names itself.
EXCEPTIONS = {
    r"\bjudg": (
        "evaluation/checks/",
        "config/checks",
        "api/settings.py",
        "docs/checks.md",
        "core/messages",
    ),
    r"\bstands?": ("checks/judge_prompts",),  # in a prompt that is part of what replies hash by
    "": ("config/renamed.py", "cli/main.py"),
}
SUFFIXES = {".py", ".md", ".yaml", ".jinja", ".txt"}


def texts():
    """Each file of code, pages and docs: its path from the root, and its lines."""
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    files += sorted((ROOT / "src" / "tunesmith").rglob("*"))
    for file in files:
        is_data = {"probes", "demo_data"} & set(file.parts)
        if file.suffix in SUFFIXES and file.name != "log.md" and not is_data:
            yield file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8").split("\n")


def found_in(name, lines):
    for number, line in enumerate(lines, 1):
        for pattern, instead in BANNED.items():
            allowed = [w for key, w in EXCEPTIONS.items() if not key or key in pattern]
            if any(part in name for words in allowed for part in words):
                continue
            if match := re.search(pattern, line):
                yield f"{name}:{number}: `{match[0]}`: write {instead}"


@pytest.mark.parametrize("place", ["src/tunesmith", "docs", "README.md", "CONTRIBUTING.md"])
def test_the_words_are_the_fields(place):
    found = [
        fault
        for name, lines in texts()
        if name.startswith(place)
        for fault in found_in(name, lines)
    ]
    assert not found, "\n".join(found)


def test_what_is_banned_would_be_found():
    lines = [
        "the run goes on with it",
        "told_of_few(rows)",
        "Judge(x)",
        "`method.start`",
        "in 4 bit",
    ]
    found = {fault.split(":")[1] for fault in found_in("x.py", lines)}
    assert found == {str(number) for number in range(1, len(lines) + 1)}
    fine = ["resumes", "4-bit", "understand", "a judge's endpoint", "outstanding"]
    assert not list(found_in("evaluation/checks/judge.py", fine))
