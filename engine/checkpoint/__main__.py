"""``python -m engine.checkpoint FOLDER [--deep] [--json]``: print the report of a folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from engine.checkpoint.report import inspect_folder
from engine.protocol import FolderReport


def main() -> int:
    """Exit code 0 when the folder is complete, 1 when it is not."""
    parser = argparse.ArgumentParser(prog="python -m engine.checkpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--deep", action="store_true", help="read scales, norms and shape records")
    args = parser.parse_args()
    report = inspect_folder(args.folder, args.deep, _show if sys.stderr.isatty() else _say_nothing)
    print(msgspec.json.encode(report).decode() if args.json else as_text(report))
    return 0 if report.complete else 1


def as_text(report: FolderReport) -> str:
    """The report for people."""
    verdict = "complete" if report.complete else "not usable"
    lines = [f"{report.path}: {verdict}"]
    if report.family:
        lines.append(
            f"  {report.family}, {report.layers} layers, {report.routed_experts} routed experts "
            f"({report.experts_per_token} per token, {report.expert_format}), "
            f"context {report.context_length:,}"
        )
    if report.parameters:
        lines.append(
            f"  {report.parameters:,} parameters, {report.active_parameters:,.0f} active per token"
        )
    lines.append(f"  {report.shards} shards, {report.total_bytes:,} bytes")
    lines += [f"    {part:<11}{size:>17,}" for part, size in report.bytes_by_part.items()]
    for problem in report.problems:
        more = f" (and {problem.more:,} more)" if problem.more else ""
        hint = f" — {problem.hint}" if problem.hint else ""
        lines.append(f"  {problem.code}: {problem.message}{more}{hint}")
    return "\n".join(lines)


def _show(share: float) -> None:
    end = "\n" if share == 1 else ""
    print(f"\rreading {share:4.0%} ", end=end, file=sys.stderr, flush=True)


def _say_nothing(share: float) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
