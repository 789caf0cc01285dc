"""Kimi K2 and K2 Thinking.

The plural section markers are control tokens. The singular ones are a known slip of the models,
spelled in ordinary tokens.
"""

from __future__ import annotations

from engine.text.dialects.base import Dialect, Mark

KIMI_K2 = Dialect(
    markers={
        "<think>": Mark.REASONING_OPEN,
        "</think>": Mark.REASONING_CLOSE,
        "<|tool_calls_section_begin|>": Mark.SECTION_OPEN,
        "<|tool_call_section_begin|>": Mark.SECTION_OPEN,
        "<|tool_calls_section_end|>": Mark.SECTION_CLOSE,
        "<|tool_call_section_end|>": Mark.SECTION_CLOSE,
        "<|tool_call_begin|>": Mark.CALL_OPEN,
        "<|tool_call_argument_begin|>": Mark.ARGUMENTS_OPEN,
        "<|tool_call_end|>": Mark.CALL_CLOSE,
    },
    id_prefix="functions.",
)
