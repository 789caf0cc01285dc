"""Arithmetic with units, exact like the calculator's: magnitudes are fractions throughout.

The units are pint's; it takes most of a second to load, so only an expression that names one does
that. Its own parser is not used: there are short texts on which it never ends.
"""

from __future__ import annotations

import ast
import re
import threading
from fractions import Fraction
from functools import lru_cache
from typing import Any

from app.errors import ToolError
from app.tools.calculator import LONGEST, bounded, function, show

_HIGHEST_POWER = 20
_LONGEST_NAME = 40
_NAME = r"[^\W\d_]\w*"
_QUANTITY = re.compile(
    rf"(?<![\w.])(\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*({_NAME}(?:\s*\*\*\s*-?\d+)?)(?!\s*\()"
)
"""A number and its unit, which belong together more closely than by a product."""
_TARGET = re.compile(r"\s(?:in|to|as)\s|->|→")
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "^": "**"})
_TEMPERATURES = {"°C": "degC", "°F": "degF", "℃": "degC", "℉": "degF", "°": "degree"}
_lock = threading.Lock()

Value = Any
"""A Fraction, or pint's Quantity of one."""


def compute(expression: str) -> str:
    """The value with its unit: ``3 km + 200 m``, ``60 mph * 90 min in km``. Blocking.

    Raises ToolError ``calculator``.
    """
    if len(expression) > LONGEST:
        raise _fault(f"the expression is longer than {LONGEST} characters")
    text = expression.strip().translate(_SIGNS)
    for sign, name in _TEMPERATURES.items():
        text = text.replace(sign, f" {name}")
    work, *target = _TARGET.split(text)
    if len(target) > 1:
        raise _fault("one unit to convert to, please")
    with _lock:
        import pint

        try:
            value = _parsed(work)
            if target:
                wanted = _parsed(target[0])
                if isinstance(wanted, Fraction) or wanted.magnitude != 1:
                    raise _fault(f"{target[0].strip()} is not a unit")
                value = _quantity(value, None).to(wanted.units)
            return _shown(value, bool(target))
        except pint.errors.DimensionalityError as error:
            raise _fault(f"{error.units1} and {error.units2} do not go together") from None
        except pint.errors.OffsetUnitCalculusError:
            raise _fault("temperatures can be converted, but not reckoned with: use K") from None
        except ZeroDivisionError:
            raise _fault("division by zero") from None
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError, TypeError):
            raise _fault("invalid expression") from None


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint

    return pint.UnitRegistry(non_int_type=Fraction)


def _quantity(magnitude: Value, units: Any) -> Value:
    return _registry().Quantity(magnitude, units)


def _parsed(text: str) -> Value:
    source = _QUANTITY.sub(r"(\1*\2)", text.strip())
    return _value(ast.parse(source, mode="eval").body, source)


def _value(node: ast.expr, source: str) -> Value:
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return bounded(Fraction((ast.get_source_segment(source, node) or "").replace("_", "")))
        case ast.Name(name):
            return _unit(name)
        case ast.BinOp(left, ast.Mult(), ast.Name(name)) if isinstance(left, ast.Constant):
            return _quantity(_value(left, source), _unit(name).units)  # also of °C, by no product
        case ast.BinOp(left, ast.Pow(), right):
            return _power(_value(left, source), _value(right, source))
        case ast.BinOp(left, op, right):
            return _checked(_reckoned(op, _value(left, source), _value(right, source)))
        case ast.UnaryOp(ast.USub(), operand):
            return -_value(operand, source)
        case ast.UnaryOp(ast.UAdd(), operand):
            return _value(operand, source)
        case ast.Call(ast.Name(name), arguments, []):
            values = [_value(argument, source) for argument in arguments]
            if all(isinstance(value, Fraction) for value in values):
                return function(name, values)
            raise _fault(f"{name} takes numbers without units")
    raise _fault("invalid expression")


def _reckoned(op: ast.operator, left: Value, right: Value) -> Value:
    match op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
    raise _fault("with units there are + - * / and **")


def _unit(name: str) -> Value:
    import pint

    if len(name) > _LONGEST_NAME:
        raise _fault("unknown name")
    try:
        return _quantity(Fraction(1), _registry().Unit(name))
    except pint.errors.UndefinedUnitError:
        raise _fault(f"unknown name {name}") from None


def _power(base: Value, power: Value) -> Value:
    whole = isinstance(power, Fraction) and power.denominator == 1
    if not whole or abs(power) > _HIGHEST_POWER:
        raise _fault("exponent not supported")
    magnitude = base if isinstance(base, Fraction) else base.magnitude
    size = max(magnitude.numerator.bit_length(), magnitude.denominator.bit_length())
    bounded(Fraction(1 << min(size * abs(power.numerator), 1 << 16)))
    return _checked(base**power.numerator)


def _checked(value: Value) -> Value:
    bounded(value if isinstance(value, Fraction) else Fraction(value.magnitude))
    return value


def _shown(value: Value, converted: bool) -> str:
    if isinstance(value, Fraction):
        return show(value)
    if value.dimensionless and not converted:
        value = value.to_base_units()  # feet over inches are a number
    units = str(value.units)
    number = show(Fraction(value.magnitude))
    return number if units == "dimensionless" else f"{number} {units}"


def _fault(message: str) -> ToolError:
    return ToolError("calculator", message)
