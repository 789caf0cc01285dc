"""``python -m engine.placement``: what a model would do on this machine, or on a described one."""

from __future__ import annotations

import argparse
import os
import sys

import msgspec

from engine.errors import RequestError, SelenographError
from engine.placement import hardware
from engine.placement.report import answer, answer_question, find_machine, table
from engine.placement.show import report_text, table_text
from engine.protocol import PlanQuestion, PlanRequest


def main() -> int:
    """Exit code 0 unless the model does not fit or something is wrong: 1."""
    parser = argparse.ArgumentParser(prog="python -m engine.placement")
    parser.add_argument("model", nargs="?", help="a checkpoint folder or the name of a shape")
    parser.add_argument("--hardware", default="", metavar="FILE|NAME")
    parser.add_argument("--context", type=int, default=0, metavar="N")
    parser.add_argument("--experts", choices=("bf16", "fp8", "int8", "int4"))
    parser.add_argument("--dense", choices=("published", "bf16", "int8", "int4"))
    parser.add_argument("--json", action="store_true")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--table", action="store_true")
    what.add_argument("--probe", action="store_true")
    what.add_argument("--stdin", action="store_true", help="a PlanQuestion in, a PlanAnswer out")
    args = parser.parse_args()
    try:
        code = _run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has left; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SelenographError as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return 1


def _run(args: argparse.Namespace) -> int:
    if args.stdin:
        return _converse()
    if args.probe:
        print(hardware.as_json(find_machine(args.hardware, args.model or "")))
        return 0
    if args.table:
        rows = table()
        print(msgspec.json.encode(rows).decode() if args.json else table_text(rows))
        return 0
    if not args.model:
        raise RequestError("no_model", "no model was named", "name a folder or a shape")
    wanted = PlanRequest(args.model, args.hardware, args.context, args.experts, args.dense)
    report = answer(wanted)
    print(msgspec.json.encode(report).decode() if args.json else report_text(report))
    return 0 if report.placement.verdict != "does not fit" else 1


def _converse() -> int:
    """For programs: one question, one answer, each a JSON object."""
    try:
        question = msgspec.json.decode(sys.stdin.buffer.read(), type=PlanQuestion)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestError("bad_request", f"the question cannot be read: {error}") from error
    print(msgspec.json.encode(answer_question(question)).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
