"""``python -m nano train|export|rollout``: the stations of the embedded model."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch

from .config import NanoConfig
from .model import Nano
from .text import Vocabulary, train_ranks, write_ranks

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "nano"
MODEL = ROOT / "resources" / "models" / "nano"


def vocabulary_at(path: Path, seed: int) -> Vocabulary:
    """The vocabulary, trained on generated conversations where there is none yet."""
    from .corpus.dialogue import make, render

    if not path.exists():
        rng = random.Random(f"vocabulary:{seed}")
        parts = (p for _ in range(30000) for p, _ in render(make(rng)))
        texts = (piece for p in parts for piece in p.split("|>") if piece)
        write_ranks(train_ranks(texts), path)
    return Vocabulary(path)


def trained(cache: Path, cfg: NanoConfig) -> Nano:
    """The model of the last checkpoint."""
    model = Nano(cfg)
    model.load_state_dict(torch.load(cache / "state.pt", weights_only=True)["model"])
    return model.eval()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="nano", description=__doc__)
    parser.add_argument("station", choices=("train", "export", "rollout", "plot", "eval-set"))
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--decay-at", type=int, default=4000)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--out", type=Path, default=MODEL)
    parser.add_argument("--rollout-seconds", type=float, default=600.0)
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    vocabulary = vocabulary_at(args.out / "tiktoken.model", args.seed)
    cfg = NanoConfig(vocab_size=vocabulary.size)
    log = args.cache / "training.jsonl"
    if args.station == "train":
        from .train import Plan, train

        plan = Plan(
            args.seed, args.steps, args.decay_at, args.lr, rollout_seconds=args.rollout_seconds
        )
        train(args.cache, vocabulary, cfg, plan, log)
    elif args.station == "export":
        from .export import export
        from .train import tidy

        print(f"{export(trained(args.cache, cfg), vocabulary, args.out) / 1e6:.1f} MB of weights")
        (args.out / "training.jsonl").write_text(tidy(log), encoding="utf-8")
    elif args.station == "eval-set":
        from .eval_set import write

        write(ROOT / "resources" / "eval" / "nano.json", args.seed, 400)
    elif args.station == "plot":
        from .plot import plot

        plot(args.out / "training.jsonl", ROOT / "docs" / "img" / "nano-loss.png")
    elif args.station == "rollout":
        from .rollout import report

        report(
            trained(args.cache, cfg), vocabulary, args.seed, args.tasks, args.cache / "wrong.txt"
        )


if __name__ == "__main__":
    main()
