"""What is valid under a JSON Schema, for the side that promises it and the side that checks."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from math import isfinite
from typing import Any

import jsonschema
from jsonschema.validators import extend, validator_for


def validate(value: Any, schema: dict[str, Any]) -> None:
    """Raises jsonschema's ValidationError; UnknownType and the like for what is no schema.

    A schema is taken as far as it means something: one that lists a value twice is no worse for it.
    """
    exact = _exact(validator_for(schema))
    error = jsonschema.exceptions.best_match(exact(schema).iter_errors(value))
    if error is not None:
        raise error


@cache
def _exact(validator: Any) -> Any:
    """Multiples as they are written: 0.3 is one of 0.1, which no binary fraction is."""
    return extend(validator, {"multipleOf": _multiple_of})


def _multiple_of(
    validator: Any, of: float, value: Any, schema: Any
) -> Iterator[jsonschema.ValidationError]:
    if not validator.is_type(value, "number"):
        return
    if not isfinite(value) or _written(value) % _written(of):
        yield jsonschema.ValidationError(f"{value!r} is not a multiple of {of!r}")


def _written(number: float) -> Fraction:
    return Fraction(repr(number))
