"""A jinja environment in which an untrusted chat template can do nothing but render, briefly.

On top of jinja's own immutable sandbox (no attributes of Python's internals, no changing of what
it was given): loops are counted, and the operations that make much text out of little are
bounded or absent, so that a hostile template ends with an error instead of holding the engine.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.errors import RequestError
from engine.text.guard import Guard

MAX_STEPS = 1_000_000
MAX_VALUE = 8 << 20  # characters of one string, items of one list

_ABSENT_FILTERS = (
    "center",
    "indent",
    "format",
    "wordwrap",
    "pprint",
    "xmlattr",
    "urlize",
    "random",
)
_ABSENT_METHODS = frozenset(("center", "expandtabs", "ljust", "rjust", "to_bytes", "zfill"))


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """One template's environment, for one rendering at a time: see :meth:`begin`."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        # The options and extensions templates in the wild are written for.
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        self._steps_left = MAX_STEPS
        self._guard: Guard | None = None
        for name in _ABSENT_FILTERS:
            del self.filters[name]
        self.filters["tojson"] = self._tojson
        self.filters["join"] = _bounded_join
        self.filters["replace"] = _bounded_replace
        self.globals = {
            "range": self.globals["range"],
            "dict": dict,
            "namespace": self.globals["namespace"],
            "raise_exception": _refuse,
        }

    def begin(self, guard: Guard) -> None:
        """Start a rendering whose data ``guard`` has hidden."""
        self._steps_left = MAX_STEPS
        self._guard = guard

    def compile_counted(self, source: str) -> jinja2.Template:
        """Compile with a step counted in every turn of every loop and every macro call."""
        tree = self.parse(source)
        bodies = [loop.body for loop in tree.find_all(nodes.For)]
        bodies += [macro.body for macro in tree.find_all(nodes.Macro)]
        for body in bodies:
            call = nodes.Call(nodes.EnvironmentAttribute("count_step"), [], [], None, None)
            body.insert(0, nodes.ExprStmt(call))
        for concat in list(tree.find_all(nodes.Concat)):
            # `~` is not among the operators jinja lets a sandbox see; joining a list is.
            concat.nodes = [
                nodes.Call(
                    nodes.EnvironmentAttribute("bounded_concat"), concat.nodes, [], None, None
                )
            ]
        code = self.compile(tree)
        return self.template_class.from_code(self, code, self.make_globals(None))

    def count_step(self) -> str:
        self._steps_left -= 1
        if self._steps_left < 0:
            raise SecurityError(f"more than {MAX_STEPS} steps")
        return ""

    def bounded_concat(self, *values: object) -> str:
        return _checked("".join(map(str, values)))

    def _tojson(
        self,
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        """JSON as chat templates expect it: no HTML escapes, non-ASCII kept.

        The guard's stand-ins are turned back first and the whole JSON text is hidden
        afterwards, so that no option of the encoder can mangle them.
        """
        text = json.dumps(
            self._guard.reveal_all(value) if self._guard else value,
            ensure_ascii=bool(ensure_ascii),
            indent=min(indent, 8) if isinstance(indent, int) else None,
            separators=separators,
            sort_keys=bool(sort_keys),
        )
        return self._guard.hide(text) if self._guard else text

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in _ABSENT_METHODS and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """``str.format`` pads without bound, so it is refused where jinja would wrap it."""
        if isinstance(getattr(value, "__self__", None), str) and "format" in value.__name__:
            raise SecurityError("str.format is not available")

    def call(
        __self,
        __context: jinja2.runtime.Context,
        __obj: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str) and __obj.__name__ == "replace":
            return _bounded_replace(owner, *args)
        if isinstance(owner, str) and __obj.__name__ == "join":
            return _bounded_join(args[0], owner)
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(
        self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any
    ) -> Any:
        if operator == "**" or (operator == "%" and not isinstance(left, int | float)):
            raise SecurityError(f"the operator {operator} is not available")
        sizes = [len(value) for value in (left, right) if isinstance(value, str | list | tuple)]
        if operator == "+" and sum(sizes) > MAX_VALUE:
            raise SecurityError("a value became too long")
        if operator == "*":
            factor = next((value for value in (left, right) if isinstance(value, int)), 1)
            if abs(factor) * max(1, *sizes) > MAX_VALUE:
                raise SecurityError("a value became too long")
        return super().call_binop(context, operator, left, right)


def _refuse(message: object) -> NoReturn:
    raise RequestError("template_refused", f"the chat template: {str(message)[:500]}")


def _checked(text: str) -> str:
    if len(text) > MAX_VALUE:
        raise SecurityError("a value became too long")
    return text


def _bounded_join(values: Any, separator: str = "", attribute: str | None = None) -> str:
    parts = [str(item if attribute is None else item[attribute]) for item in values]
    if sum(map(len, parts)) + len(separator) * len(parts) > MAX_VALUE:
        raise SecurityError("a value became too long")
    return separator.join(parts)


def _bounded_replace(text: object, old: str, new: str, count: int = -1) -> str:
    source = str(text)
    if len(source) + (source.count(old) if old else len(source) + 1) * len(new) > MAX_VALUE:
        raise SecurityError("a value became too long")
    return source.replace(old, new, count)
