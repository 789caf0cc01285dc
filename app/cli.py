"""``selenograph SUBCOMMAND``: everything that works without a window.

Only the standard library is imported here, so that ``--help`` is instant; each subcommand
imports what it needs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

ANSWERED, FAILED, USAGE, STOPPED, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes. STOPPED: stopped, or a limit was reached."""

_EPILOG = """\
Without a subcommand the window opens.
exit codes: 0 answered, 1 failed, 2 usage, 3 stopped or limit reached, 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit code. Errors are one line on stderr."""
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else USAGE
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    work: Callable[[argparse.Namespace], int] = arguments.work
    try:
        return _guarded(work, arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; Python must not complain about it at exit.
        sys.stdout = None
        return FAILED


def _guarded(work: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    from app.errors import SelenographError

    try:
        return work(arguments)
    except SelenographError as error:
        complain(str(error))
        return FAILED


def complain(text: str) -> None:
    """``CODE: message (hint)`` as one line on stderr."""
    print("error: " + " ".join(text.split()), file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="selenograph",
        description="A workbench and local engine for thinking agents of the Kimi K2 family.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="keep conversations, settings and logs in DIR"
    )
    commands = parser.add_subparsers(dest="command", metavar="SUBCOMMAND")
    _add_run(commands)
    _add_serve(commands)
    inspect = commands.add_parser("inspect", help="say what is in a checkpoint folder")
    inspect.add_argument("folder", type=Path)
    inspect.add_argument("--json", action="store_true", help="one JSON object")
    inspect.add_argument(
        "--deep", action="store_true", help="also read all scales, norms and shape records"
    )
    inspect.set_defaults(work=_inspect)
    _add_plan(commands)
    _add_make_model(commands)
    _add_index(commands)
    _add_mcp(commands)
    _add_approvals(commands)
    export = commands.add_parser("export", help="write a conversation, secrets blacked out")
    export.add_argument("conversation", metavar="CONVERSATION", help="its id")
    export.add_argument("--format", choices=("markdown", "json"), default="markdown")
    export.add_argument("--with-secrets", action="store_true", help="black nothing out")
    export.set_defaults(work=_command("export"))
    doctor = commands.add_parser("doctor", help="say what this machine has and what is missing")
    doctor.add_argument("--json", action="store_true", help="one JSON object")
    doctor.set_defaults(work=_doctor)
    evaluate = commands.add_parser("eval", help="run tasks with checkers and report on them")
    evaluate.add_argument("name", help="a JSONL file of tasks, or a model's held-out set: nano")
    evaluate.add_argument("--compare", type=Path, metavar="OLD", help="an earlier --json report")
    evaluate.add_argument("--endpoint", metavar="ID", help="a remote endpoint of the settings")
    evaluate.add_argument("--model", type=Path, metavar="DIR", help="a checkpoint folder")
    evaluate.add_argument("--n", type=_positive, metavar="N", help="only the first N tasks")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    evaluate.set_defaults(work=_eval)
    verify = commands.add_parser("verify", help="prove that this machine computes a model rightly")
    verify.add_argument("folder", type=Path)
    verify.add_argument("--json", action="store_true", help="one JSON object")
    verify.add_argument("--seconds", type=float, metavar="S", help="about how long, at most")
    verify.set_defaults(work=_command("verify"))
    bench = commands.add_parser("bench", help="measure this machine, kernels and models")
    bench.add_argument(
        "rest", nargs=argparse.REMAINDER, metavar="...", help="what to measure; layer --help says"
    )
    bench.set_defaults(work=_bench)
    for command in commands.choices.values():
        # After the subcommand, too; there the default must not undo what stood before it.
        command.add_argument(
            "--data", type=Path, metavar="DIR", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser("run", help="ask the agent and print its answer")
    run.add_argument("prompt", nargs="?", help="the question; - reads it from standard input")
    run.add_argument(
        "--effort",
        choices=("fast", "standard", "deep", "exam", "search", "heavy"),
        help="how long it may think; heavy: in several trajectories side by side",
    )
    run.add_argument(
        "--lanes", type=_positive, metavar="N", help="trajectories of --effort heavy (default: 8)"
    )
    run.add_argument(
        "--tools", metavar="A,B", help="tools it may use, comma-separated; '' for none"
    )
    run.add_argument(
        "--cwd", type=Path, metavar="DIR", help="the folder its file tools read (default: here)"
    )
    _add_scope(run)
    run.add_argument(
        "--json", action="store_true", help="each event as a JSON line, then a summary"
    )
    run.add_argument("--model", type=Path, metavar="DIR", help="a checkpoint folder")
    _add_options(run)
    run.add_argument("--endpoint", metavar="ID", help="a remote endpoint of the settings")
    run.add_argument("--system", metavar="TEXT", help="a system prompt of your own")
    run.add_argument("--seed", type=int, help="make sampling repeatable")
    run.add_argument("--temperature", type=float)
    run.add_argument("--max-steps", type=_positive, metavar="N")
    run.add_argument("--max-tokens", type=_positive, metavar="N")
    run.add_argument("--max-seconds", type=float, metavar="S")
    run.add_argument("--max-thinking", type=_positive, metavar="N", help="thinking tokens in all")
    run.add_argument(
        "--context", type=_positive, metavar="N", help="tokens of the window that it may use"
    )
    run.add_argument("--max-cost", type=float, metavar="C", help="for endpoints with a price")
    group = run.add_mutually_exclusive_group()
    group.add_argument("--conversation", metavar="ID", help="go on in this conversation")
    group.add_argument("--resume", metavar="ID", help="finish this conversation's last run")
    run.set_defaults(work=_run)


def _add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="how the model is loaded, e.g. dense=int4 or max_context=32768; repeatable",
    )


def _add_scope(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="PATTERN",
        help="calls that may run unasked, e.g. 'open_page(host=*.example.org)'; repeatable",
    )
    command.add_argument(
        "--yes",
        action="store_true",
        help="allow every tool; not hosts and paths that only pages or files named",
    )


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser("serve", help="run the engine alone, OpenAI-compatible")
    serve.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    serve.add_argument("--model", type=Path, metavar="DIR", help="a checkpoint folder")
    _add_options(serve)
    serve.add_argument("--json", action="store_true", help="the ready line as one JSON object")
    serve.add_argument(
        "--no-snapshots", action="store_true", help="keep nothing of what was computed on disk"
    )
    serve.set_defaults(work=_command("serve"))


def _add_index(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    index = commands.add_parser(
        "index", help="make folders of documents searchable for the agent, without a network"
    )
    index.add_argument(
        "folder", type=Path, nargs="?", help="a folder to add or update (default: update all)"
    )
    index.add_argument("--name", metavar="NAME", help="what the collection is called")
    index.add_argument("--list", action="store_true", help="say what is indexed")
    index.add_argument("--remove", metavar="NAME", help="forget a collection")
    index.add_argument("--json", action="store_true", help="one JSON object a collection")
    index.set_defaults(work=_command("index"))


def _add_mcp(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    mcp = commands.add_parser(
        "mcp", help="offer the agent to other programs, as an MCP server on stdio"
    )
    mcp.add_argument("--tools", metavar="A,B", help="tools that tasks may use; '' for none")
    mcp.add_argument("--cwd", type=Path, metavar="DIR", help="the folder tasks may read")
    _add_scope(mcp)
    mcp.add_argument("--endpoint", metavar="ID", help="a remote endpoint of the settings")
    mcp.set_defaults(work=_command("mcp"))


def _add_approvals(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    approvals = commands.add_parser(
        "approvals", help="list and change what need not be asked, and who allowed what"
    )
    group = approvals.add_mutually_exclusive_group()
    group.add_argument("--allow", metavar="PATTERN", help="never ask about such calls")
    group.add_argument("--ask", metavar="PATTERN", help="always ask about such calls")
    group.add_argument("--deny", metavar="PATTERN", help="never run such calls")
    group.add_argument("--remove", metavar="PATTERN", help="forget a rule")
    group.add_argument(
        "--log", type=_positive, nargs="?", const=100, metavar="N", help="the last N decisions"
    )
    approvals.add_argument("--reason", metavar="TEXT", help="what the model is told with --deny")
    approvals.add_argument("--json", action="store_true", help="one JSON object a line")
    approvals.set_defaults(work=_command("approvals"))


def _add_make_model(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    make = commands.add_parser(
        "make-model", help="write a random checkpoint of a real model's shape, for trying and tests"
    )
    make.add_argument(
        "shape",
        help="k2-thinking, deepseek-v3, glm-4.7-flash, moonlight-16b-a3b, nano, a config.json, "
        "or induction: a model built to find needles",
    )
    make.add_argument("out", type=Path, help="a folder that does not exist yet")
    make.add_argument(
        "--sparse", action="store_true", help="true headers, but holes (zeros) instead of weights"
    )
    make.add_argument(
        "--fill-experts",
        type=_natural,
        default=0,
        metavar="N",
        help="with --sparse: random weights for the first N experts of each layer",
    )
    make.add_argument("--layers", type=_positive, metavar="N", help="fewer or more layers")
    make.add_argument(
        "--experts",
        choices=("published", "int4"),
        default="published",
        help="int4: routed experts as K2 stores them, everything else as published",
    )
    make.add_argument("--seed", type=_natural, default=0, help="other random numbers")
    make.set_defaults(work=_make_model)


def _add_plan(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    plan = commands.add_parser("plan", help="say whether a model fits a machine, how fast, and why")
    plan.add_argument("model", nargs="?", help="a checkpoint folder, or a shape like k2-thinking")
    plan.add_argument(
        "--hardware", metavar="FILE|NAME", help="a described machine (default: this one, measured)"
    )
    plan.add_argument("--context", type=_positive, metavar="N", help="tokens the cache must hold")
    plan.add_argument(
        "--experts",
        choices=("bf16", "fp8", "int8", "int4"),
        help="plan as if the routed experts were stored so",
    )
    plan.add_argument(
        "--dense",
        choices=("published", "bf16", "int8", "int4"),
        help="precision of everything but routed experts (default: the best that fits)",
    )
    plan.add_argument("--table", action="store_true", help="described machines, every shape")
    plan.add_argument("--probe", action="store_true", help="measure this machine and describe it")
    plan.add_argument("--json", action="store_true", help="one JSON object")
    plan.set_defaults(work=_plan)


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"selenograph {version('selenograph')}")
        parser.exit()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    """What ``app.terminal`` has under that name, which is imported only when it is wanted."""

    def work(arguments: argparse.Namespace) -> int:
        code: int = getattr(import_module(f"app.terminal.{name}"), name)(arguments)
        return code

    return work


def _run(arguments: argparse.Namespace) -> int:
    if not arguments.prompt and not arguments.resume:
        print("usage: selenograph run PROMPT\nerror: usage: no prompt was given", file=sys.stderr)
        return USAGE
    from app.terminal.run import run

    return run(arguments)


def _inspect(arguments: argparse.Namespace) -> int:
    from app.terminal.inspect import inspect

    return inspect(arguments.folder, as_json=arguments.json, deep=arguments.deep)


def _make_model(arguments: argparse.Namespace) -> int:
    if arguments.fill_experts and not arguments.sparse:
        print("error: usage: --fill-experts needs --sparse", file=sys.stderr)
        return USAGE
    from app.terminal.make_model import make_model

    return make_model(arguments)


def _plan(arguments: argparse.Namespace) -> int:
    if not (arguments.model or arguments.table or arguments.probe):
        print("usage: selenograph plan FOLDER|SHAPE\nerror: usage: no model given", file=sys.stderr)
        return USAGE
    from app.terminal.plan import plan

    return plan(arguments)


def _doctor(arguments: argparse.Namespace) -> int:
    from app.terminal.doctor import doctor

    return doctor(arguments.data, as_json=arguments.json)


def _eval(arguments: argparse.Namespace) -> int:
    from app import evaluation

    # The figures decide nothing here: an evaluation that ran to its end has succeeded.
    evaluation.run_eval(
        arguments.name,
        arguments.n,
        arguments.json,
        compare=arguments.compare,
        endpoint=arguments.endpoint or "",
        model=arguments.model,
        data=arguments.data,
    )
    return ANSWERED


def _bench(arguments: argparse.Namespace) -> int:
    from app.terminal.bench import bench

    return bench(arguments.rest)


if __name__ == "__main__":
    sys.exit(main())
