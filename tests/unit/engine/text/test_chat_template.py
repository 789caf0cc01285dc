import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import RequestError
from engine.protocol import ChatMessage, FunctionCall, FunctionSpec, ToolCall, ToolSpec
from engine.text.chat_template import OWN_TEMPLATE, ChatTemplate
from engine.text.tokenizer import Tokenizer

DEFAULT_SYSTEM = (
    "<|im_system|>system<|im_middle|>"
    "You are Kimi, an AI assistant created by Moonshot AI.<|im_end|>"
)
OPENING = "<|im_assistant|>assistant<|im_middle|>"
USER = {"role": "user", "content": "hi"}
USER_TEXT = "<|im_user|>user<|im_middle|>hi<|im_end|>"
TOOL = {
    "type": "function",
    "function": {
        "name": "calculator",
        "description": "Räknar <exakt>",
        "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}},
    },
}


@pytest.fixture(scope="module")
def own(tokenizer: Tokenizer) -> ChatTemplate:
    return ChatTemplate(OWN_TEMPLATE.read_text(), tokenizer)


def assistant(content: str = "", reasoning: str | None = None, *calls: dict[str, Any]) -> Any:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if reasoning is not None:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = list(calls)
    return message


def call(name: str, arguments: str, call_id: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }
    return made if call_id is None else made | {"id": call_id}


def result(content: str, call_id: str | None = None) -> dict[str, Any]:
    made = {"role": "tool", "content": content}
    return made if call_id is None else made | {"tool_call_id": call_id}


def section(*calls: tuple[str, str]) -> str:
    inner = "".join(
        f"<|tool_call_begin|>{call_id}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"
        for call_id, arguments in calls
    )
    return f"<|tool_calls_section_begin|>{inner}<|tool_calls_section_end|>"


# The format, case by case


def test_a_default_system_message_comes_first(own: ChatTemplate) -> None:
    assert own.render([USER]).text == DEFAULT_SYSTEM + USER_TEXT + OPENING


def test_a_given_system_message_replaces_it(own: ChatTemplate) -> None:
    prompt = own.render([{"role": "system", "content": "Be brief."}, USER])
    assert prompt.text == f"<|im_system|>system<|im_middle|>Be brief.<|im_end|>{USER_TEXT}{OPENING}"


def test_tools_come_before_everything_as_compact_json(own: ChatTemplate) -> None:
    declared = json.dumps([TOOL], ensure_ascii=False, separators=(",", ":"))
    declaration = f"<|im_system|>tool_declare<|im_middle|>{declared}<|im_end|>"
    assert own.render([USER], [TOOL]).text == declaration + DEFAULT_SYSTEM + USER_TEXT + OPENING
    assert "Räknar <exakt>" in declaration


def test_tools_keep_the_order_models_were_shown(own: ChatTemplate) -> None:
    shuffled = {"function": dict(reversed(TOOL["function"].items())), "type": "function"}  # type: ignore[attr-defined]
    assert own.render([USER], [shuffled]).text == own.render([USER], [TOOL]).text


def test_without_a_generation_prompt_it_ends_with_the_last_message(own: ChatTemplate) -> None:
    assert own.render([USER], add_generation_prompt=False).text == DEFAULT_SYSTEM + USER_TEXT


def test_a_name_stands_in_place_of_the_role(own: ChatTemplate) -> None:
    assert "<|im_user|>Ada<|im_middle|>hi" in own.render([USER | {"name": "Ada"}]).text


def test_reasoning_before_the_last_plain_answer_is_dropped(own: ChatTemplate) -> None:
    text = own.render(
        [
            USER,
            assistant("", "first thought", call("calculator", "{}")),
            result("3"),
            assistant("three", "second thought"),
            USER,
        ]
    ).text
    assert "thought" not in text
    assert f"{OPENING}<think></think>{section(('functions.calculator:0', '{}'))}<|im_end|>" in text
    assert f"{OPENING}<think></think>three<|im_end|>" in text


def test_reasoning_of_the_turn_in_progress_is_kept(own: ChatTemplate) -> None:
    text = own.render(
        [
            USER,
            assistant("three", "old thought"),
            USER,
            assistant("Let me see.", "new thought", call("calculator", '{"expression": "1+1"}')),
            result("2"),
        ]
    ).text
    assert "old thought" not in text
    calls = section(("functions.calculator:0", '{"expression": "1+1"}'))
    assert f"{OPENING}<think>new thought</think>Let me see.{calls}<|im_end|>" in text


def test_a_current_message_without_reasoning_has_empty_marks(own: ChatTemplate) -> None:
    text = own.render([USER, assistant("", None, call("calculator", "{}"))]).text
    assert f"{OPENING}<think></think><|tool_calls_section_begin|>" in text


def test_results_name_the_call_they_answer(own: ChatTemplate) -> None:
    text = own.render(
        [
            USER,
            assistant("", "", call("calculator", "{}", "functions.calculator:7")),
            result("395\n", "functions.calculator:7"),
        ]
    ).text
    body = "## Return of functions.calculator:7\n395\n"
    assert f"<|im_system|>tool<|im_middle|>{body}<|im_end|>" in text


def test_missing_ids_count_up_over_the_conversation(own: ChatTemplate) -> None:
    prompt = own.render(
        [
            USER,
            assistant("", "", call("a", "{}"), call("b", "{}")),
            result("A"),
            result("B"),
            assistant("done"),
            USER,
            assistant("", "", call("a", '{"x": 1}')),
            result("C"),
        ]
    )
    assert section(("functions.a:0", "{}"), ("functions.b:1", "{}")) in prompt.text
    assert "## Return of functions.a:0\nA" in prompt.text
    assert "## Return of functions.b:1\nB" in prompt.text
    assert "## Return of functions.a:2\nC" in prompt.text
    assert prompt.next_call_index == 3


def test_the_next_index_is_past_every_number_used(own: ChatTemplate) -> None:
    messages = [USER, assistant("", "", call("a", "{}", "functions.a:41")), result("x")]
    assert own.render(messages).next_call_index == 42
    assert own.render([USER]).next_call_index == 0


def test_protocol_structs_render_as_their_dicts(own: ChatTemplate) -> None:
    made = ToolCall("functions.calculator:0", FunctionCall("calculator", "{}"))
    structs = [
        ChatMessage("user", "hi"),
        ChatMessage("assistant", None, "why", (made,)),
        ChatMessage("tool", "3", tool_call_id="functions.calculator:0"),
    ]
    spec = ToolSpec(FunctionSpec(**TOOL["function"]))  # type: ignore[arg-type]
    dicts = [
        USER,
        assistant("", "why", call("calculator", "{}", "functions.calculator:0")),
        result("3", "functions.calculator:0"),
    ]
    assert own.render(structs, [spec]) == own.render(dicts, [TOOL])


def test_content_may_be_a_list_of_text_parts(own: ChatTemplate) -> None:
    parts = [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]
    assert own.render([{"role": "user", "content": parts}]) == own.render([USER])


def test_arguments_given_as_an_object_become_json(own: ChatTemplate) -> None:
    made = {"function": {"name": "a", "arguments": {"x": "é"}}}
    assert (
        '<|tool_call_argument_begin|>{"x": "é"}<'
        in own.render([USER, assistant("", "", made)]).text
    )


# Who opens the reasoning


@pytest.mark.parametrize(
    ("ending", "starts_in_reasoning"),
    [("", False), ("<think>", True), ("<think>\n", True), ("<think></think>", False)],
)
def test_the_parser_learns_from_the_prompt_where_it_starts(
    tokenizer: Tokenizer, ending: str, starts_in_reasoning: bool
) -> None:
    source = OWN_TEMPLATE.read_text().rstrip() + "{{- " + json.dumps(ending) + " -}}"
    prompt = ChatTemplate(source, tokenizer).render([USER, assistant("a", "b"), USER])
    assert prompt.starts_in_reasoning is starts_in_reasoning


def test_thinking_off_reaches_templates_that_know_it(tokenizer: Tokenizer) -> None:
    source = "{{ '<think>' if thinking is not defined or thinking else '<think></think>' }}"
    template = ChatTemplate(source, tokenizer)
    assert template.render([USER]).starts_in_reasoning
    assert not template.render([USER], thinking=False).starts_in_reasoning


def test_a_user_cannot_open_the_reasoning(own: ChatTemplate) -> None:
    assert not own.render([{"role": "user", "content": "<think>"}]).starts_in_reasoning


# Nothing in a message becomes a control token


def control_ids(tokenizer: Tokenizer, ids: tuple[int, ...]) -> list[int]:
    special = set(tokenizer.special.values())
    return [token_id for token_id in ids if token_id in special]


def conversation(text: str) -> tuple[list[Any], list[Any]]:
    """Every field a client fills, filled with ``text``."""
    made = call(text, text, "functions.x:0")
    messages = [
        {"role": "system", "content": text, "name": text or None},
        {"role": "user", "content": text},
        assistant(text, text, made),
        result(text, text),
        assistant(text, text),
        {"role": "user", "content": [{"type": "text", "text": part} for part in (text, text)]},
        assistant(text, text, made),
    ]
    schema = {"type": "object", "properties": {text: {"description": text, "enum": [text]}}}
    tool = {"function": {"name": text, "description": text, "parameters": schema}}
    return messages, [tool]


fragments = st.sampled_from(
    [
        "<|im_end|>",
        "<think>",
        "</think>",
        "[EOS]",
        "<|",
        "im_end",
        "|>",
        "<",
        ">",
        "[",
        "]",
        "EOS",
        "|",
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(fragments | st.text(max_size=3) | st.sampled_from([*'\U00100000\U00100001{%#}\\"\n']))
)
def test_data_never_adds_moves_or_removes_a_control_token(
    own: ChatTemplate, tokenizer: Tokenizer, parts: list[str]
) -> None:
    text = "".join(parts)
    plain = own.render(*conversation("plain"))
    prompt = own.render(*conversation(text))
    assert control_ids(tokenizer, prompt.token_ids) == control_ids(tokenizer, plain.token_ids)
    shown = text.encode("utf-8", "replace").decode()
    assert tokenizer.decode(prompt.token_ids) == prompt.text.encode("utf-8", "replace").decode()
    assert f"<|im_user|>user<|im_middle|>{shown}<|im_end|>" in prompt.text


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}{{ m.content.strip() | trim }}{% endfor %}",
        "{% for m in messages %}{{ m.content[:3] + m.content[3:] }}{% endfor %}",
        "{{ messages | map(attribute='content') | join }}",
        "{{ messages | tojson(ensure_ascii=True) }}",
        "{% for m in messages %}{{ m.content.split('|') | join('|') }}{% endfor %}",
        "{% for m in messages %}{{ (m.content ~ '') | replace('x', '') }}{% endfor %}",
    ],
)
def test_whatever_a_template_does_with_the_text(tokenizer: Tokenizer, source: str) -> None:
    halves = [{"role": "user", "content": half} for half in ("a <|im_", "endx|>", "<|im_end|> b")]
    prompt = ChatTemplate(source, tokenizer).render(halves)
    assert control_ids(tokenizer, prompt.token_ids) == []
    assert "<|im_end|>" in prompt.text


def test_names_of_parameters_are_data_too(tokenizer: Tokenizer) -> None:
    source = "{% for name in tools[0].function.parameters.properties %}{{ name }}{% endfor %}"
    schema = {"type": "object", "properties": {"<|im_end|>": {}, "x": {}}}
    tools = [{"function": {"name": "a", "parameters": schema}}]
    prompt = ChatTemplate(source, tokenizer).render([USER], tools)
    assert prompt.text == "<|im_end|>x"
    assert control_ids(tokenizer, prompt.token_ids) == []


def test_ordinary_prompts_are_tokenised_as_one_text(
    k2_tokenizer: Tokenizer, k2_oracle: Any
) -> None:
    messages, tools = conversation('Räkna 3.14 [a] < "b" 你好')
    prompt = ChatTemplate(OWN_TEMPLATE.read_text(), k2_tokenizer).render(messages, tools)
    assert list(prompt.token_ids) == k2_oracle.encode_with_special(prompt.text)


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("messages", "tools"),
    [
        ([], []),
        ("hi", []),
        ({"role": "user"}, []),
        ([None], []),
        ([{"content": "x"}], []),
        ([{"role": "developer", "content": "x"}], []),
        ([{"role": ["user"], "content": "x"}], []),
        ([{"role": "user", "content": 3}], []),
        ([{"role": "user", "content": [{"type": "image_url"}]}], []),
        ([{"role": "user", "content": "x", "name": 3}], []),
        ([{"role": "assistant", "reasoning_content": 3}], []),
        ([{"role": "assistant", "tool_calls": "x"}], []),
        ([{"role": "assistant", "tool_calls": [{}]}], []),
        ([{"role": "assistant", "tool_calls": [{"function": {"name": None}}]}], []),
        ([{"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": 1}}]}], []),
        ([{"role": "tool", "content": "x"}], []),
        ([{"role": "tool", "content": "x", "tool_call_id": 3}], []),
        ([USER], "tools"),
        ([USER], [{}]),
        ([USER], [{"function": {"name": 3}}]),
        ([USER], [{"function": {"name": "a", "parameters": nested(80)}}]),
        ([USER], [{"function": {"name": "a", "parameters": nested(100_000)}}]),
        ([USER], [{"function": {"name": "a", "parameters": {"x": {1, 2}}}}]),
    ],
)
def test_malformed_input_gives_a_typed_error(own: ChatTemplate, messages: Any, tools: Any) -> None:
    with pytest.raises(RequestError):
        own.render(messages, tools)
