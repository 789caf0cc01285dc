"""Every departure models are known to make, over every cut of its bytes into tokens."""

import json
from collections.abc import Iterator

import pytest

from engine.text.tokenizer import Tokenizer
from tests.unit.engine.text.replies import (
    ARGS,
    CALC,
    CALC_ARGS,
    CALL,
    CLOSE,
    CLOSE_1,
    END,
    ONE,
    OPEN,
    OPEN_1,
    Read,
    called,
    ok,
    parse,
    reading,
    tokens,
)

EMITTED: dict[str, tuple[str, Read]] = {
    "plain answer": ("Hello 你好 🌍!\n\nMore.", Read("", "Hello 你好 🌍!\n\nMore.", (), ())),
    "reasoning and answer": (
        "<think> Let me\nthink. </think>The answer.\n<|im_end|>",
        Read(" Let me\nthink. ", "The answer.\n", (), ()),
    ),
    "reasoning, call": (
        f"<think>Use it.</think>{OPEN}{CALC}{CLOSE}<|im_end|>",
        Read("Use it.", "", ONE, ()),
    ),
    "reasoning, text, call": (
        f"<think>Use it.</think>Let me see. \n{OPEN}{CALC}{CLOSE}",
        Read("Use it.", "Let me see.", ONE, ()),
    ),
    "blanks between the markers": (
        f"<think>r</think>\n\n{OPEN}\n {CALC}\n\n{CLOSE}\n<|im_end|>",
        Read("r", "", ONE, ()),
    ),
    "section straight out of reasoning": (
        f"<think>Use it.{OPEN}{CALC}{CLOSE}",
        Read("Use it.", "", ONE, ()),
    ),
    "singular section markers": (
        f"<think>r</think>Now.\n«{OPEN_1}»{CALC}«{CLOSE_1}»",
        Read("r", "Now.", ONE, ("spelled_marker", "spelled_marker")),
    ),
    "singular section markers out of reasoning": (
        f"<think>r «{OPEN_1}»\n{CALC}\n«{CLOSE_1}»\n",
        Read("r ", "", ONE, ("spelled_marker", "spelled_marker")),
    ),
    "singular opening, plural closing": (
        f"<think>r</think>«{OPEN_1}»{CALC}{CLOSE}",
        Read("r", "", ONE, ("spelled_marker",)),
    ),
    "empty section in singular markers": (
        f"Well. «{OPEN_1}» «{CLOSE_1}»",
        Read("", "Well.", (), ("spelled_marker", "spelled_marker", "empty_section")),
    ),
    "doubled singular end": (
        f"{OPEN}{CALC}{CLOSE} «{CLOSE_1}»",
        Read("", "", ONE, ("spelled_marker", "stray_marker")),
    ),
    "call without section": (
        f"<think>r</think>Now. {CALC}<|im_end|>",
        Read("r", "Now.", ONE, ("missing_section",)),
    ),
    "call without section out of reasoning": (
        f"<think>r{CALC}",
        Read("r", "", ONE, ("missing_section",)),
    ),
    "several calls": (
        OPEN + CALC + called("functions.read_file:1", '{"path": "a.txt"}') + CLOSE,
        Read("", "", (*ONE, ok(1, "read_file", '{"path": "a.txt"}')), ()),
    ),
    "a blank after the id": (
        OPEN + called("functions.calculator:0 ", CALC_ARGS) + CLOSE,
        Read("", "", ONE, ("id_repaired",)),
    ),
    "line ends around the id": (
        OPEN + called("\nfunctions.calculator:0\n", f"\n{CALC_ARGS}\n") + CLOSE,
        Read("", "", ONE, ("id_repaired",)),
    ),
    "id without functions.": (
        OPEN + called("calculator:0", CALC_ARGS) + CLOSE,
        Read("", "", ONE, ("id_repaired",)),
    ),
    "id without number": (
        OPEN + called("functions.calculator", CALC_ARGS) + CLOSE,
        Read("", "", ONE, ("id_repaired",)),
    ),
    "id with a number already used": (
        OPEN + CALC + CALC + CLOSE,
        Read("", "", (*ONE, ok(1, "calculator", CALC_ARGS)), ("id_repaired",)),
    ),
    "bare counter, one tool fits": (
        OPEN + called("0", CALC_ARGS) + called("tool_call_1", '{"code": "1"}') + CLOSE,
        Read("", "", (*ONE, ok(1, "python", '{"code": "1"}')), ("id_repaired",) * 2),
    ),
    "no id, one tool fits": (
        OPEN + called("", CALC_ARGS) + CLOSE,
        Read("", "", ONE, ("id_repaired",)),
    ),
    "bare counter, one tool fits by types": (
        OPEN + called("functions.0", '{"path": "a", "start": 1}') + CLOSE,
        Read("", "", (ok(0, "read_file", '{"path": "a", "start": 1}'),), ("id_repaired",)),
    ),
    "bare counter, two tools fit": (
        OPEN + called("0", '{"path": "a"}') + CLOSE,
        Read("", "", (("functions.0:0", "0", '{"path": "a"}', "unknown_tool"),), ("id_repaired",)),
    ),
    "bare counter, none fits": (
        OPEN + called("tool_call_1", '{"x": 1}') + CLOSE,
        Read(
            "",
            "",
            (("functions.tool_call_1:0", "tool_call_1", '{"x": 1}', "unknown_tool"),),
            ("id_repaired",),
        ),
    ),
    "arguments as a JSON string of JSON": (
        OPEN + called("functions.calculator:0", json.dumps(CALC_ARGS)) + CLOSE,
        Read("", "", ONE, ("arguments_repaired",)),
    ),
    "arguments over several lines": (
        OPEN + called("functions.calculator:0", '\n{\n  "expression":\t"1+1"\n}\n') + CLOSE,
        Read("", "", (ok(0, "calculator", '{\n  "expression":\t"1+1"\n}'),), ()),
    ),
    "raw line ends in a string": (
        OPEN + called("functions.python:0", '{"code": "a = \\"1\\"\n\tb = 2 \\\n"}') + CLOSE,
        Read(
            "",
            "",
            (ok(0, "python", '{"code": "a = \\"1\\"\\n\\tb = 2 \\\\\\n"}'),),
            ("arguments_repaired",),
        ),
    ),
    "markup in a string": (
        OPEN + called("functions.python:0", '{"code": "<div>\\n</div> 你好"}') + CLOSE,
        Read("", "", (ok(0, "python", '{"code": "<div>\\n</div> 你好"}'),), ()),
    ),
    "marker text in a string": (
        OPEN
        + called(
            "functions.python:0",
            f'{{"code": "«{END}{CLOSE}</think>{OPEN_1}{CLOSE_1}<|im_end|>»"}}',
        )
        + CLOSE,
        Read(
            "",
            "",
            (
                ok(
                    0,
                    "python",
                    f'{{"code": "{END}{CLOSE}</think>{OPEN_1}{CLOSE_1}<|im_end|>"}}',
                ),
            ),
            (),
        ),
    ),
    "think tokens in a string": (
        OPEN + called("functions.python:0", '{"code": "<think></think>"}') + CLOSE,
        Read("", "", (ok(0, "python", '{"code": "<think></think>"}'),), ("marker_in_call",) * 2),
    ),
    "empty arguments": (
        OPEN
        + called("functions.list_files:0", "")
        + called("functions.list_files:1", " \n")
        + CLOSE,
        Read(
            "",
            "",
            (ok(0, "list_files", "{}"), ok(1, "list_files", "{}")),
            ("arguments_repaired",) * 2,
        ),
    ),
    "null, and a string of nothing, as arguments": (
        OPEN + called("functions.list_files:0", "null") + called("list_files:1", '""') + CLOSE,
        Read(
            "",
            "",
            (ok(0, "list_files", "{}"), ok(1, "list_files", "{}")),
            ("arguments_repaired", "id_repaired", "arguments_repaired"),
        ),
    ),
    "no argument marker": (
        f"{OPEN}{CALL}functions.list_files:0{END}{CALL}functions.calculator:1{CALC_ARGS}{END}{CLOSE}",
        Read(
            "",
            "",
            (ok(0, "list_files", "{}"), ok(1, "calculator", CALC_ARGS)),
            ("missing_argument_marker", "arguments_repaired", "missing_argument_marker"),
        ),
    ),
    "invalid arguments": (
        OPEN + called("functions.calculator:0", '{"expression": 1+1}') + CLOSE,
        Read(
            "",
            "",
            (
                (
                    "functions.calculator:0",
                    "calculator",
                    '{"expression": 1+1}',
                    "invalid_arguments",
                ),
            ),
            (),
        ),
    ),
    "arguments that are no object": (
        OPEN + called("functions.calculator:0", "[1, 2]") + CLOSE,
        Read(
            "", "", (("functions.calculator:0", "calculator", "[1, 2]", "invalid_arguments"),), ()
        ),
    ),
    "arguments with NaN": (
        OPEN + called("functions.calculator:0", '{"expression": NaN}') + CLOSE,
        Read(
            "",
            "",
            (("functions.calculator:0", "calculator", '{"expression": NaN}', "invalid_arguments"),),
            (),
        ),
    ),
    "noise between calls": (
        f"{OPEN} and {CALC} then {called('functions.calculator:1', CALC_ARGS)}{CLOSE}",
        Read("", " and then", (*ONE, ok(1, "calculator", CALC_ARGS)), ("text_in_section",) * 2),
    ),
    "text after the section": (
        f"{OPEN}{CALC}{CLOSE}\nThat is all.<|im_end|>",
        Read("", "\nThat is all.", ONE, ("text_after_calls",)),
    ),
    "text after the section, in two pieces": (
        f"{OPEN}{CALC}{CLOSE}a<|im_user|>b<|im_user|> <|im_end|>",
        Read("", "ab ", ONE, ("text_after_calls", "stray_marker", "stray_marker")),
    ),
    "doubled section end": (
        f"{OPEN}{CALC}{CLOSE}{CLOSE}<|im_end|>",
        Read("", "", ONE, ("stray_marker",)),
    ),
    "doubled section begin": (
        f"{OPEN}{OPEN}{CALC}{CLOSE}",
        Read("", "", ONE, ("stray_marker",)),
    ),
    "null before the section": (
        f"<think>r</think>null{OPEN}{CALC}{CLOSE}",
        Read("r", "", ONE, ("null_before_call",)),
    ),
    "null before a call": (
        f"{OPEN}null\n{CALC} null {called('functions.calculator:1', CALC_ARGS)}{CLOSE}",
        Read("", "", (*ONE, ok(1, "calculator", CALC_ARGS)), ("null_before_call",) * 2),
    ),
    "null as the answer": ("<think>r</think>null", Read("r", "null", (), ())),
    "an answer that begins like null": ("nullify it", Read("", "nullify it", (), ())),
    "empty section": (
        f"<think>r</think>Done.{OPEN}\n{CLOSE}",
        Read("r", "Done.", (), ("empty_section",)),
    ),
    "empty call": (
        f"{OPEN}{CALL} {END}{CALC}{CLOSE}",
        Read("", "", ONE, ("empty_call",)),
    ),
    "call without its end, then another": (
        f"{OPEN}{CALL}functions.calculator:0{ARGS}{CALC_ARGS}"
        f"{called('functions.calculator:1', CALC_ARGS)}{CLOSE}",
        Read("", "", (*ONE, ok(1, "calculator", CALC_ARGS)), ("missing_call_end",)),
    ),
    "call without its end, then the section's": (
        f"{OPEN}{CALL}functions.calculator:0{ARGS}{CALC_ARGS}{CLOSE}",
        Read("", "", ONE, ("missing_call_end",)),
    ),
    "call without its end, then the reply's": (
        f"{OPEN}{CALL}functions.calculator:0{ARGS}{CALC_ARGS}<|im_end|>",
        Read("", "", ONE, ("missing_call_end",)),
    ),
    "section without its end": (
        f"{OPEN}{CALC}<|im_end|>",
        Read("", "", ONE, ("section_not_closed",)),
    ),
    "reasoning only": ("<think>Hm.<|im_end|>", Read("Hm.", "", (), ("no_answer",))),
    "ends at the end of reasoning": (
        "<think>Hm.</think>\n<|im_end|>",
        Read("Hm.", "", (), ("no_answer",)),
    ),
    "nothing at all": ("<|im_end|>", Read("", "", (), ("no_answer",))),
    "hallucinated tool": (
        OPEN + called("functions.web_search:0", '{"q": "x"}') + CLOSE,
        Read("", "", (("functions.web_search:0", "web_search", '{"q": "x"}', "unknown_tool"),), ()),
    ),
    "text that only looks like a marker": (
        "see «<|tool_calls» and «<|tool_call_section_beg» end, «<|tool_call_begin|>» too, <| <",
        Read(
            "",
            "see <|tool_calls and <|tool_call_section_beg end, <|tool_call_begin|> too, <| <",
            (),
            (),
        ),
    ),
    "a singular marker that is only mentioned": (
        f"<think>The marker «{OPEN_1}» opens it.</think>Write «{OPEN_1}» and «{CLOSE_1}».",
        Read(f"The marker {OPEN_1} opens it.", f"Write {OPEN_1} and {CLOSE_1}.", (), ()),
    ),
    "a mentioned marker at the very end": (
        f"It is «{OPEN_1}»\n<|im_end|>",
        Read("", f"It is {OPEN_1}\n", (), ()),
    ),
    "reasoning twice": (
        "<think>a</think>b <think>c</think> d",
        Read("ac", "b  d", (), ()),
    ),
    "stray markers": (
        f"a </think>b{ARGS}c{END}d{CLOSE}e<|im_user|>f<|reserved_token_5|>",
        Read("", "a bcdef", (), ("stray_marker",) * 6),
    ),
    "reasoning begun twice": ("<think>a<think>b</think>c", Read("ab", "c", (), ("stray_marker",))),
    "reasoning inside the section": (
        f"{OPEN}{CALC}<think>hm</think>ok",
        Read("hm", "ok", ONE, ("section_not_closed",)),
    ),
}


def cuts(tokenizer: Tokenizer, reply: str) -> Iterator[list[int]]:
    """The reply's usual tokens, single bytes, and every cut of the bytes in two."""
    usual = tokens(tokenizer, reply)
    control = set(tokenizer.special.values())
    single = {tokenizer.token_bytes(token_id): token_id for token_id in range(256)}
    yield usual
    in_bytes: list[int] = []
    for token_id in usual:
        data = tokenizer.token_bytes(token_id)
        in_bytes += [token_id] if token_id in control else [single[bytes([b])] for b in data]
    yield in_bytes
    for cut in range(1, len(in_bytes)):
        yield [
            token_id
            for half in (in_bytes[:cut], in_bytes[cut:])
            for token_id in retokenised(tokenizer, half, control)
        ]


def retokenised(tokenizer: Tokenizer, ids: list[int], control: set[int]) -> list[int]:
    """The same bytes in the tokens the vocabulary would choose, torn characters left as bytes."""
    out: list[int] = []
    run: list[int] = []
    for token_id in [*ids, -1]:
        if token_id >= 0 and token_id not in control:
            run.append(token_id)
            continue
        data = b"".join(map(tokenizer.token_bytes, run))
        try:
            out += tokenizer.encode(data.decode())
        except UnicodeDecodeError:
            out += run
        run = []
        if token_id >= 0:
            out.append(token_id)
    return out


def renamed_reserved(tokenizer: Tokenizer, reply: str) -> str:
    reserved = next(name for name in tokenizer.special if name.startswith("<|reserved_token_"))
    return reply.replace("<|reserved_token_5|>", reserved)


@pytest.mark.parametrize("case", EMITTED)
def test_what_models_really_emit(tokenizer: Tokenizer, case: str) -> None:
    reply, expected = EMITTED[case]
    reply = renamed_reserved(tokenizer, reply)
    for ids in cuts(tokenizer, reply):
        assert reading(parse(tokenizer, ids)) == expected, ids


@pytest.mark.parametrize("case", EMITTED)
def test_a_reply_cut_short_anywhere_says_so(tokenizer: Tokenizer, case: str) -> None:
    ids = tokens(tokenizer, renamed_reserved(tokenizer, EMITTED[case][0]))
    for length in range(len(ids)):
        read = reading(parse(tokenizer, ids[:length], cause="length"))
        told = ["truncated" in read.problems, *(call[3] == "truncated" for call in read.calls)]
        assert told.count(True) == 1
        assert "no_answer" not in read.problems
