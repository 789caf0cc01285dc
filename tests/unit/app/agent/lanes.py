"""A heavy run of four lanes, and a model that answers in each of them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from app.backends.base import ModelRequest
from app.backends.scripted import Reply
from tests.unit.app.agent.bench import RUN

FOUR = msgspec.structs.replace(RUN, effort="heavy", lanes=4, seed=7)


def said_last(request: ModelRequest) -> str:
    return request.messages[-1].content or ""


def is_last_pass(request: ModelRequest) -> bool:
    return "independent trajectories" in said_last(request)


def seeded(answer: Callable[[int], Reply], last: Reply) -> Callable[[ModelRequest], Reply]:
    """A model whose lanes differ by their seeds, 7 and on: each calls echo, then answers."""

    def model(request: ModelRequest) -> Reply:
        if is_last_pass(request):
            return last
        number = (request.sampling.seed or 0) - 6
        if any(message.role == "tool" for message in request.messages):
            return answer(number)
        return Reply(f"thought of {number}", calls=(("echo", f'{{"x": "{number}"}}'),))

    return model
