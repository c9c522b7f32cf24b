"""A refusal reads well from a command line and from Python."""

import pickle

import pytest

from tunesmith.core.errors import DataError, RunError, is_command_line, keywords_of
from tunesmith.data.faults import Fault, FaultyData


@pytest.mark.parametrize(
    ("remedy", "keywords"),
    [
        ("Name another folder with --out.", "out=..."),
        ("Resume it with `tunesmith train --resume runs/a`.", "resume=..."),
        ("Add it, or map it with --data.map answer=source.", 'settings={"data.map": ...}'),
        (
            "Give --data.eval 0.1, --data.drop empty, or --model NAME.",
            'model=..., settings={"data.eval": ..., "data.drop": ...}',
        ),
        ("`tunesmith train --help` lists every key.", ""),
        ("Free space.", ""),
    ],
)
def test_a_remedys_flags_have_their_keywords(remedy, keywords):
    assert keywords_of(remedy) == keywords


def test_python_is_told_the_keyword_and_a_command_line_is_not():
    error = RunError("runs/a holds a run already.", remedy="Name another folder with --out.")
    said = "runs/a holds a run already. Name another folder with --out."
    assert str(error) == f"{said} In Python: out=..."
    token = is_command_line.set(True)
    try:
        assert str(error) == said
    finally:
        is_command_line.reset(token)


def test_errors_can_be_sent_to_other_processes():
    faulty = FaultyData([Fault("empty", "There is nothing.", "Write something.", "rows.jsonl", 3)])
    for error in (faulty, DataError("No rows.", remedy="Add some.", code="none")):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert str(copy) == str(error)
        assert vars(copy) == vars(error)
