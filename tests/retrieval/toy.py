"""An embedding model without a model: words are places in a vector; and files of every kind."""

import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

WIDTH = 64


def toy_folder(path: Path) -> Path:
    """A folder with a tokenizer.json whose tokens are words and marks."""
    path.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(16)  # as published ones have: it must not measure passages
    tokenizer.save(str(path / "tokenizer.json"))
    return path


@dataclass
class ToyEmbedder:
    """Texts that share words are near; ``embedded`` are all texts that were asked for."""

    folder: Path
    embedded: list[str] = field(default_factory=list)
    longest: int = 256  # tokens

    def embed(self, texts, *, as_query=False):
        self.embedded += texts
        return np.stack([_vector(text) for text in texts])


def _vector(text: str) -> np.ndarray:
    vector = np.full(WIDTH, 1e-3, dtype=np.float32)
    for word in text.lower().split():
        vector[hashlib.md5(word.strip(".,?!").encode()).digest()[0] % WIDTH] += 1
    return vector / np.linalg.norm(vector)


def pdf(*pages: str, outline: str = "", extra: str = "") -> bytes:
    """A PDF with a line of text on each page, the ``outline``'s title pointing to the last one."""
    kids = " ".join(f"{10 + 2 * i} 0 R" for i in range(len(pages)))
    catalog = "<< /Type /Catalog /Pages 2 0 R" + (" /Outlines 4 0 R >>" if outline else " >>")
    objects = {
        1: catalog,
        2: f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        3: "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    }
    if outline:
        last = f"{10 + 2 * (len(pages) - 1)} 0 R"
        objects[4] = "<< /First 5 0 R /Last 5 0 R /Count 1 >>"
        objects[5] = f"<< /Title ({outline}) /Parent 4 0 R /Dest [{last} /Fit] >>"
    for i, text in enumerate(pages):
        content = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET"
        objects[10 + 2 * i] = (
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {11 + 2 * i} 0 R >>"
        )
        objects[11 + 2 * i] = f"<< /Length {len(content)} >>\nstream\n{content}\nendstream"
    return _assembled({key: text.encode() for key, text in objects.items()}, extra)


def encrypted_pdf() -> bytes:
    """One that opens with no password that anyone knows."""
    keys = f"/O <{'ab' * 32}> /U <{'cd' * 32}>"
    encryption = f"/Encrypt << /Filter /Standard /V 1 /R 2 {keys} /P -4 >> /ID [<00> <00>]"
    return pdf("secret", extra=encryption)


def pdf_bomb(lines: int) -> bytes:
    """A small PDF of one page with so many lines of 1,000 characters, each in its own place."""
    places = ((1 + i // 780 / 10, i % 780) for i in range(lines))
    words = b"boom " * 200
    content = b"".join(
        b"BT /F1 0.1 Tf 1 0 0 1 %.1f %d Tm (%s) Tj ET\n" % (x, y, words) for x, y in places
    )
    content = zlib.compress(content, 9)
    stream = b"<< /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (
        len(content),
        content,
    )
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [10 0 R] /Count 1 >>",
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        10: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
        b"/Resources << /Font << /F1 3 0 R >> >> /Contents 11 0 R >>",
        11: stream,
    }
    return _assembled(objects, "")


def _assembled(objects: dict[int, bytes], extra: str) -> bytes:
    out, places = io.BytesIO(), {}
    out.write(b"%PDF-1.5\n")
    for number, content in objects.items():
        places[number] = out.tell()
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, content))
    table = out.tell()
    size = max(objects) + 1
    out.write(b"xref\n0 1\n0000000000 65535 f \n")
    for number, place in places.items():
        out.write(b"%d 1\n%010d 00000 n \n" % (number, place))
    trailer = f"trailer << /Size {size} /Root 1 0 R {extra} >>\nstartxref\n{table}\n%%EOF"
    return out.getvalue() + trailer.encode()


DOCX_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-'
    'officedocument.wordprocessingml.document.main+xml"/></Types>'
)
DOCX_LINKS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/'
    'relationships/officeDocument" Target="word/document.xml"/></Relationships>'
)


def docx(*paragraphs: tuple[str, str], zeros: int = 0, marks: str = "") -> bytes:
    """Paragraphs of (style, text), style "" for none; ``zeros`` bytes in a part beside them.

    ``marks`` are properties of a last paragraph's text, "marked".
    """
    runs = [(style, f"<w:t>{text}</w:t>") for style, text in paragraphs]
    runs += [("", f"<w:rPr>{marks}</w:rPr><w:t>marked</w:t>")] if marks else []
    body = "".join(
        f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr><w:r>{run}</w:r></w:p>'
        for style, run in runs
    )
    words = (
        '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
        f"<w:body>{body}</w:body></w:document>"
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", DOCX_TYPES)
        archive.writestr("_rels/.rels", DOCX_LINKS)
        archive.writestr("word/document.xml", words)
        if zeros:
            archive.writestr("word/media/picture.bmp", bytes(zeros))
    return out.getvalue()
