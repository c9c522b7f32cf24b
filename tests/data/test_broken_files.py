"""Whatever is broken in a file: a fault at its true line, the others read, no error, no hang."""

import random
import re
import time
from pathlib import Path

import pytest

from tests.data import breaking
from tests.data.prepared import prepare
from tests.data.tiny import CHATML, tiny_tokenizer
from tunesmith.core.errors import DataError
from tunesmith.core.language import localized
from tunesmith.data.faults import FaultyData
from tunesmith.data.files import delimited, json_document, text
from tunesmith.data.read import scan

FEW, MANY = 320, 2000
MAX_SECONDS, MAX_GROWTH_BYTES = 20, 400 << 20
MAKERS = (breaking.json_lines, breaking.document, breaking.table, breaking.anywhere)
STATUS = Path("/proc/self/status")
HANGUL = re.compile("[가-힣]")
WORKBOOK = Path(__file__).parent / "messy_tables" / "simple.xlsx"


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer(CHATML)


@pytest.fixture(autouse=True)
def small_rows(monkeypatch):
    """Rows are huge at a size that is quickly made; chunks are smaller than a file."""
    for module in (delimited, json_document, text):
        monkeypatch.setattr(module, "MAX_ROW_BYTES", breaking.MAX_ROW_BYTES)
    monkeypatch.setattr(text, "CHUNK_BYTES", 4096)


def peak_bytes():
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    return next((int(s.split()[1]) << 10 for s in lines if s.startswith("VmHWM")), 0)


def faults_of(path, tokenizer):
    """Every fault of reading and rendering, and the lines of the rows that are sound."""
    reading = scan(path)
    faults = list(reading.faults)
    try:
        rows = prepare(tokenizer, reading.conversations, max_tokens=100_000)
        return faults, set(rows.lines.tolist())
    except FaultyData as error:
        rendered = {c.line for c in reading.conversations} - {f.line for f in error.faults}
        return faults + error.faults, rendered
    except DataError:
        return faults, set()


def check(broken, path, tokenizer):
    path.write_bytes(broken.data)
    start = time.process_time()
    faults, sound = faults_of(path, tokenizer)
    assert time.process_time() - start < MAX_SECONDS, broken.what
    for fault in faults:
        assert str(path) in str(fault)
        assert fault.message
        assert fault.remedy
        assert len(str(fault)) < 5000
    if broken.line is not None:
        assert {fault.line for fault in faults} == {broken.line}, (broken.what, faults[:3])
        assert len(sound) >= breaking.ROWS - 2
        assert broken.line not in sound


def run(makers, count, tmp_path, tokenizer):
    before = peak_bytes()
    for seed in range(count):
        rng = random.Random(seed)
        broken = makers[seed % len(makers)](rng)
        try:
            check(broken, tmp_path / f"{seed}-{broken.name}", tokenizer)
        except Exception as error:
            error.add_note(f"seed {seed}: {broken.what} of {broken.name}")
            raise
    assert peak_bytes() - before < MAX_GROWTH_BYTES


def test_a_broken_row_is_a_fault_at_its_line_and_others_are_read(tmp_path, tokenizer):
    run(MAKERS, FEW, tmp_path, tokenizer)


@pytest.mark.slow
def test_two_thousand_broken_files(tmp_path, tokenizer):
    run(MAKERS, MANY, tmp_path, tokenizer)


def test_every_fault_and_its_remedy_have_korean_words(tmp_path, tokenizer):
    lacking = set()
    for seed in range(120):
        broken = MAKERS[seed % len(MAKERS)](random.Random(seed))
        path = tmp_path / f"{seed}-{broken.name}"
        path.write_bytes(broken.data)
        texts = {text for f in faults_of(path, tokenizer)[0] for text in (f.message, f.remedy)}
        lacking |= {text for text in texts if text and not HANGUL.search(localized(text, "ko"))}
    assert not lacking


def break_workbook(rng):
    return breaking.workbook(rng, WORKBOOK.read_bytes())


def test_a_broken_workbook_ends_nothing(tmp_path, tokenizer):
    run([break_workbook], 6, tmp_path, tokenizer)


@pytest.mark.slow
def test_two_hundred_broken_workbooks(tmp_path, tokenizer):
    run([break_workbook], 200, tmp_path, tokenizer)


@pytest.mark.parametrize("make", MAKERS[:3])
def test_what_is_broken_was_sound_before(tmp_path, tokenizer, make, monkeypatch):
    """The files hold as many sound rows as the faults of others leave."""
    lines = set()
    for seed in range(40):
        broken = make(random.Random(seed))
        path = tmp_path / f"{seed}-{broken.name}"
        path.write_bytes(broken.data)
        lines |= faults_of(path, tokenizer)[1]
    assert len(lines) >= breaking.ROWS
