"""The tools as the agent sees them: a small faithful copy of their result texts.

Used to write the corpus and to score rollouts while training. Model-written Python runs only
behind a syntax check, with a time limit.
"""

from __future__ import annotations

import ast
import contextlib
import io
import math
import operator
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


class ToolFault(Exception):
    """A failure that becomes the tool's result."""


def calculate(expression: str) -> str:
    """The calculator's result text; errors begin with ``error: ``."""
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        return show(evaluate(tree.body, expression))
    except ZeroDivisionError:
        return "error: division by zero"
    except (SyntaxError, ToolFault, ValueError, OverflowError) as fault:
        return f"error: {fault if isinstance(fault, ToolFault) else 'invalid expression'}"


def evaluate(node: ast.expr, source: str) -> Fraction:
    """Exact value of an expression tree."""
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return Fraction(ast.get_source_segment(source.strip(), node) or "")
        case ast.BinOp(op=ast.Pow()):
            base, power = evaluate(node.left, source), evaluate(node.right, source)
            if power.denominator == 2:
                return root(base) ** power.numerator
            if power.denominator != 1 or abs(power) > 1000:
                raise ToolFault("exponent not supported")
            return Fraction(base**power.numerator)
        case ast.BinOp():
            return Fraction(
                BINARY[type(node.op)](evaluate(node.left, source), evaluate(node.right, source))
            )
        case ast.UnaryOp(op=ast.USub()):
            return -evaluate(node.operand, source)
        case ast.UnaryOp(op=ast.UAdd()):
            return evaluate(node.operand, source)
        case ast.Call(func=ast.Name(id=function)):
            return apply(function, [evaluate(a, source) for a in node.args])
    raise ToolFault("invalid expression")


def apply(function: str, values: list[Fraction]) -> Fraction:
    """One of the calculator's functions."""
    if function == "sqrt":
        return root(values[0])
    if function == "round":
        return Fraction(round(values[0], int(values[1])) if len(values) > 1 else round(values[0]))
    if function in ("abs", "min", "max"):
        return {"abs": lambda v: abs(v[0]), "min": min, "max": max}[function](values)
    raise ToolFault(f"unknown name {function}")


def root(value: Fraction) -> Fraction:
    """Square root, exact for squares."""
    if value < 0:
        raise ToolFault("square root of a negative number")
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if top * top == value.numerator and bottom * bottom == value.denominator:
        return Fraction(top, bottom)
    context = Context(prec=30)
    exact = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    return Fraction(context.sqrt(exact))


def show(value: Fraction) -> str:
    """Integers plain, terminating decimals plain, others rounded with ``about``."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if value.denominator == 1:
        return str(value.numerator)
    if rest == 1:
        digits = Context(prec=60).divide(Decimal(value.numerator), Decimal(value.denominator))
        text = f"{digits:f}"
        if len(text.replace("-", "").replace(".", "").lstrip("0")) <= 20:
            return text.rstrip("0").rstrip(".")
    digits = Context(prec=10).divide(Decimal(value.numerator), Decimal(value.denominator))
    text = f"{digits:f}"
    return "about " + (text.rstrip("0").rstrip(".") if "." in text else text)


SAFE_MODULES = {"statistics", "math", "collections"}


def harmless(tree: ast.AST) -> bool:
    """Whether a snippet is of the small kind that training writes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and any(a.name not in SAFE_MODULES for a in node.names):
            return False
        if isinstance(node, ast.ImportFrom) and node.module not in SAFE_MODULES:
            return False
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            return False
        if isinstance(node, ast.Name) and (
            node.id.startswith("__") or node.id in {"open", "exec", "eval", "input", "breakpoint"}
        ):
            return False
        if isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value > 10**12:
            return False
    return True


def run_python(code: str, names: dict[str, Any]) -> str:
    """Result text of a snippet, as a notebook would show it."""
    out = io.StringIO()

    def late(*_: object) -> None:
        raise TimeoutError("time limit")

    try:
        tree = ast.parse(code)
        if not harmless(tree):
            return "error: RuntimeError: not allowed here"
        tail = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        before = signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        try:
            with contextlib.redirect_stdout(out):
                exec(compile(tree, "cell", "exec"), names)
                if tail is not None:
                    value = eval(compile(ast.Expression(tail.value), "cell", "eval"), names)
                    if value is not None:
                        print(repr(value))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    except SyntaxError as fault:
        return f"error: SyntaxError: {fault.msg} (<cell>, line {fault.lineno})"
    except Exception as fault:
        text = f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
        return f"error: {text}"
    return out.getvalue().rstrip("\n") or "(no output)"


@dataclass
class World:
    """A notes folder and a Python session that tools act on."""

    files: dict[str, str] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    deny_text: str = "error: the user denied this call"
    names: dict[str, Any] = field(default_factory=dict)
    facts: list[tuple[str, str, str, str]] = field(default_factory=list)

    def call(self, tool: str, arguments: dict[str, Any]) -> str:
        """The result text of one call."""
        if tool not in self.tools:
            return f"error: unknown tool {tool}"
        if tool in self.denied:
            return self.deny_text
        try:
            return str(getattr(self, "do_" + tool)(**arguments))
        except TypeError:
            return "error: wrong arguments"

    def do_calculator(self, expression: str) -> str:
        """See `calculate`."""
        return calculate(str(expression))

    def do_python(self, code: str) -> str:
        """See `run_python`."""
        return run_python(str(code), self.names)

    def do_list_files(self, path: str = ".") -> str:
        """One name per line, sorted, folders with a slash."""
        inside = "" if path in (".", "", "./") else path.rstrip("/") + "/"
        rows = set()
        for name in self.files:
            if name.startswith(inside):
                head, slash, _ = name[len(inside) :].partition("/")
                rows.add(head + slash)
        if inside and not rows:
            return f"error: no folder named {path}"
        return "\n".join(sorted(rows)) or "(empty)"

    def do_read_file(self, path: str, start: int = 1, lines: int | None = None) -> str:
        """The text of a file."""
        if path.removeprefix("./") not in self.files:
            return f"error: no file named {path}"
        text = self.files[path.removeprefix("./")].rstrip("\n")
        if start > 1 or lines is not None:
            kept = text.split("\n")[start - 1 :]
            text = "\n".join(kept[:lines] if lines is not None else kept)
        return text or "(empty)"

    def do_search_files(self, query: str, path: str = ".") -> str:
        """Case-insensitive hits as path:LINE: text."""
        hits = [
            f"{name}:{number}: {line}"
            for name, text in sorted(self.files.items())
            for number, line in enumerate(text.split("\n"), 1)
            if query.lower() in line.lower()
        ]
        return "\n".join(hits[:50]) or "no matches"
