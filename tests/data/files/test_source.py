"""Unpacking: what is inside is read as if it lay there, and never fills memory."""

import bz2
import gzip
import io
import json
import lzma
import zipfile

import pyarrow as pa
import pytest

from tunesmith.data.files import source as source_module
from tunesmith.data.records import read_records
from tunesmith.data.rows import ReadOptions

ROWS = b'{"prompt": "q1", "completion": "a1"}\n{"prompt": "q2", "completion": "a2"}\n'


def zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


PACKED = {
    "rows.jsonl.gz": gzip.compress(ROWS),
    "rows.jsonl.zst": zstd(ROWS),
    "rows.jsonl.bz2": bz2.compress(ROWS),
    "rows.jsonl.xz": lzma.compress(ROWS),
    "rows.zip": zipped({"rows.jsonl": ROWS, "__MACOSX/._rows.jsonl": b"x"}),
}


def read(tmp_path, name, data, **options):
    path = tmp_path / name
    path.write_bytes(data)
    return list(read_records(path, ReadOptions(**options)))


def codes(records):
    return [(record.problem.code, record.line) for record in records if record.problem]


@pytest.mark.parametrize("name", PACKED)
def test_packed_rows_are_the_rows(tmp_path, name):
    plain = [r for r in read(tmp_path, "rows.jsonl", ROWS) if r.values]
    packed = [r for r in read(tmp_path, name, PACKED[name]) if r.values or r.problem]
    assert packed == plain


@pytest.mark.parametrize("name", PACKED)
def test_what_is_cut_off_is_told_where_it_ends(tmp_path, name):
    many = b"".join(b'{"prompt": "%d", "completion": "%d"}\n' % (i, i * i) for i in range(30_000))
    make = {".gz": gzip.compress, ".zst": zstd, ".bz2": bz2.compress, ".xz": lzma.compress}
    pack = make.get(name[len("rows.jsonl") :], lambda data: zipped({"rows.jsonl": data}))
    whole = pack(many)
    records = read(tmp_path, name, whole[: len(whole) // 2])
    ((code, line),) = codes(records)
    assert code == "broken_file"
    sound = [record.line for record in records if record.values]
    assert line == (sound[-1] + 1 if sound else 0)


def test_a_name_does_not_make_a_file_packed_nor_plain(tmp_path):
    assert codes(read(tmp_path, "rows.jsonl.gz", ROWS)) == [("broken_file", 0)]
    assert sum(r.is_row for r in read(tmp_path, "rows.jsonl", gzip.compress(ROWS))) == 2


def test_of_an_archive_with_several_files_one_is_asked_for(tmp_path):
    data = zipped({"a.jsonl": ROWS, "b.jsonl": ROWS * 2})
    ((code, _),) = codes(read(tmp_path, "rows.zip", data))
    assert code == "several_parts"
    assert sum(r.is_row for r in read(tmp_path, "rows.zip", data, part="b.jsonl")) == 4
    assert codes(read(tmp_path, "rows.zip", data, part="c.jsonl")) == [("unknown_part", 0)]
    assert codes(read(tmp_path, "rows.zip", zipped({}))) == [("empty_file", 0)]


def test_an_archive_inside_another_and_a_tar_say_what_to_do(tmp_path):
    inner = gzip.compress(zipped({"rows.jsonl": ROWS}))
    assert codes(read(tmp_path, "rows.zip.gz", inner)) == [("unknown_file_kind", 0)]
    tar = b"a" * 257 + b"ustar" + b"\0" * 250
    assert codes(read(tmp_path, "rows.tar", tar)) == [("unknown_file_kind", 0)]
    assert codes(read(tmp_path, "rows.tar.gz", gzip.compress(tar))) == [("unknown_file_kind", 0)]


@pytest.mark.parametrize("name", PACKED)
def test_a_bomb_is_refused_before_it_goes_off(tmp_path, name, monkeypatch):
    monkeypatch.setattr(source_module, "FREE_BYTES", 1 << 20)
    bomb = b'{"prompt": "' + b"a" * (8 << 20)
    pack = {".gz": gzip.compress, ".zst": zstd, ".bz2": bz2.compress, ".xz": lzma.compress}
    packed = pack.get(name[len("rows.jsonl") :], lambda data: zipped({"rows.jsonl": data}))(bomb)
    assert codes(read(tmp_path, name, packed)) == [("unpacks_too_large", 1)]


def test_an_encrypted_member_is_told(tmp_path):
    data = bytearray(PACKED["rows.zip"])
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(mark)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(mark, at + 1)
    assert codes(read(tmp_path, "rows.zip", bytes(data))) == [("encrypted", 0)]


def test_a_table_whose_first_column_is_called_as_archives_begin_is_a_table(tmp_path):
    (tmp_path / "a.csv").write_text("PK,prompt,completion\n1,q,a\n")
    assert [r.values for r in read_records(tmp_path / "a.csv") if r.is_row] == [
        {"PK": "1", "prompt": "q", "completion": "a"}
    ]


def test_a_member_that_was_named_is_read_as_a_file_of_its_own(tmp_path):
    document = json.dumps({"data": [{"prompt": "a", "completion": "b"}]}).encode()
    archive = zipped({"train.json": document, "test.csv": b"prompt,completion\nc,d\n"})
    for part, prompt in (("train.json", "a"), ("test.csv", "c")):
        records = read(tmp_path, "parts.zip", archive, part=part)
        assert [r.values["prompt"] for r in records if r.values] == [prompt]
        assert not [r for r in records if r.problem]
        assert "unused_option" not in [note.code for r in records for note in r.notes]
