"""`ridethrough rules backtest`: try a rule on history, or two side by side."""

import argparse
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from rules.backtest_store import Asked, NotPossible, Scope, estimated, run, units_in
from rules.catalogue import Rule
from rules.version_store import known_rules
from service_api.backtests.asking import AskedWrongly, check_span, chosen, told_apart
from service_api.backtests.report import estimate_of, report
from service_api.cli_operate import _dsn, _settings
from service_api.cli_shared import CommandFailed, UsageError, print_json, reason
from service_api.figures import duration

READ_BY = 2
"""Connections that read at once: one more than is judged is not worth its memory."""


def backtest(arguments: argparse.Namespace) -> None:
    """Say what a rule would have raised, where, how long, and against what tickets said."""
    until = _instant(arguments.until, arguments.now()) if arguments.until else arguments.now()
    since = _instant(arguments.since, arguments.now())
    named = [arguments.rule, *([arguments.against] if arguments.against else [])]
    try:
        check_span(since, until)
    except AskedWrongly as error:
        raise UsageError(str(error)) from error
    scope = Scope(arguments.device, arguments.site, arguments.customer, arguments.model)
    dsn = _dsn(_settings().ingest_database_url, "INGEST_DATABASE_URL", "history is read there")
    try:
        with ExitStack() as stack:
            connections = [
                stack.enter_context(psycopg.connect(dsn, options="-c timezone=UTC"))
                for _ in range(READ_BY)
            ]
            known = known_rules(connections[0]).rules
            asked = Asked(told_apart([_rule(known, name) for name in named]), since, until, scope)
            if arguments.estimate:
                found = estimated(connections[0], asked, units_in(connections[0], scope))
                _print_estimate(estimate_of(found), as_json=arguments.json)
                return
            result = run(connections, asked, progress=_progress)
    except AskedWrongly as error:
        raise UsageError(str(error)) from error
    except NotPossible as error:
        raise CommandFailed(str(error)) from error
    except psycopg.errors.QueryCanceled as error:
        raise CommandFailed("a query took too long: choose fewer units") from error
    except psycopg.Error as error:
        raise CommandFailed(f"the database failed: {error}") from error
    finally:
        _progress(0, 0)
    told = report(result, since, until)
    if arguments.json:
        print_json(told)
    else:
        _print(told)


def _rule(known: Mapping[str, Rule], name: str) -> Rule:
    """Return the rule that a key, FILE or FILE:KEY names."""
    if name in known:
        return known[name]
    file, _, key = (
        name.rpartition(":") if Path(name.rpartition(":")[0]).is_file() else (name, "", "")
    )
    if not Path(file).is_file():
        if Path(file).suffix == ".toml":
            raise UsageError(f"there is no file {file}")
        return chosen(known, key=name)
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {reason(error)}") from error
    return chosen(known, key=key or None, text=text)


def _instant(text: str, now: datetime) -> datetime:
    """Read an instant with its offset, a day in UTC, or so many days ago as in 90d."""
    if text.endswith("d") and text[:-1].isdecimal():
        return now - timedelta(days=min(int(text[:-1]), 100_000))
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is not None and instant.tzinfo is None and len(text) == len("2026-03-02"):
        instant = instant.replace(tzinfo=UTC)
    if instant is None or instant.tzinfo is None:
        raise UsageError(
            f"{text!r} is not an instant: give 2026-03-02, 2026-03-02T08:00:00+08:00, or 90d for"
            " ninety days ago"
        )
    return instant.astimezone(UTC)


def _progress(done: int, parts: int) -> None:
    """Show how far it is where somebody watches; nothing where parts are 0."""
    if sys.stderr.isatty():
        text = f"\r{done} of {parts} parts of history\033[K" if parts else "\r\033[K"
        print(text, end="", file=sys.stderr, flush=True)


def _print_estimate(told: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    print(
        f"{told['units']} units, about {told['readings']:,} readings,"
        f" about {duration('en', told['seconds'])}"
    )
    for note in told["notes"]:
        print(f"note: {note['en']}")


def _print(told: Mapping[str, Any]) -> None:
    print(
        f"{told['since']} to {told['until']}: {told['units']} units,"
        f" {told['readings']:,} readings in {told['seconds']} s"
    )
    for note in told["estimate"]["notes"]:
        print(f"note: {note['en']}")
    for rule in told["rules"]:
        print()
        print(f"{rule['key']}: {rule['condition']}")
        lasted = duration("en", rule["seconds"])
        standing = f", {rule['standing']} still standing" if rule["standing"] else ""
        print(f"  alarms   {rule['alarms']} on {rule['units']} units, {lasted} in all{standing}")
        print(f"  a week   {rule['alarms_a_week']} alarms", end="")
        print(f", {rule['tickets_a_week']} tickets" if rule["opens_tickets"] else ", opens none")
        if rule["scores"] is not None:
            scores = rule["scores"]
            print(
                f"  tickets  {scores['hits']} alarms near a real failure,"
                f" {scores['false_alarms']} near a false one, {scores['unknown']} near none;"
                f" {scores['missed']} failures missed"
            )
        for unit in rule["by_unit"][:10]:
            lasted = duration("en", unit["seconds"])
            print(f"  {unit['alarms']:5}  {unit['name']}, {unit['site']}: {lasted}")
