"""PDF files with known text, written by hand."""

from __future__ import annotations

import zlib


def make_pdf(*pages: str, title: str = "") -> bytes:
    """One page a text, one line of text a line."""
    objects: list[bytes] = []

    def add(body: bytes) -> int:
        objects.append(body)
        return len(objects)

    catalog = add(b"<< /Type /Catalog /Pages 2 0 R >>")
    add(b"")
    font = add(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    kids = []
    for text in pages:
        shown = "".join(f"({line}) Tj 0 -14 Td " for line in text.split("\n"))
        stream = zlib.compress(f"BT /F1 12 Tf 72 700 Td {shown}ET".encode("latin-1"))
        content = add(
            b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(stream), stream)
        )
        page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F1 "
        kids.append(add(f"{page}{font} 0 R >> >> /Contents {content} 0 R >>".encode()))
    names = " ".join(f"{kid} 0 R" for kid in kids)
    objects[1] = f"<< /Type /Pages /Kids [{names}] /Count {len(kids)} >>".encode()
    info = add(f"<< /Title ({title}) >>".encode())
    out = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    begin = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = f"<< /Size {len(objects) + 1} /Root {catalog} 0 R /Info {info} 0 R >>"
    return out + f"trailer\n{trailer}\nstartxref\n{begin}\n%%EOF\n".encode()
