"""Tool choices, schemas and forbidden calls over HTTP, as OpenAI's own client sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from jsonschema import validate
from openai.types.chat import ChatCompletion

from app.backends.base import CallBegin, CallDelta, ModelRequest, Sampling
from app.backends.openai_http import OpenAIBackend
from app.tools.calculator import Calculator
from engine.protocol import ChatMessage
from engine.tiny import write_tiny

from .engine_process import EngineProcess

PROMPT: Any = [{"role": "user", "content": "Which file has the answer?"}]
PARAMETERS: Any = {
    "type": "object",
    "properties": {"unit": {"enum": ["m", "km"]}, "exact": {"type": "boolean"}},
    "required": ["unit", "exact"],
    "additionalProperties": False,
}


def tool(name: str, parameters: Any = PARAMETERS, **more: Any) -> Any:
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """Random weights: of itself it would write nothing of the kind."""
    folder = tmp_path_factory.mktemp("structured")
    with EngineProcess.started(folder / "log", write_tiny(folder / "tiny", seed=5)) as engine:
        yield engine


def ask(engine: EngineProcess, seed: int = 1, **fields: Any) -> ChatCompletion:
    extra = {"thinking_budget": 3} | fields.pop("x_engine", {})
    with engine.sdk() as client:
        reply: ChatCompletion = client.chat.completions.create(
            model="", messages=PROMPT, seed=seed, max_tokens=200, extra_body={"x_engine": extra},
            **fields,
        )  # fmt: skip
        return reply


def calls_of(reply: ChatCompletion) -> list[tuple[str, str, Any]]:
    made = reply.choices[0].message.tool_calls or ()
    functions = [c for c in made if c.type == "function"]
    assert len(functions) == len(made)
    return [(c.id, c.function.name, json.loads(c.function.arguments)) for c in functions]


def test_a_required_call_is_made(engine: EngineProcess) -> None:
    tools = [tool("measure"), tool("walk")]
    for seed in range(4):
        reply = ask(engine, seed, tools=tools, tool_choice="required", parallel_tool_calls=False)
        assert reply.choices[0].finish_reason == "tool_calls"
        assert not reply.choices[0].message.content
        ((call_id, name, arguments),) = calls_of(reply)
        assert call_id == f"functions.{name}:0"
        validate(arguments, PARAMETERS)


def test_a_named_call_is_made(engine: EngineProcess) -> None:
    choice: Any = {"type": "function", "function": {"name": "walk"}}
    reply = ask(engine, tools=[tool("measure"), tool("walk")], tool_choice=choice)
    assert [name for _, name, _ in calls_of(reply)] == ["walk"]


def test_none_is_none(engine: EngineProcess) -> None:
    for seed in range(4):
        reply = ask(engine, seed, tools=[tool("measure")], tool_choice="none")
        assert not calls_of(reply)
        assert reply.choices[0].message.content


def test_an_answer_has_its_schema(engine: EngineProcess) -> None:
    form: Any = {
        "type": "json_schema",
        "json_schema": {"name": "length", "schema": PARAMETERS, "strict": True},
    }
    reply = ask(engine, response_format=form)
    assert reply.choices[0].finish_reason == "stop"
    validate(json.loads(reply.choices[0].message.content or ""), PARAMETERS)


def test_forbidden_calls_are_not_made(engine: EngineProcess) -> None:
    every = [{"unit": unit, "exact": exact} for unit in ("m", "km") for exact in (True, False)]
    forbidden = [{"name": "measure", "arguments": json.dumps(one)} for one in every[:3]]
    for seed in range(4):
        reply = ask(
            engine, seed, tools=[tool("measure")], tool_choice="required",
            x_engine={"forbidden": forbidden},
        )  # fmt: skip
        made = calls_of(reply)
        assert made and all(arguments == every[3] for _, _, arguments in made)


def test_what_cannot_be_enforced_is_an_error_only_where_strict(engine: EngineProcess) -> None:
    odd = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    with pytest.raises(openai.BadRequestError, match="uniqueItems"):
        ask(engine, tools=[tool("measure", odd, strict=True)])
    reply = ask(engine, tools=[tool("measure", odd)], tool_choice="required")
    assert reply.choices[0].finish_reason in ("tool_calls", "length")


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["walk", "walk"], "two tools"),
        (["walk", "functions.walk"], "two tools"),
        ([""], "no name"),
        (["walk "], "no name"),
        (["go\nthere"], "no name"),
        (["x" * 257], "no name"),
    ],
)
def test_tools_have_to_have_names_of_their_own(
    engine: EngineProcess, names: list[str], what: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=what) as refused:
        ask(engine, tools=[tool(name) for name in names])
    assert refused.value.code == "bad_tools"


def test_names_may_be_of_any_script(engine: EngineProcess) -> None:
    reply = ask(engine, tools=[tool("größe"), tool("1.名前@x:0")], tool_choice="required")
    assert {name for _, name, _ in calls_of(reply)} <= {"größe", "1.名前@x:0"}


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"presence_penalty": 0.5},
        {"frequency_penalty": -0.1},
        {"response_format": {"type": "grammar"}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
        {"tools": [], "tool_choice": "required"},
        {"tools": [tool("walk")], "tool_choice": "perhaps"},
    ],
)
def test_what_is_not_done_is_refused(engine: EngineProcess, fields: Any) -> None:
    with pytest.raises(openai.BadRequestError):
        ask(engine, **fields)


def test_penalties_of_nothing_are_taken(engine: EngineProcess) -> None:
    assert ask(engine, presence_penalty=0, frequency_penalty=0.0, n=1).choices


def test_strict_is_not_told_to_the_model(engine: EngineProcess) -> None:
    prompts = set()
    for more in ({}, {"strict": True}, {"strict": False}):
        reply = ask(engine, tools=[tool("measure", **more)], x_engine={"return_prompt": True})
        prompts.add((reply.model_extra or {})["x_engine"]["prompt"])
    (prompt,) = prompts
    assert "strict" not in prompt


def test_the_model_is_left_alone_where_that_is_asked(engine: EngineProcess) -> None:
    reply = ask(
        engine, tools=[tool("measure")], tool_choice="required", x_engine={"constrain": False}
    )
    assert reply.choices[0].finish_reason != "tool_calls"


async def test_the_embedded_model_is_kept_from_a_call_by_the_agents_backend(tmp_path: Path) -> None:
    """It would make the same call each time; forbidden, it makes another or answers."""
    nano = Path(__file__).parents[2] / "resources" / "models" / "nano"
    with EngineProcess.started(tmp_path / "log", nano) as engine:
        backend = OpenAIBackend(f"{engine.url}/v1", engine.token, "local", ours=True)

        async def calls(forbidden: tuple[tuple[str, str], ...], may_call: bool = True) -> list[str]:
            request = ModelRequest(
                (ChatMessage("user", "What is 417 * 38?"),),
                tools=(Calculator.spec,),
                sampling=Sampling(temperature=0.0, max_tokens=300),
                forbidden=forbidden,
                may_call=may_call,
            )
            made: list[str] = []
            async for event in backend.stream(request):
                if isinstance(event, CallBegin):
                    made.append("")
                elif isinstance(event, CallDelta):
                    made[-1] += event.text
            return made

        (usual,) = await calls(())
        assert usual == (await calls(()))[0]
        for spelled in (usual, f" {usual} ".replace(":", " : ")):
            assert usual not in await calls((("calculator", spelled),))
        assert await calls((), may_call=False) == []
        await backend.close()
