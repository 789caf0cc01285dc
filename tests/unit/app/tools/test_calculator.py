"""The calculator against Python's own exact arithmetic, and against abuse."""

from __future__ import annotations

import time
from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ToolError
from app.tools.base import ToolContext
from app.tools.calculator import LONGEST, Calculator, calculate, show
from app.tools.units import compute


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("17*23+4", "395"),
        (" (17*23 + 4) / 2 ", "197.5"),
        ("0.1+0.2", "0.3"),
        ("1/3", "about 0.3333333333"),
        ("2/3*3", "2"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("2**100", "1267650600228229401496703205376"),
        ("2**-2", "0.25"),
        ("(-1)**1000001", "-1"),
        ("0**5", "0"),
        ("0**0", "1"),
        ("9**0.5", "3"),
        ("sqrt(2)", "about 1.414213562"),
        ("sqrt(1/4)", "0.5"),
        ("round(2.675, 2)", "2.68"),
        ("round(7/2)", "4"),
        ("max(1, 2.5, 2)", "2.5"),
        ("min(3, abs(-2))", "2"),
        ("1e3", "1000"),
        ("1_000 * 2", "2000"),
        ("0x10", "16"),
        ("6 × 7", "42"),
        ("1/2**30", "about 0.0000000009313225746"),
    ],
)
def test_values(expression: str, result: str) -> None:
    assert calculate(expression) == result


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1/0", "division by zero"),
        ("5 % 0", "division by zero"),
        ("0**-1", "division by zero"),
        ("", "invalid expression"),
        ("1 +", "invalid expression"),
        ("True", "invalid expression"),
        ("1 if 1 else 2", "invalid expression"),
        ("'a'*3", "invalid expression"),
        ("[1][0]", "invalid expression"),
        ("().__class__", "invalid expression"),
        ("x + 1", "unknown name x"),
        ("__import__(1)", "unknown name __import__"),
        ("__import__('os')", "invalid expression"),
        ("sqrt()", "wrong number of arguments for sqrt"),
        ("max()", "wrong number of arguments for max"),
        ("sqrt(-1)", "square root of a negative number"),
        ("2**0.3", "exponent not supported"),
        ("1e400", "invalid expression"),
        ("9**9**9", "the number is too large"),
        ("(2**12000)*(2**12000)", "the number is too large"),
        ("1" * 5000, f"the expression is longer than {LONGEST} characters"),
        ("(" * 900 + "1" + ")" * 90, "invalid expression"),
        ("1\0", "invalid expression"),
    ],
)
def test_faults(expression: str, message: str) -> None:
    began = time.perf_counter()
    with pytest.raises(ToolError) as caught:
        calculate(expression)
    assert caught.value.message == message
    assert time.perf_counter() - began < 2


numbers = st.fractions(max_denominator=1000)


@given(numbers, numbers, st.sampled_from("+-*/"))
def test_agrees_with_rationals(a: Fraction, b: Fraction, sign: str) -> None:
    expression = f"({a.numerator}/{a.denominator}) {sign} ({b.numerator}/{b.denominator})"
    if sign == "/" and b == 0:
        return
    exact = {"+": a + b, "-": a - b, "*": a * b}.get(sign)
    if exact is None:
        exact = a / b
    text = calculate(expression)
    assert text == show(exact)
    if text.startswith("about "):
        assert abs(Fraction(text.removeprefix("about ")) - exact) <= abs(exact) * Fraction(1, 10**9)
    else:
        assert Fraction(text) == exact


@given(st.text(max_size=60))
def test_any_text_is_a_value_or_a_fault(text: str) -> None:
    with suppress(ToolError):
        assert calculate(text)


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("3 km + 200 m", "3.2 kilometer"),
        ("60 mph * 90 min in km", "144.84096 kilometer"),
        ("1 mile to m", "1609.344 meter"),
        ("20 degC to degF", "68 degree_Fahrenheit"),
        ("-40 °C in °F", "-40 degree_Fahrenheit"),
        ("100 km / 2 h", "50 kilometer / hour"),
        ("9.81 m/s**2 * 2 kg to N", "19.62 newton"),
        ("(2 m)^3 in liter", "8000 liter"),
        ("1 ft / 3 inch", "4"),
        ("5 eV", "5 electron_volt"),
        ("1e3 g in kg", "1 kilogram"),
        ("2 GiB to MB", "2147.483648 megabyte"),
    ],
)
async def test_units(expression: str, result: str, context: ToolContext) -> None:
    assert await Calculator().run({"expression": expression}, context, print) == result


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("3 km + 2 s", "kilometer and second do not go together"),
        ("3 km in s", "kilometer and second do not go together"),
        ("3 zorks", "unknown name zorks"),
        ("__import__('os')", "invalid expression"),
        ("2 m ** 9999999", "exponent not supported"),
        ("(9**9**9) m", "invalid expression"),
        ("m**9**9**9", "exponent not supported"),
        ("sqrt(4 m)", "sqrt takes numbers without units"),
        ("1 m in 2 m", "2 m is not a unit"),
        ("1 m / (0 s)", "division by zero"),
        ("20 degC * 2", "temperatures can be converted, but not reckoned with: use K"),
        ("m " * 300, "invalid expression"),
        ("(" * 400 + "1 m" + ")" * 400, "invalid expression"),
    ],
)
async def test_wrong_units(expression: str, message: str, context: ToolContext) -> None:
    with pytest.raises(ToolError) as caught:
        await Calculator().run({"expression": expression}, context, print)
    assert caught.value.message == message


@given(st.text("0123456789.+-*/^() kmsgCF°into", max_size=30))
def test_any_units(expression: str) -> None:
    began = time.monotonic()
    with suppress(ToolError):
        assert compute(expression)
    assert time.monotonic() - began < 5
