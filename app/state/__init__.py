"""What a conversation looks like (``values``): a pure fold over its events (``folding``).

All values are frozen and share structure: an object that a new event did not touch is the *same*
object in the next state, so a view can compare by identity.
"""

from app.state.folding import fold, fold_all
from app.state.values import (
    Away,
    ContextChange,
    ConversationState,
    ModelCall,
    Part,
    Remark,
    Step,
    Summary,
    ToolRun,
    Turn,
    hidden_on,
    plan_call_on,
    plan_on,
    summary_on,
)

__all__ = [
    "Away",
    "ContextChange",
    "ConversationState",
    "ModelCall",
    "Part",
    "Remark",
    "Step",
    "Summary",
    "ToolRun",
    "Turn",
    "fold",
    "fold_all",
    "hidden_on",
    "plan_call_on",
    "plan_on",
    "summary_on",
]
