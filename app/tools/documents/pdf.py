"""PDF to text, page by page."""

from __future__ import annotations

import time
from io import BytesIO

from pypdf import PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError

from app.errors import ToolError
from app.tools.documents.document import LEFT_OUT, MOST_TEXT, Document, plain

SECONDS = 8.0
"""Processor time after which the remaining pages are left out."""


def read_pdf(data: bytes) -> Document:
    """Each page under a heading with its number. Raises ToolError ``unreadable``."""
    try:
        return _read(PdfReader(BytesIO(data)))
    except (FileNotDecryptedError, DependencyError):
        raise ToolError("unreadable", "this PDF is locked with a password") from None
    except ToolError:
        raise
    except Exception as error:  # the parser meets damage with whatever comes to pass
        raise ToolError("unreadable", f"this PDF is damaged ({type(error).__name__})") from None


def _read(reader: PdfReader) -> Document:
    if reader.is_encrypted and not reader.decrypt(""):
        raise ToolError("unreadable", "this PDF is locked with a password")
    text: list[str] = []
    late = time.process_time() + SECONDS
    room, empty = MOST_TEXT, True
    for number, page in enumerate(reader.pages, 1):
        found = plain(page.extract_text()).strip().replace("\n#", "\n\\#")
        empty = empty and not found
        text += [f"## Page {number}", found]
        room -= len(found)
        if room < 0 or time.process_time() > late:
            text[-1] = found[: len(found) + min(room, 0)]
            text.append(LEFT_OUT)
            break
    if empty:
        raise ToolError("unreadable", "this PDF holds no text, only pictures")
    title = reader.metadata.title if reader.metadata else None
    return Document(plain(str(title or "")).strip()[:300], "\n\n".join(text))
