"""References within one schema's document, and what its parts say together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
_DEEPEST = 12
_COMPARISONS = 20_000
"""About half a second. Choices within choices multiply; no public schema needs a third of it."""


class Document:
    """A schema whose references are pointers into itself. For one thread."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._patience = _COMPARISONS

    def spend(self) -> bool:
        """Whether its parts may still be compared with each other, once more."""
        self._patience -= 1
        return self._patience >= 0

    def target(self, reference: object) -> Schema | None:
        """What ``#/…`` points at; None where it points elsewhere or nowhere."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        here: Any = self._root
        for step in filter(None, reference[1:].split("/")):
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(here, Mapping) or name not in here:
                return None
            here = here[name]
        return here if isinstance(here, Mapping) else None

    def parts(self, schema: object, depth: int = 0) -> Iterator[Schema]:
        """A schema and all that it demands besides, by references and ``allOf``."""
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return
        yield schema
        further = [self.target(schema["$ref"])] if "$ref" in schema else []
        listed = schema.get("allOf")
        for one in (*further, *(listed if isinstance(listed, list) else ())):
            yield from self.parts(one, depth + 1)
