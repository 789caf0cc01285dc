"""Errors named by who can act on them.

Each carries a stable ``code`` for programs, a ``message`` that says what happened and a
``hint`` that says what to do next. The same codes travel over HTTP and in events.
"""

from __future__ import annotations

from typing import ClassVar


class SelenographError(Exception):
    """Base of every expected failure. Anything else that is raised is a bug."""

    kind: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    retry_after: float | None = None
    """Seconds after which trying again makes sense, where somebody said so."""

    def __init__(self, code: str, message: str, hint: str = "", *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.retryable = retryable

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text


class CheckpointError(SelenographError):
    """The files of a model are missing, damaged, lying or not supported."""

    kind = "checkpoint"
    http_status = 422


class ResourceError(SelenographError):
    """This machine cannot do it now: memory, disk, port, device, or a queue that is full."""

    kind = "resource"
    http_status = 503


class QueueFull(ResourceError):
    """So many requests wait that another is not taken; ``retry_after`` in seconds."""

    http_status = 429

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(
            "queue_full",
            f"{waiting} requests are waiting already",
            f"try again in about {retry_after} s",
            retryable=True,
        )
        self.retry_after = retry_after


class DeadlineExceeded(ResourceError):
    """The request was not done by the time that the caller had set; what was written stays."""

    http_status = 504

    def __init__(self, seconds: float) -> None:
        super().__init__(
            "deadline_exceeded",
            f"the reply was not done within {seconds:g} s",
            "allow more time, or ask for less",
        )


class RequestError(SelenographError):
    """The caller's request is wrong: malformed, too long, or naming what does not exist."""

    kind = "request"
    http_status = 400


class Aborted(SelenographError):
    """The work was stopped on request before it was done."""

    kind = "aborted"
    http_status = 499

    def __init__(self, message: str = "stopped on request") -> None:
        super().__init__("aborted", message)


class EngineLost(SelenographError):
    """The engine process ended or stopped answering."""

    kind = "engine_lost"
    http_status = 502


def context_exceeded(tokens: int, context: int) -> RequestError:
    """Of a prompt that leaves no room for a reply."""
    return RequestError(
        "context_exceeded",
        f"the prompt has {tokens:,} tokens, the model's context holds {context:,}",
        "shorten the conversation or start a new one",
    )
