"""The calculator tool: exact arithmetic on rationals, shown as a person would write it."""

from __future__ import annotations

import ast
import asyncio
import math
import operator
import re
from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

from app.errors import ToolError
from app.tools.base import Outside, Risk, ToolContext
from engine.protocol import FunctionSpec, ToolSpec

LONGEST = 1_000
"""Characters of an expression: deep enough for any sum, too short to exhaust the parser."""
MOST_BITS = 13_000
"""Size of a numerator or denominator, about 3,900 digits: no expression can stall the app."""
PLAIN_DIGITS = 20
ROUNDED_DIGITS = 10

_FUNCTIONS = re.compile(r"\b(abs|sqrt|round|min|max)\s*\(")
_NAMES = re.compile(r"[^\W\d_]|°")
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-"})
_BINARY: dict[type[ast.operator], Callable[[Fraction, Fraction], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


class Calculator:
    """``calculator(expression)``. Pure, bounded, needs no approval."""

    read_only = True
    asks = False
    risk: Risk = "none"
    outside: Outside = "never"
    spec = ToolSpec(
        FunctionSpec(
            "calculator",
            "Compute an arithmetic expression exactly: + - * / // % **, parentheses, "
            "abs, round, min, max, sqrt. Units too: 60 mph * 90 min in km, 20 degC to degF.",
            {
                "type": "object",
                "properties": {
                    "expression": {"type": "string", "description": "for example (17*23 + 4) / 2"}
                },
                "required": ["expression"],
                "additionalProperties": False,
            },
        )
    )

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        expression = arguments["expression"]
        try:
            return calculate(expression)
        except ToolError:
            if not _NAMES.search(_FUNCTIONS.sub("", expression)):
                raise
        from app.tools.units import compute

        return await asyncio.to_thread(compute, expression)

    async def forget(self, conversation: str) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is kept."""


def calculate(expression: str) -> str:
    """The value as text. Raises ToolError ``calculator``.

    Integers are plain (``395``), decimals that end are plain (``3.75``), others are rounded to ten
    significant digits and say so (``about 0.3333333333``).
    """
    source = expression.strip().translate(_SIGNS)
    if len(source) > LONGEST:
        raise _fault(f"the expression is longer than {LONGEST} characters")
    try:
        return show(_value(ast.parse(source, mode="eval").body, source))
    except ZeroDivisionError:
        raise _fault("division by zero") from None
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        raise _fault("invalid expression") from None


def show(value: Fraction) -> str:
    """See :func:`calculate`."""
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest == 1:
        text = _decimal(value, 60)
        if len(text.replace("-", "").replace(".", "").lstrip("0")) <= PLAIN_DIGITS:
            return text
    return "about " + _decimal(value, ROUNDED_DIGITS)


def _decimal(value: Fraction, digits: int) -> str:
    exact = Context(prec=digits).divide(Decimal(value.numerator), Decimal(value.denominator))
    text = f"{exact:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _value(node: ast.expr, source: str) -> Fraction:
    match node:
        case ast.Constant(value=int() as number) if not isinstance(number, bool):
            return bounded(Fraction(number))
        case ast.Constant(value=float() as number) if math.isfinite(number):
            return Fraction(ast.get_source_segment(source, node) or "")  # 0.1 is a tenth
        case ast.BinOp(left, ast.Pow(), right):
            return _power(_value(left, source), _value(right, source))
        case ast.BinOp(left, op, right) if type(op) in _BINARY:
            return bounded(Fraction(_BINARY[type(op)](_value(left, source), _value(right, source))))
        case ast.UnaryOp(ast.USub(), operand):
            return -_value(operand, source)
        case ast.UnaryOp(ast.UAdd(), operand):
            return _value(operand, source)
        case ast.Call(ast.Name(name), arguments, []):
            return function(name, [_value(argument, source) for argument in arguments])
        case ast.Name(name):
            raise _fault(f"unknown name {name}")
    raise _fault("invalid expression")


def _power(base: Fraction, power: Fraction) -> Fraction:
    if power.denominator == 2:
        return _power(_root(base), Fraction(power.numerator))
    if power.denominator != 1:
        raise _fault("exponent not supported")
    if abs(base) == 1:
        return base if power.numerator % 2 else Fraction(1)
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if base and abs(power) * (size - 1) > MOST_BITS:
        raise _fault("the number is too large")
    if base == 0 and abs(power) > 1:
        power = Fraction(1 if power > 0 else -1)
    return bounded(Fraction(base**power.numerator))


def function(name: str, values: Sequence[Fraction]) -> Fraction:
    """A function's value. Raises ToolError."""
    match name, values:
        case "abs", [value]:
            return abs(value)
        case "sqrt", [value]:
            return _root(value)
        case "round", [value]:
            return Fraction(round(value))
        case "round", [value, places] if places.denominator == 1 and abs(places) <= MOST_BITS // 4:
            return bounded(Fraction(round(value, places.numerator)))
        case (("min" | "max"), [_, *_]):
            return min(values) if name == "min" else max(values)
        case (("abs" | "sqrt" | "round" | "min" | "max"), _):
            raise _fault(f"wrong number of arguments for {name}")
    raise _fault(f"unknown name {name}")


def _root(value: Fraction) -> Fraction:
    """Square root, exact for squares, else to 30 digits."""
    if value < 0:
        raise _fault("square root of a negative number")
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if top * top == value.numerator and bottom * bottom == value.denominator:
        return Fraction(top, bottom)
    context = Context(prec=30)
    return Fraction(
        context.sqrt(context.divide(Decimal(value.numerator), Decimal(value.denominator)))
    )


def bounded(value: Fraction) -> Fraction:
    """The value itself. Raises ToolError if it is too large to go on with."""
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MOST_BITS:
        raise _fault("the number is too large")
    return value


def _fault(message: str) -> ToolError:
    return ToolError("calculator", message)
