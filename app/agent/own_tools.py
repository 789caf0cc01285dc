"""The tools that work on the run itself: the plan, and results that were hidden."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from app import events as ev
from app.errors import ToolError
from app.plan import as_text
from app.state import plan_on
from app.tools.arguments import as_object, parsed
from app.tools.base import Outside, Risk, ToolContext
from engine.protocol import FunctionSpec, ToolSpec

if TYPE_CHECKING:
    from app.agent.run import Run

_MOST_ITEMS = 100
_LONGEST_ITEM = 500
_STATUSES = ("todo", "doing", "done", "dropped")


class _Own:
    read_only = True
    asks = False
    risk: Risk = "none"
    outside: Outside = "never"
    spec: ToolSpec

    def __init__(self, run: Run) -> None:
        self._run = run

    async def forget(self, conversation: str) -> None:
        """Nothing is kept outside of the events."""

    async def close(self) -> None:
        """Nothing is held."""


class Recall(_Own):
    """Shows a result again that the context policy hid."""

    spec = ToolSpec(
        FunctionSpec(
            "recall",
            "Shows a tool result again that was hidden to save room.",
            {
                "type": "object",
                "properties": {"id": {"type": "string", "description": "The call's id."}},
                "required": ["id"],
            },
        )
    )

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        wanted = str(arguments.get("id", ""))
        for turn in self._run.path():
            for step in turn.steps:
                for tool in step.tools:
                    if tool.call == wanted and tool.status is not None:
                        return tool.result
        raise ToolError("no_call", f"there is no result of a call {wanted[:80]!r}")


class Plan(_Own):
    """Keeps the model's todo list; a person sees it, and it is never hidden."""

    spec = ToolSpec(
        FunctionSpec(
            "plan",
            "Keeps your plan. Give `items` to set the whole list, or `update` to change items by "
            "their numbers. Shows the list.",
            {
                "type": "object",
                "properties": {
                    "items": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "text": {"type": "string"},
                                "status": {"enum": list(_STATUSES)},
                            },
                            "required": ["text"],
                        },
                    },
                    "update": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "item": {"type": "integer", "minimum": 1},
                                "text": {"type": "string"},
                                "status": {"enum": list(_STATUSES)},
                            },
                            "required": ["item"],
                        },
                    },
                },
            },
        )
    )

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        before = plan_on(self._run.path())
        items = list(before)
        if "items" in arguments:
            items = [_item(one, ev.PlanItem("")) for one in _list(arguments["items"])]
        for change in _list(arguments.get("update", [])):
            number = change.get("item")
            if not isinstance(number, int) or not 1 <= number <= len(items):
                raise ToolError("no_item", f"the plan has no item {number!r}: it has {len(items)}")
            items[number - 1] = _item(change, items[number - 1])
        if len(items) > _MOST_ITEMS:
            raise ToolError("arguments", f"a plan has at most {_MOST_ITEMS} items")
        if tuple(items) != before:
            self._run.emit(ev.PlanChanged(tuple(items)), self._run.span)
        return as_text(items) or "(the plan is empty)"


def _list(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ToolError("arguments", "wrong arguments: a list of objects is expected")
    return value


def _item(given: dict[str, Any], old: ev.PlanItem) -> ev.PlanItem:
    text, status = given.get("text", old.text), given.get("status", old.status)
    if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST_ITEM:
        raise ToolError("arguments", f"an item is a text of 1 to {_LONGEST_ITEM} characters")
    if status not in _STATUSES:
        raise ToolError("arguments", f"a status is one of {', '.join(_STATUSES)}")
    return msgspec.structs.replace(old, text=text.strip(), status=status)


OWN: dict[str, type[Recall] | type[Plan]] = {"plan": Plan, "recall": Recall}


def parse(arguments: str) -> dict[str, Any]:
    """Raises ToolError; the tools check what is in it."""
    return as_object(parsed(arguments))
