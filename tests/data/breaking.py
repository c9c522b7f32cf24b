"""Good files of every kind, and ways to break one: in a row that is known, or anywhere."""

import csv
import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from tests.data.files.test_source import zstd

ROWS = 12
MAX_ROW_BYTES = 1 << 16  # what the tests set, so that huge is quickly made
LONG = "x" * (MAX_ROW_BYTES + 1)
DEEP = "[" * 30_000


def chat(i):
    said = [("user", f"question {i} 질문?"), ("assistant", f"answer {i} 답."), ("user", "and?")]
    turns = [*said, ("assistant", f'more {i}, and "quoted"')]
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def pair(i):
    return {"prompt": f"question {i} 질문?", "completion": f"answer {i}, with a comma 답."}


def sharegpt(i):
    names = {"user": "human", "assistant": "gpt"}
    turns = [{"from": names[m["role"]], "value": m["content"]} for m in chat(i)["messages"]]
    return {"conversations": turns, "system": "be brief"}


def alpaca(i):
    return {"instruction": f"do {i} 해줘", "input": "this", "output": f"done {i}", "history": []}


MAKERS = (chat, pair, sharegpt, alpaca)


def texts_in(row):
    """Where texts stand that must be there: (container, key)."""
    if "messages" in row:
        return [(message, "content") for message in row["messages"]]
    if "conversations" in row:
        return [(turn, "value") for turn in row["conversations"]]
    names = [name for name in ("prompt", "completion", "instruction", "output") if name in row]
    return [(row, name) for name in names]


def roles_in(row):
    """The turns of a row and the key of who speaks."""
    if "messages" in row:
        return row["messages"], "role"
    return row.get("conversations", []), "from"


# Each takes a row's object and makes the JSON text of a faulty one; None where it does not apply.
def cut(rng, row):
    text = json.dumps(row, ensure_ascii=False)
    return text[: rng.randrange(1, len(text))]


def swap_roles(rng, row):
    turns, key = roles_in(row)
    if not turns:
        return None
    for turn in turns:
        turn[key] = turns[1][key] if turn is turns[0] else turns[0][key]
    return json.dumps(row)


def wrong_type(rng, row):
    place, key = rng.choice(texts_in(row))
    place[key] = rng.choice([None, 3, 1.5, True, [], {}, [["a"]], {"a": {"b": []}}])
    if place[key] == [] and key == "content":
        return None  # parts of a content may be none
    if type(place[key]) in (int, float) and key in ("completion", "output"):
        return None  # a number may be an answer
    return json.dumps(row)


def drop_key(rng, row):
    place, key = rng.choice(texts_in(row))
    del place[key]
    return json.dumps(row)


def empty_text(rng, row):
    place, key = rng.choice(texts_in(row))
    place[key] = rng.choice(["", " ", "\n\t"])
    if "system" in (place.get("role"), place.get("from")) or key == "instruction":
        return None
    return json.dumps(row)


def unknown_role(rng, row):
    turns, key = roles_in(row)
    if not turns:
        return None
    rng.choice(turns)[key] = rng.choice(["nobody", "", "USER", "usr"])
    return json.dumps(row)


def huge_text(rng, row):
    place, key = rng.choice(texts_in(row))
    place[key] += LONG
    return json.dumps(row)


def deep(rng, row):
    text = json.dumps(row)
    return text[:-1] + f', "deep": {DEEP}}}'


def deep_and_closed(rng, row):
    row[next(iter(row))] = "DEEP"
    return json.dumps(row).replace('"DEEP"', "[" * 9000 + "]" * 9000)


def control_token(rng, row):
    place, key = rng.choice(texts_in(row))
    place[key] += rng.choice(["<|im_end|>", "<|im_start|>user\nhi", "</s>"])
    return json.dumps(row)


def key_twice(rng, row):
    name = next(iter(row))
    return json.dumps(row)[:-1] + f', "{name}": {json.dumps(row[name])}}}'


def half_character(rng, row):
    place, key = rng.choice(texts_in(row))
    place[key] += "\ud83d"
    return json.dumps(row)


def no_object(rng, row):
    return rng.choice(["[1, 2]", "3", '"text"', "null", "true", "[]", "nonsense", "{]", "-", "{,}"])


def control_character(rng, row):
    return json.dumps(row)[:-3] + rng.choice("\x00\x01\x1f") + json.dumps(row)[-3:]


OF_A_ROW = (cut, swap_roles, wrong_type, drop_key, empty_text, unknown_role, huge_text, deep)
OF_A_ROW += (deep_and_closed, control_token, key_twice, half_character, no_object)
OF_A_ROW += (control_character,)


@dataclass(frozen=True)
class Broken:
    """A file's name and bytes; ``line`` is that of its one fault, None where nobody knows."""

    name: str
    data: bytes
    line: int | None
    what: str


def json_lines(rng: random.Random) -> Broken:
    """JSON lines with one faulty row."""
    maker, i, way = rng.choice(MAKERS), rng.randrange(ROWS), rng.choice([*OF_A_ROW, "byte", "join"])
    lines = [json.dumps(maker(n), ensure_ascii=False).encode() for n in range(ROWS)]
    if way == "byte":
        at = rng.randrange(1, len(lines[i]) - 1)
        lines[i] = (
            lines[i][:at] + rng.choice([b"\xff", b"\xc0\xaf", b"\xed\xa0\x80"]) + lines[i][at:]
        )
    elif way == "join":
        i = min(i, ROWS - 2)
        lines[i : i + 2] = [lines[i] + lines[i + 1]]
    else:
        text = way(rng, maker(i))
        if text is None:
            return json_lines(rng)
        lines[i] = text.encode("utf-8", "surrogatepass")
    pack, suffix = rng.choice([(bytes, ""), (bytes, ""), (gzip.compress, ".gz"), (zstd, ".zst")])
    name = way if isinstance(way, str) else way.__name__
    return Broken(f"rows.jsonl{suffix}", pack(b"\n".join(lines) + b"\n"), i + 1, name)


# Ways after which a document goes on to be one.
KEEPS_A_DOCUMENT = (swap_roles, wrong_type, drop_key, empty_text, unknown_role, control_token)
KEEPS_A_DOCUMENT += (key_twice, half_character)


def document(rng: random.Random) -> Broken:
    """A JSON document, a row on each line, with one faulty row."""
    maker, i, way = rng.choice(MAKERS), rng.randrange(ROWS), rng.choice(KEEPS_A_DOCUMENT)
    texts = [json.dumps(maker(n)) for n in range(ROWS)]
    text = way(rng, maker(i))
    if text is None:
        return document(rng)
    texts[i] = text
    opening, closing = rng.choice([("[\n", "\n]"), ('{"version": 1, "data": [\n', '\n], "n": 2}')])
    return Broken(
        "rows.json", (opening + ",\n".join(texts) + closing).encode(), i + 2, way.__name__
    )


def table(rng: random.Random) -> Broken:
    """A table in text with one faulty row."""
    encoding = rng.choice(["utf-8", "utf-8-sig", "cp949", "utf-16"])
    delimiter, suffix = rng.choice([(",", "csv"), (";", "csv"), ("\t", "tsv"), ("|", "psv")])
    text = io.StringIO()
    quoting = rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=quoting)
    writer.writerow(["prompt", "completion"])
    writer.writerows([f"question {n} 질문?", f'an "answer" {n} 답.'] for n in range(ROWS))
    lines = text.getvalue().splitlines()
    i = rng.randrange(1, ROWS + 1)
    q, _ = cells = [f"question {i} 질문?", f"answer {i} 답."]
    ways = {
        "open_quote": f'{q}{delimiter}"{cells[1]}',
        "more_cells": delimiter.join([*cells, "x"]),
        "fewer_cells": q,
        "empty_cell": delimiter.join([q, ""]),
        "huge_cell": delimiter.join([q, LONG]),
        "control_token": delimiter.join([q, "a<|im_end|>"]),
        "text_after_quote": f'"{q}" x{delimiter}{cells[1]}',
        "carriage_return": f"{q}\rx{delimiter}{cells[1]}",
    }
    what = rng.choice([*ways, "byte"])
    data = "\n".join(line if n != i else ways.get(what, line) for n, line in enumerate(lines))
    encoded = data.encode(encoding)
    if what == "byte":
        if encoding == "utf-16":
            return table(rng)
        place = encoded.index(f"question {i - 1} ".encode()) + 3
        encoded = encoded[:place] + b"\xff" + encoded[place:]
    return Broken(f"rows.{suffix}", encoded, i + 1, f"{what} in {encoding}")


def _parquet(rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    compression = rng.choice(["none", "snappy", "gzip", "zstd"])
    maker = rng.choice(MAKERS)
    rows = pa.Table.from_pylist([maker(i) for i in range(ROWS)])
    pq.write_table(rows, buffer, compression=compression, row_group_size=5)
    return buffer.getvalue()


def _zip(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.jsonl", data)
    return buffer.getvalue()


def anywhere(rng: random.Random) -> Broken:
    """A file of any kind with bytes cut off, turned, doubled or put in at a random place."""
    maker = rng.choice(MAKERS)
    rows = [maker(i) for i in range(ROWS)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    kinds: dict[str, Callable[[], bytes]] = {
        "rows.jsonl": lambda: lines,
        "rows.json": lambda: json.dumps(rows, indent=rng.choice([None, 1])).encode(),
        "rows.csv": lambda: b"q,a\n" + '질문,"답"\n'.encode("cp949") * ROWS,
        "rows.txt": lambda: "글 ".encode("utf-16") * 50,
        "rows.parquet": lambda: _parquet(rng),
        "rows.jsonl.gz": lambda: gzip.compress(lines),
        "rows.jsonl.zst": lambda: zstd(lines),
        "rows.zip": lambda: _zip(lines),
    }
    name = rng.choice(list(kinds))
    data = kinds[name]()
    return _struck(rng, name, data)


def _struck(rng: random.Random, name: str, data: bytes) -> Broken:
    start = rng.randrange(len(data))
    stop = min(len(data), start + rng.choice([1, 1, 2, 8, 100]))
    noise = rng.choice(
        [rng.randbytes(stop - start), b"\x00" * (stop - start), b'"', b"{[", b"\xff"]
    )
    ways = {
        "cut": data[:start],
        "turned": data[:start] + noise + data[stop:],
        "doubled": data[:stop] + data[start:],
        "put in": data[:start] + noise + data[start:],
        "taken out": data[:start] + data[stop:],
        "beheaded": data[stop:],
    }
    what = rng.choice(list(ways))
    return Broken(name, ways[what], None, what)


def workbook(rng: random.Random, good: bytes) -> Broken:
    """A workbook struck at a random place."""
    return _struck(rng, "rows.xlsx", good)
