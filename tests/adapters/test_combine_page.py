"""What docs/combine.md shows runs as it stands, on tiny adapters."""

import re
from pathlib import Path

import pytest

from tests.adapters.combining import MIXED, make
from tunesmith.adapters import combine_rules
from tunesmith.adapters.combine_rules import EntryRule
from tunesmith.adapters.sources import read

PAGE = Path(__file__).resolve().parents[2] / "docs" / "combine.md"


def test_the_code_of_the_page_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    folders = make(tmp_path / "made", MIXED)
    for run, made in (("intents", "plain"), ("tone", "rslora")):
        (tmp_path / "runs" / run).mkdir(parents=True)
        folders[made].rename(tmp_path / "runs" / run / "adapter")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(PAGE), "exec"), {})
    *_, error = capsys.readouterr().out.split()
    assert 0 <= float(error) < 1
    assert read(tmp_path / "runs" / "both").shapes


@pytest.mark.parametrize("kind", combine_rules.METHODS)
def test_the_page_has_every_method_and_its_settings(kind):
    method = combine_rules.made(kind)
    described = combine_rules.described(method)
    settings = ", ".join(f'"{kind}"' if key == "kind" else key for key in described)
    if not isinstance(method, EntryRule):
        settings = ", ".join(key for key in described if key != "kind")
    name = "rule" if isinstance(method, EntryRule) else type(method).__name__
    assert f"| `{name}({settings})` |" in PAGE.read_text(encoding="utf-8")
