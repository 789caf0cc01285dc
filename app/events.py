"""The event spine: the one union that journal, window, terminal and tests all read.

An :class:`Event` is a flat record; ``span`` and ``parent`` ids make the tree. The journal appends
an event to SQLite *before* anybody sees it, and what is on screen is ``fold(state, event)``
(:mod:`app.state`).

Order within a conversation (``seq`` rises by one):
``TurnBegin (StepBegin NoteGiven* ModelCallBegin (PartBegin PartDelta* PartEnd)* ModelCallEnd
(ToolProposed [[ApprovalAsked] ApprovalAnswered] [ToolStarted
(ToolOutput | ArtefactMade | FileChanged)*] ToolEnded)* StepEnd)*
[Interrupted | Failed] TurnEnd``. Every ToolProposed is followed by a ToolEnded, whatever happens,
so that the history stays valid for the chat template.

Parts are stored merged: the journal upserts the open part (``PartSnapshot``) at most every 500 ms
and drops raw ``PartDelta``s; live subscribers get every delta. Both folds end in the same state.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from engine.protocol import ChatMessage, Timings, ToolSpec, Usage

SCHEMA = 1

PartKind = Literal["reasoning", "text", "tool_call"]
TurnStatus = Literal["running", "answered", "stopped", "failed", "budget"]
Cause = Literal["user", "budget", "shutdown", "engine_lost", "loop"]
StopMode = Literal["now", "after_step"]
Decision = Literal["once", "run", "always", "deny"]
ToolStatus = Literal["ok", "error", "denied", "cancelled", "unknown"]
"""``unknown``: the program ended while it ran; it may or may not have had its effect."""
Effort = Literal["fast", "standard", "deep", "exam", "search", "heavy"]
Limit = Literal["steps", "tokens", "thinking", "step_thinking", "seconds", "tool_seconds", "cost"]
Purpose = Literal["act", "conclude", "summary", "aggregate"]
"""What a step is for: to go on with the task, to answer from what is there, to write notes, to
make one answer of those of several lanes.
"""


Media = Literal["image/png", "image/jpeg", "text/csv", "text/html"]
"""What an artefact is."""

FormAction = Literal["accept", "decline", "cancel"]
PausePlace = Literal["step", "call", "result", "endpoint"]
"""``endpoint``: in a step, until whoever answers it is there again."""
GoMode = Literal["go", "step"]


class Budget(msgspec.Struct, frozen=True):
    """Limits of one turn; 0 means no limit. Tokens are completion tokens over all steps."""

    steps: int = 50
    tokens: int = 0
    seconds: float = 0.0
    step_tokens: int = 0
    """Completion tokens of a single model call; 0: what the context leaves."""
    thinking: int = 0
    """Reasoning tokens over all steps."""
    step_thinking: int = 0
    """Reasoning tokens of a single model call."""
    tool_seconds: float = 0.0
    """Time in tools, those side by side counted once."""
    cost: float = 0.0
    """In the currency of the endpoint's prices."""


class Unattended(msgspec.Struct, frozen=True):
    """What may run with nobody there: calls that a pattern of ``allow`` covers
    (:mod:`app.trust.pattern`). ``otherwise``: what becomes of other calls that ask.
    """

    allow: tuple[str, ...] = ()
    until: float = 0.0
    """Unix time in seconds; 0: as long as the run."""
    otherwise: Literal["ask", "deny"] = "deny"


NOBODY = Unattended()
"""Every call that would ask is denied."""


class RunSettings(msgspec.Struct, frozen=True):
    """What a turn is run with; stored with the turn so that it can be run again."""

    backend: str = "local"
    """``local`` (our engine) or the id of a remote endpoint in the settings."""
    model: str = ""
    effort: Effort = "standard"
    tools: tuple[str, ...] = ("calculator", "python", "list_files", "read_file", "search_files")
    budget: Budget = Budget()
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    system_prompt: str = ""
    context: int = 0
    """Tokens of the window that may be used; 0: what the model has."""
    lanes: int = 8
    """With the effort ``heavy``: how many trajectories run side by side."""


# -- conversation ------------------------------------------------------------------------------


class ConversationCreated(msgspec.Struct, frozen=True, tag="conversation.created"):
    title: str
    folder: str = ""
    """The folder that file tools may read; empty: none chosen."""


class ConversationRenamed(msgspec.Struct, frozen=True, tag="conversation.renamed"):
    title: str


class ConversationFolderChanged(msgspec.Struct, frozen=True, tag="conversation.folder"):
    folder: str


class ConversationDeleted(msgspec.Struct, frozen=True, tag="conversation.deleted"):
    """Hidden from the list; ``ConversationRestored`` undoes it."""


class ConversationRestored(msgspec.Struct, frozen=True, tag="conversation.restored"):
    pass


# -- turn and step -----------------------------------------------------------------------------


class Fork(msgspec.Struct, frozen=True):
    """A turn that begins with the first ``steps`` steps of another."""

    turn: str
    steps: int


class TurnBegin(msgspec.Struct, frozen=True, tag="turn.begin"):
    """A user message and the run that answers it. ``turn`` is the run id.

    ``parent`` is the turn before it on its branch (None: the first). Regenerate and edit add a
    sibling: another turn with the same parent.
    """

    turn: str
    parent: str | None
    text: str
    settings: RunSettings
    fork: Fork | None = None


class TurnSelected(msgspec.Struct, frozen=True, tag="turn.selected"):
    """The person switched branches: the path that ends in this turn's subtree is shown."""

    turn: str


class TurnResumed(msgspec.Struct, frozen=True, tag="turn.resumed"):
    """An interrupted turn goes on after its last finished step."""

    turn: str


class TurnEnd(msgspec.Struct, frozen=True, tag="turn.end"):
    turn: str
    status: TurnStatus
    answer: str = ""


class StepBegin(msgspec.Struct, frozen=True, tag="step.begin"):
    index: int
    purpose: Purpose = "act"


class StepEnd(msgspec.Struct, frozen=True, tag="step.end"):
    index: int


# -- lanes -------------------------------------------------------------------------------------


class LaneBegin(msgspec.Struct, frozen=True, tag="lane.begin"):
    """One of several trajectories towards the same task. ``lane`` is the run id of its events;
    ``number`` counts from 1.
    """

    lane: str
    number: int
    seed: int


class LaneResumed(msgspec.Struct, frozen=True, tag="lane.resumed"):
    """A lane that was cut off goes on after its last finished step."""

    lane: str


class LaneEnd(msgspec.Struct, frozen=True, tag="lane.end"):
    """``code`` and ``message`` say why a lane without an answer has none; ``left_out``: a person
    stopped this one and let the others run.
    """

    lane: str
    status: TurnStatus
    answer: str = ""
    code: str = ""
    message: str = ""


class LaneGroup(msgspec.Struct, frozen=True):
    """Lanes, by their numbers, whose answers are the same."""

    answer: str
    lanes: tuple[int, ...]


class LanesCompared(msgspec.Struct, frozen=True, tag="lanes.compared"):
    """How far the lanes with an answer agree. ``agree``: those that say what the final answer says.

    ``by``: short answers were compared as such, else the model that read them all judged; nobody
    where it did not say.
    """

    agree: tuple[int, ...]
    of: int
    by: Literal["answers", "model", "nobody"]
    groups: tuple[LaneGroup, ...] = ()


# -- steering ----------------------------------------------------------------------------------


class Breakpoint(msgspec.Struct, frozen=True):
    """Where a run pauses: before the tool named ``text``; on an error; when ``text`` is said,
    thought or read; before step ``number``; when ``number`` % of a limit are used.
    """

    kind: Literal["tool", "error", "text", "step", "budget"]
    text: str = ""
    number: float = 0


class BreakpointsSet(msgspec.Struct, frozen=True, tag="breakpoints"):
    """Those of the conversation from now on."""

    points: tuple[Breakpoint, ...]


class PauseAsked(msgspec.Struct, frozen=True, tag="pause.asked"):
    """A person wants the run to pause at the next place where it can."""


class Paused(msgspec.Struct, frozen=True, tag="paused"):
    """The run stands before a step, before a reply's calls, or after their results."""

    where: PausePlace
    reason: str


class Continued(msgspec.Struct, frozen=True, tag="continued"):
    """``step``: to pause again before the next step."""

    mode: GoMode


class MessageQueued(msgspec.Struct, frozen=True, tag="message.queued"):
    """A person says something while the run is at work; the model hears it in the next step."""

    id: str
    text: str


class MessageTaken(msgspec.Struct, frozen=True, tag="message.taken"):
    """A queued message, as a user message before this step's reply."""

    id: str
    text: str


class MessageWithdrawn(msgspec.Struct, frozen=True, tag="message.withdrawn"):
    """A queued message that the person took back before a step took it."""

    id: str


class ArgumentsEdited(msgspec.Struct, frozen=True, tag="tool.arguments_edited"):
    """A person changed a call before it ran; the model reads it as its own, and with the result
    that it was changed. ``before``: as it was.
    """

    call: str
    arguments: str
    before: str = ""


class ResultEdited(msgspec.Struct, frozen=True, tag="tool.result_edited"):
    """A person changed a result before the model read it."""

    call: str
    result: str


class ReasoningEdited(msgspec.Struct, frozen=True, tag="reasoning.edited"):
    """A person changed what was thought in the step ``step``. While that is still being written,
    the rest of it is discarded and the model goes on from here.
    """

    step: str
    text: str


# -- what the program decides ------------------------------------------------------------------


NOTE_BEGINS = "Note from the program, not from the user: "


class NoteGiven(msgspec.Struct, frozen=True, tag="note"):
    """Something the program tells the model before a step's reply; it stays in the history.
    ``about``: ids of what it speaks of, as changes that were undone, so that it is told once.
    """

    code: str
    text: str
    about: tuple[str, ...] = ()


class BudgetNear(msgspec.Struct, frozen=True, tag="budget.near"):
    """Most of a limit is used; the model is told in the same step."""

    limit: Limit
    used: float
    allowed: float


class ThinkingCut(msgspec.Struct, frozen=True, tag="budget.thinking"):
    """Reasoning ended at its limit: closed by the engine, or by the program leaving the stream."""

    tokens: int
    by: Literal["engine", "program"]


class Concluding(msgspec.Struct, frozen=True, tag="conclude"):
    """No further steps; this one has to answer from what is there. ``code`` says what ended it."""

    code: str
    message: str


class Retrying(msgspec.Struct, frozen=True, tag="model.retry"):
    """A model call broke off and is made again after ``wait`` seconds.

    What the step's model wrote so far is discarded: it is shown as such and never sent on.
    """

    attempt: int
    wait: float
    code: str
    message: str


class EndpointLost(msgspec.Struct, frozen=True, tag="endpoint.lost"):
    """Asking again was of no use and nobody answers there: the run waits, as one that is paused.

    What the step's model wrote so far is discarded, as before :class:`Retrying`.
    """

    endpoint: str
    code: str
    message: str
    hint: str = ""


class EndpointLooked(msgspec.Struct, frozen=True, tag="endpoint.looked"):
    """Published, never stored: how often it was looked for, and in how many seconds it will be."""

    looks: int
    wait: float


class EndpointBack(msgspec.Struct, frozen=True, tag="endpoint.back"):
    """The wait is over and the step's model is asked anew. ``by``: it answers again, or a person
    wants it to be tried.
    """

    endpoint: str
    seconds: float
    by: Literal["endpoint", "person"]


class RepairAsked(msgspec.Struct, frozen=True, tag="model.repair"):
    """Calls of a reply did not fit their tools; the model writes it once more.

    What it wrote is discarded, as before :class:`Retrying`. ``count``: of this run so far.
    """

    calls: tuple[str, ...]
    """Tools that were called wrongly."""
    problems: tuple[str, ...]
    count: int = 1


class LoopSeen(msgspec.Struct, frozen=True, tag="loop.seen"):
    """The same call with the same result again: what is done about it. ``count``: how often."""

    call: str
    stage: Literal["told", "forbidden", "refused", "heated", "concluded"]
    count: int


class ToolUnavailable(msgspec.Struct, frozen=True, tag="tool.unavailable"):
    """A tool that failed in the same way ``failures`` times rests until step ``until``."""

    name: str
    failures: int
    until: int


class DriftSeen(msgspec.Struct, frozen=True, tag="drift.seen"):
    """A sign that the run loses its way."""

    code: str
    message: str


class ContextHidden(msgspec.Struct, frozen=True, tag="context.hidden"):
    """From here on the model reads placeholders instead of these results. Tokens of the prompt;
    ``tokens_after`` 0: not known, for notes follow.
    """

    calls: tuple[str, ...]
    tokens_before: int
    tokens_after: int
    window: int
    reason: str


class ContextSummarised(msgspec.Struct, frozen=True, tag="context.summarised"):
    """From here on the model reads ``text`` instead of everything up to the first ``steps`` steps
    of ``turn``.
    """

    turn: str
    steps: int
    text: str
    tokens_before: int
    tokens_after: int
    window: int
    reason: str


class PlanItem(msgspec.Struct, frozen=True):
    text: str
    status: Literal["todo", "doing", "done", "dropped"] = "todo"


class PlanChanged(msgspec.Struct, frozen=True, tag="plan"):
    """The model's plan as it now stands."""

    items: tuple[PlanItem, ...]


class ToolsMissing(msgspec.Struct, frozen=True, tag="tools.missing"):
    """A server whose tools the run was to have cannot be used; it goes on without them."""

    server: str
    message: str


class ClockJumped(msgspec.Struct, frozen=True, tag="clock.jumped"):
    """Nothing ran for so long (sleep, a stopped process); no budget counts it."""

    seconds: float


# -- model call --------------------------------------------------------------------------------


class ModelCallBegin(msgspec.Struct, frozen=True, tag="model.begin"):
    """Exactly what is sent, so that a step can be run again.

    ``after`` names the step of an earlier call of the same turn: the first ``kept`` messages are
    that call's, and ``messages`` is what follows them; ``same_tools``: so are the tools. A long run
    would otherwise store its beginning again with every step.
    """

    backend: str
    model: str
    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolSpec, ...] = ()
    sampling: dict[str, Any] = {}
    after: str = ""
    kept: int = 0
    same_tools: bool = False


class ModelPrompt(msgspec.Struct, frozen=True, tag="model.prompt"):
    """The rendered prompt as the engine tokenised it, special tokens visible.

    With ``after``, its first ``kept`` characters are those of that step's prompt.
    """

    text: str
    tokens: int
    after: str = ""
    kept: int = 0


class PrefillProgress(msgspec.Struct, frozen=True, tag="model.progress"):
    """Published, never stored."""

    done: int
    total: int
    seconds_left: float | None = None


class PartBegin(msgspec.Struct, frozen=True, tag="part.begin"):
    part: str
    kind: PartKind
    call: str = ""
    """For ``tool_call``: the call id."""
    name: str = ""


class PartDelta(msgspec.Struct, frozen=True, tag="part.delta"):
    """Published, never stored. ``tokens`` counts what this text was sampled from, if known."""

    part: str
    text: str
    tokens: int = 0


class PartSnapshot(msgspec.Struct, frozen=True, tag="part.snapshot"):
    """Stored while a part is open (one row a part, replaced): the whole text so far."""

    part: str
    text: str
    tokens: int = 0


class PartEnd(msgspec.Struct, frozen=True, tag="part.end"):
    """The whole text, so that stored and live folds agree. ``seconds`` from begin to end."""

    part: str
    text: str
    tokens: int = 0
    seconds: float = 0.0
    seal: str = ""
    """Of reasoning: what its endpoint wants to see with it again."""


class FormatProblemSeen(msgspec.Struct, frozen=True, tag="model.problem"):
    code: str
    message: str


class ModelCallEnd(msgspec.Struct, frozen=True, tag="model.end"):
    finish_reason: str
    usage: Usage = Usage()
    timings: Timings = Timings()
    first_token_ms: float = 0.0
    seconds: float = 0.0


# -- tools -------------------------------------------------------------------------------------


class ToolProposed(msgspec.Struct, frozen=True, tag="tool.proposed"):
    call: str
    name: str
    arguments: str
    problem: str = ""
    """Why it cannot run as written (unknown tool, invalid arguments), if so."""
    repeats: str = ""
    """A call of unknown outcome that did, or was to do, the same."""


class ApprovalAsked(msgspec.Struct, frozen=True, tag="tool.approval_asked"):
    call: str
    reason: str
    """In words; several reasons a line each."""
    risk: str = ""
    """What kind of harm the tool could do (``app.tools.base.Risk``)."""
    preview: str = ""
    """What the call would change in a file, as a unified diff."""
    sandbox: str = ""
    """What its processes are confined by (``app.tools.base.Level``); empty: it starts none."""
    targets: tuple[str, ...] = ()
    """What the call is aimed at, as ``host example.org``."""
    strange: tuple[str, ...] = ()
    """Those of them that the person never named."""
    suggestions: tuple[str, ...] = ()
    """Patterns that the answer may be kept as."""


class ApprovalAnswered(msgspec.Struct, frozen=True, tag="tool.approval_answered"):
    """Without an ``ApprovalAsked`` before it: a rule answered, nobody was asked."""

    call: str
    decision: Decision
    reason: str = ""
    by: Literal["person", "rule", "unattended", "guard"] = "person"
    rule: str = ""
    """The pattern that decided, or that the person wants to be kept."""


class UnattendedSet(msgspec.Struct, frozen=True, tag="unattended"):
    """A person said what may run with nobody there; in a turn: for that turn. None: the end."""

    scope: Unattended | None


class GuardHit(msgspec.Struct, frozen=True, tag="guard.hit"):
    """A guard found something. ``excerpt`` shows where, never what."""

    guard: str
    where: Literal["input", "output", "call", "result"]
    action: Literal["block", "ask", "redact", "note"]
    message: str
    call: str = ""
    excerpt: str = ""


class FormAsked(msgspec.Struct, frozen=True, tag="tool.form_asked"):
    """The server of a running tool asks a person something; ``schema``: a flat JSON Schema."""

    call: str
    form: str
    server: str
    message: str
    schema: dict[str, Any] = {}


class FormAnswered(msgspec.Struct, frozen=True, tag="tool.form_answered"):
    """What was entered is not kept."""

    call: str
    form: str
    server: str
    action: FormAction


class ToolStarted(msgspec.Struct, frozen=True, tag="tool.started"):
    call: str


class ToolOutput(msgspec.Struct, frozen=True, tag="tool.output"):
    """Output while a tool runs; bounded by the tool's own limit."""

    call: str
    text: str


class ToolEnded(msgspec.Struct, frozen=True, tag="tool.ended"):
    """``result`` is exactly the text the model will read."""

    call: str
    status: ToolStatus
    result: str
    seconds: float = 0.0


class ArtefactMade(msgspec.Struct, frozen=True, tag="tool.artefact"):
    """A picture or table that a call made; its bytes are kept under ``blob`` (``app.store.blobs``).

    Untrusted, as all that tools return: nothing in it is ever run or fetched.
    """

    call: str
    blob: str
    media: Media
    title: str = ""
    size: int = 0


class FileChanged(msgspec.Struct, frozen=True, tag="file.changed"):
    """A call wrote a file of the conversation's folder. It can be undone while the earlier content
    is kept and the file is as the call left it.
    """

    call: str
    change: str
    """Names this change."""
    path: str
    """Relative to the folder."""
    before: str | None
    """The earlier content's blob; empty: too large to be kept; None: there was no file."""
    after: str
    """SHA-256 of what was written."""
    diff: str = ""
    """Unified, cut where it is long."""
    folder: str = ""


class FileRestored(msgspec.Struct, frozen=True, tag="file.restored"):
    """A person undid a change."""

    change: str
    path: str


# -- trouble -----------------------------------------------------------------------------------


class StopAsked(msgspec.Struct, frozen=True, tag="stop.asked"):
    mode: StopMode


class Interrupted(msgspec.Struct, frozen=True, tag="interrupted"):
    cause: Cause
    message: str = ""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    code: str
    message: str
    hint: str = ""
    retryable: bool = False


class Unknown(msgspec.Struct, frozen=True, tag="unknown"):
    """An event of a newer version: kept and shown raw, never dropped."""

    kind: str
    data: dict[str, Any]


Body = (
    ConversationCreated
    | ConversationRenamed
    | ConversationFolderChanged
    | ConversationDeleted
    | ConversationRestored
    | TurnBegin
    | TurnSelected
    | TurnResumed
    | TurnEnd
    | StepBegin
    | StepEnd
    | LaneBegin
    | LaneResumed
    | LaneEnd
    | LanesCompared
    | BreakpointsSet
    | PauseAsked
    | Paused
    | Continued
    | MessageQueued
    | MessageTaken
    | MessageWithdrawn
    | ArgumentsEdited
    | ResultEdited
    | ReasoningEdited
    | NoteGiven
    | BudgetNear
    | ThinkingCut
    | Concluding
    | Retrying
    | EndpointLost
    | EndpointLooked
    | EndpointBack
    | RepairAsked
    | LoopSeen
    | ToolUnavailable
    | DriftSeen
    | ContextHidden
    | ContextSummarised
    | PlanChanged
    | ToolsMissing
    | ClockJumped
    | ModelCallBegin
    | ModelPrompt
    | PrefillProgress
    | PartBegin
    | PartDelta
    | PartSnapshot
    | PartEnd
    | FormatProblemSeen
    | ModelCallEnd
    | ToolProposed
    | ApprovalAsked
    | ApprovalAnswered
    | UnattendedSet
    | GuardHit
    | FormAsked
    | FormAnswered
    | ToolStarted
    | ToolOutput
    | ToolEnded
    | ArtefactMade
    | FileChanged
    | FileRestored
    | StopAsked
    | Interrupted
    | Failed
    | Unknown
)


class Event(msgspec.Struct, frozen=True):
    """``seq`` orders events within a conversation; 0 for events that are published only.

    ``at`` is Unix time in seconds. ``run`` is the turn id ("" outside a turn), or a lane's id.
    ``span`` names the step the event belongs to ("" outside a step).
    """

    seq: int
    at: float
    conversation: str
    body: Body
    run: str = ""
    span: str = ""


_encoder = msgspec.json.Encoder()
_bodies: msgspec.json.Decoder[Body] = msgspec.json.Decoder(Body)


def encode_body(body: Body) -> bytes:
    """JSON with the kind under ``type``."""
    return _encoder.encode(body)


def decode_body(data: bytes | str) -> Body:
    """The inverse of :func:`encode_body`; a kind this version does not know becomes `Unknown`."""
    try:
        return _bodies.decode(data)
    except msgspec.ValidationError:
        raw = msgspec.json.decode(data)
        kind = str(raw.pop("type", "")) if isinstance(raw, dict) else ""
        return Unknown(kind=kind, data=raw if isinstance(raw, dict) else {"value": raw})
