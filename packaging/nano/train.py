"""The training run: resumable, one log line every few steps, whole tasks tried now and then."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from . import optim, rollout
from .batches import Batch, pool_batches
from .config import NanoConfig
from .model import Nano
from .text import Vocabulary


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast to learn."""

    seed: int
    steps: int
    decay_at: int
    lr: float = 3e-3
    warm_up: int = 50
    batch_tokens: int = 5120
    floor: float = 0.03
    tau: float = 50.0
    watch_every: int = 20
    save_seconds: float = 120.0
    rollout_seconds: float = 600.0
    rollout_tasks: int = 48

    def rate(self, step: int) -> float:
        """Learning rate: warm-up, plateau, linear decay."""
        if step < self.warm_up:
            return self.lr * (step + 1) / self.warm_up
        if step < self.decay_at:
            return self.lr
        left = (self.steps - step) / max(1, self.steps - self.decay_at)
        return self.lr * max(self.floor, left)


@dataclass(slots=True)
class State:
    """Everything a resumed run needs."""

    model: Nano
    optimizers: list[torch.optim.Optimizer]
    step: int = 0
    tokens: int = 0
    learnt: int = 0
    pool: int = 0
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        """Writes the checkpoint beside and moves it into place."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "counts": [self.step, self.tokens, self.learnt, self.pool, self.seconds],
        }
        torch.save(state, path.with_suffix(".new"))
        os.replace(path.with_suffix(".new"), path)

    def load(self, path: Path) -> None:
        """Takes up a checkpoint that this program wrote."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.tokens, self.learnt, self.pool, self.seconds = state["counts"]


def learn(state: State, batch: Batch, plan: Plan) -> tuple[float, float | None]:
    """One step; (loss, largest attention logit if watched)."""
    model = state.model
    watched = state.step % plan.watch_every == 0
    for attention in model.attentions():
        attention.watch = watched
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = plan.rate(state.step)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(batch.ids, batch.groups, batch.select)
    loss = F.cross_entropy(logits.float(), batch.targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(
        [p for g in state.optimizers[1].param_groups for p in g["params"]], 1.0
    )
    for optimizer in state.optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    for moe in model.moes():
        moe.balance(1e-3)
    peak = max(optim.clip_qk(a, plan.tau) for a in model.attentions()) if watched else None
    state.step += 1
    state.tokens += batch.groups.tokens
    state.learnt += len(batch.targets)
    return loss.item(), peak


def tidy(log: Path) -> str:
    """The log without the steps that a resumed run did again."""
    kept: list[dict[str, Any]] = []
    for line in log.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        while kept and kept[-1]["step"] > entry["step"]:
            kept.pop()
        kept.append(entry)
    return "".join(json.dumps(entry) + "\n" for entry in kept)


def train(cache: Path, vocabulary: Vocabulary, cfg: NanoConfig, plan: Plan, log: Path) -> Nano:
    """Trains from the last checkpoint in `cache`, or from the seed, up to `plan.steps`.

    SIGTERM ends the run after the current step with a checkpoint.
    """
    torch.manual_seed(plan.seed)
    model = Nano(cfg)
    state = State(model, optim.build(model, plan.lr))
    checkpoint = cache / "state.pt"
    if checkpoint.exists():
        state.load(checkpoint)
    model.train()
    saved = tried = time.monotonic()
    asked_to_stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.set())
    losses: list[float] = []
    with log.open("a", encoding="utf-8") as out:
        while state.step < plan.steps:
            for batch in pool_batches(vocabulary, plan.seed, state.pool, plan.batch_tokens):
                began = time.monotonic()
                loss, peak = learn(state, batch, plan)
                losses.append(loss)
                now = time.monotonic()
                state.seconds += now - began
                if peak is not None:
                    line = {
                        "step": state.step,
                        "tokens": state.tokens,
                        "learnt": state.learnt,
                        "loss": round(sum(losses) / len(losses), 4),
                        "lr": round(plan.rate(state.step), 6),
                        "max_logit": round(peak, 1),
                        "seconds": round(state.seconds),
                        "tokens_per_s": round(batch.groups.tokens / (now - began)),
                    }
                    out.write(json.dumps(line) + "\n")
                    out.flush()
                    losses.clear()
                if now - saved > plan.save_seconds:
                    state.save(checkpoint)
                    saved = now
                if now - tried > plan.rollout_seconds or state.step == plan.steps:
                    tried = now
                    record = rollout.report(
                        model, vocabulary, state.step, plan.rollout_tasks, cache / "wrong.txt"
                    )
                    line = {"step": state.step, "tokens": state.tokens, **record}
                    out.write(json.dumps(line) + "\n")
                    out.flush()
                if state.step >= plan.steps or asked_to_stop.is_set():
                    break
            state.pool += 1
            if asked_to_stop.is_set():
                break
    state.save(checkpoint)
    return model
