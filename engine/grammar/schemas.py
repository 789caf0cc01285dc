"""JSON Schemas to grammars: compiled once, copied for each use."""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from llguidance import LLMatcher, LLParserLimits

from engine.errors import RequestError, ResourceError
from engine.grammar.disjoint import types
from engine.grammar.pointers import Document, Schema
from engine.grammar.rewriting import in_fewer_keywords, without_patterns
from engine.grammar.vocabulary import Mask, Vocabulary

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_LIMITS = LLParserLimits(max_lexer_states=50_000, verbose_errors=False)
_WIDE, _PATIENCE = 64, 256
_BYTES = tuple(bytes([byte]) for byte in range(256))
_SOLID = tuple(byte for byte in _BYTES if byte != b" ")
"""Blanks outside of strings make no other call."""
LONGEST_NUMBER = 80
"""Digits without anything between them: as many as integers of 256 bits have, and a few."""
_LONG = re.compile(rb"(?:\d{%d}|[eE][-+]?\d\d)\Z" % LONGEST_NUMBER)
"""Numbers that have to end with the next token; few parsers hold larger exponents anyway."""
_CACHED = 512
_MOST_CHARS = 4 << 20
ANY_OBJECT: dict[str, Any] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class Compiled:
    """A schema's grammar. Safe from any thread."""

    matcher: LLMatcher
    """At its beginning; to be copied, never fed."""
    loose: str = ""
    """What of the schema is not enforced; empty if all is."""


class Schemas:
    """The last few hundred that were asked for. Safe from any thread."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._known: OrderedDict[tuple[str, bool], Compiled] = OrderedDict()
        self._lock = threading.Lock()

    def arguments(self, schema: Mapping[str, Any], strict: bool, of: str) -> Compiled:
        """Of a call: an object in any case. Raises as `compiled`."""
        possible = types(Document(schema), schema)
        if "object" not in possible:
            return self._fallback(strict, of, "it describes no object")
        if possible != {"object"}:
            schema = {**schema, "type": "object"}
        return self.compiled(schema, strict, of)

    def compiled(self, schema: Mapping[str, Any], strict: bool, of: str) -> Compiled:
        """The grammar of what is valid under a schema.

        Where the library cannot enforce a keyword: with ``strict`` RequestError
        ``schema_unsupported``; else the grammar leaves that keyword out, or allows any object where
        nothing can be made of the schema, and `Compiled.loose` says so.
        """
        plain = {name: value for name, value in schema.items() if name != "x-guidance"}
        try:
            text = json.dumps(plain, ensure_ascii=False)
            fewer = in_fewer_keywords(plain)
        except RecursionError:
            text, fewer = "", {}
        if not 0 < len(text) <= _MOST_CHARS:
            raise RequestError("schema_unsupported", f"the schema of {of} is too large")
        with self._lock:
            known = self._known.get((text, strict))
            if known is not None:
                self._known.move_to_end((text, strict))
                return known
        made = self._compile(plain, fewer, strict, of)
        with self._lock:
            self._known[text, strict] = made
            while len(self._known) > _CACHED:
                self._known.popitem(last=False)
        return made

    def _compile(self, plain: Schema, fewer: Schema, strict: bool, of: str) -> Compiled:
        matcher = self._matcher(fewer, lenient=False)
        trouble = matcher.get_error() or _silent(fewer)
        if not trouble:
            return Compiled(matcher)
        if strict:
            raise _unsupported(of, trouble)
        if not matcher.is_error():
            return Compiled(matcher, _line(trouble))
        for looser in (fewer, plain, without_patterns(fewer, self._takes_pattern)):
            matcher = self._matcher(looser, lenient=True)
            if not matcher.is_error():
                said = "; ".join(matcher.get_grammar_warnings()) if looser is fewer else ""
                return Compiled(matcher, _line(said or trouble))
        return self._fallback(strict, of, trouble)

    def _takes_pattern(self, pattern: str) -> bool:
        alone = self._matcher({"type": "string", "pattern": pattern}, lenient=True)
        return not alone.is_error()

    def _fallback(self, strict: bool, of: str, trouble: str) -> Compiled:
        if strict:
            raise _unsupported(of, trouble)
        any_object = self._matcher(ANY_OBJECT, lenient=False)
        return Compiled(any_object, f"any object is allowed: {_line(trouble)}")

    def _matcher(self, schema: Schema, lenient: bool) -> LLMatcher:
        # Blanks anywhere would let a model go on with nothing else; this is how K2 writes JSON.
        options: JsonCompileOptions = {
            "item_separator": ", ?",
            "key_separator": ": ?",
            "whitespace_flexible": False,
            "coerce_one_of": False,
            "lenient": lenient,
        }
        text = json.dumps(schema, ensure_ascii=False)
        grammar = LLMatcher.grammar_from_json_schema(text, overrides=options)
        return LLMatcher(self._vocabulary.library, grammar, log_level=0, limits=_LIMITS)


class Place:
    """Where a reply is in a grammar. For one thread."""

    def __init__(self, compiled: Compiled, vocabulary: Vocabulary) -> None:
        self._matcher = compiled.matcher.deep_copy()
        self._vocabulary = vocabulary
        self._written = b""

    @property
    def complete(self) -> bool:
        """Whether nothing has to follow."""
        return self._matcher.is_accepting()

    def allowed(self) -> Mask:
        """Ordinary tokens that may follow; a number that grows on and on has to end where it can.
        Raises ResourceError ``grammar_too_complex``.
        """
        mask = self._possible()
        if _LONG.search(self._written[-LONGEST_NUMBER:]) and _outside_strings(self._written):
            ended: Mask = mask & ~self._vocabulary.digits
            if self.complete or ended.any():
                return ended
        return mask

    def accept(self, token_id: int) -> None:
        """Go on. Raises ResourceError ``grammar_too_complex``."""
        self._matcher.consume_token(token_id)
        self._written += self._vocabulary.bytes[token_id]
        self._check()

    def leads_past(self, gone: Callable[[bytes], bool], token_id: int | None = None) -> bool:
        """Whether something else can come of what is written, and of a token after it, than what is
        ``gone``; the place stays. True also where there are too many ways to look at all of them.
        """
        if token_id is None:
            found = self._search(gone, self._written, [_PATIENCE])
        else:
            self._matcher.consume_token(token_id)
            written = self._written + self._vocabulary.bytes[token_id]
            found = self._search(gone, written, [_PATIENCE])
            self._matcher.rollback(1)
        self._check()
        return found

    def _search(self, gone: Callable[[bytes], bool], written: bytes, patience: list[int]) -> bool:
        """From here on; the matcher is left as it was."""
        ids, forced = self._vocabulary.ids, self._matcher.compute_ff_bytes()
        self._matcher.consume_tokens([ids[bytes([byte])] for byte in forced])
        written += forced
        try:
            if self._matcher.is_accepting():
                return not gone(written)
            mask = self._possible()
            patience[0] -= 1
            if patience[0] < 0 or np.count_nonzero(mask) > _WIDE:
                return True
            for byte in _SOLID if _outside_strings(written) else _BYTES:
                if byte in ids and mask[ids[byte]]:
                    self._matcher.consume_token(ids[byte])
                    found = self._search(gone, written + byte, patience)
                    self._matcher.rollback(1)
                    if found:
                        return True
            return False
        finally:
            self._matcher.rollback(len(forced))

    def _possible(self) -> Mask:
        bits = self._matcher.compute_bitmask()
        self._check()
        return self._vocabulary.unpacked(bits)

    def _check(self) -> None:
        if self._matcher.is_error():
            raise ResourceError(
                "grammar_too_complex",
                f"the grammar of this reply gave up: {_line(self._matcher.get_error())}",
                "simplify the schema, or send x_engine.constrain false",
            )


def _outside_strings(text: bytes) -> bool:
    """Of JSON that has begun."""
    return _ESCAPED.sub(b"", text).count(b'"') % 2 == 0


def _silent(schema: Mapping[str, Any]) -> str:
    """What the library takes without a word and does not enforce."""
    for part in _parts(schema):
        least, required = part.get("minProperties", 0), part.get("required", ())
        named = len(required) if isinstance(required, list) else 0
        if isinstance(least, int) and least > max(named, 1):
            # Names outside of `properties` may come twice and count twice.
            return "minProperties is not enforced"
    return ""


def _parts(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for one in value.values():
            yield from _parts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _parts(one)


def _unsupported(of: str, trouble: str) -> RequestError:
    return RequestError(
        "schema_unsupported",
        f"the schema of {of} cannot be enforced: {_line(trouble)}",
        "leave that keyword out, or do not ask for strict",
    )


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
