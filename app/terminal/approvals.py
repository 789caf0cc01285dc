"""``selenograph approvals``: the rules that stay, and who allowed what."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict

import msgspec

from app.cli import ANSWERED
from app.errors import RequestError
from app.guard.secrets import redact_secrets
from app.paths import Paths
from app.settings import load_settings, save_settings
from app.store.decisions import decisions
from app.trust.pattern import Pattern
from app.trust.policy import Rule, Ruling


def approvals(arguments: argparse.Namespace) -> int:
    """The exit code. Raises SelenographError."""
    paths = Paths.under(arguments.data) if arguments.data else Paths.default()
    if arguments.log:
        return _log(paths, arguments.log, as_json=arguments.json)
    paths.make()
    settings, notice = load_settings(paths.settings)
    if notice:
        print(f"note: {notice.message} {notice.hint}", file=sys.stderr)
    rules = settings.approvals
    if arguments.remove:
        left = tuple(rule for rule in rules if rule.pattern != arguments.remove)
        if left == rules:
            raise RequestError("no_rule", f"there is no rule {arguments.remove!r}")
        rules = left
    elif arguments.allow or arguments.ask or arguments.deny:
        decision: Ruling = "allow" if arguments.allow else "ask" if arguments.ask else "deny"
        pattern = str(Pattern.parse(arguments.allow or arguments.ask or arguments.deny))
        made = Rule(pattern, decision, arguments.reason or "", round(time.time(), 3))
        rules = (*(rule for rule in rules if rule.pattern != pattern), made)
    if rules != settings.approvals:
        save_settings(paths.settings, msgspec.structs.replace(settings, approvals=rules))
    for rule in rules:
        if arguments.json:
            print(msgspec.json.encode(rule).decode())
        else:
            reason = f"  ({rule.reason})" if rule.reason else ""
            print(f"{rule.decision:<6} {rule.pattern}{reason}")
    return ANSWERED


def _log(paths: Paths, count: int, *, as_json: bool) -> int:
    for one in reversed(decisions(paths.database, count)):
        if as_json:
            print(redact_secrets(msgspec.json.encode(asdict(one)).decode()))
            continue
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.at))
        rule = f" [{one.rule}]" if one.rule else ""
        reason = f" ({one.reason})" if one.reason else ""
        call = " ".join(f"{one.tool} {one.arguments}".split())[:200]
        line = f"{at}  {one.what} by {one.by}{rule}{reason}  {call}  “{one.title}”"
        print(redact_secrets(line))
    return ANSWERED
