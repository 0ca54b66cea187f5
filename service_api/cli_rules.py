"""`ridethrough rules export` and `import`: own rules and overrides as a TOML file."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from rules.catalogue import RuleInvalid
from rules.rule_exchange import Planned
from rules.rule_import import export_rules, import_rules
from service_api.cli_operate import _dsn, _settings
from service_api.cli_shared import CommandFailed, UsageError, print_json, reason
from service_api.database import STAFF, open_pool, request_transaction
from service_api.request import Connection

ACTOR = "command line"
_DEEDS = {"add": "+", "change": "~", "take_away": "-"}


@contextmanager
def _rows() -> Iterator[Connection]:
    """Open a transaction as staff have it."""
    dsn = _dsn(_settings().api_database_url, "API_DATABASE_URL", "rules are kept there")
    try:
        with (
            open_pool(dsn, most=1, name="rules") as pool,
            request_transaction(pool, STAFF) as connection,
        ):
            yield connection
    except psycopg.Error as error:
        raise CommandFailed(f"the database failed: {error}") from error


def rules_export(arguments: argparse.Namespace) -> None:
    """Write own rules and overrides in force."""
    with _rows() as connection:
        text = export_rules(connection)
    if arguments.file is None:
        sys.stdout.write(text)
        return
    try:
        arguments.file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{arguments.file} cannot be written: {reason(error)}") from error


def rules_import(arguments: argparse.Namespace) -> None:
    """Save what a file changes, or only say what that is."""
    if not arguments.reason.strip():
        raise UsageError("--reason says why: it cannot be empty")
    try:
        text = arguments.file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{arguments.file} cannot be read: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{arguments.file} is not UTF-8 text: {error}") from error
    try:
        with _rows() as connection:
            plan = import_rules(
                connection,
                text,
                replace=arguments.replace,
                dry_run=arguments.dry_run,
                actor=ACTOR,
                reason=arguments.reason.strip(),
                now=arguments.now(),
            )
    except RuleInvalid as error:
        raise UsageError(f"{arguments.file}: {error}") from error
    if arguments.json:
        print_json([_told(one) for one in plan])
        return
    for one in plan:
        print(f"{_DEEDS[one.deed]} {one.rule_key}{_scope(one)}")
        for each in one.differences:
            print(f"    {each.field}: {_value(each.before)} -> {_value(each.after)}")
    print(f"{len(plan)} {'would change' if arguments.dry_run else 'changed'}")


def _told(one: Planned) -> dict[str, object]:
    return {
        "rule": one.rule_key,
        "scope": one.scope.kind,
        "about": one.scope.about,
        "maker": one.scope.maker,
        "deed": one.deed,
        "differences": [each._asdict() for each in one.differences],
    }


def _scope(one: Planned) -> str:
    if one.scope.kind == "rule":
        return ""
    return f" @ {one.scope.kind} {one.scope.maker} {one.scope.about}".replace("  ", " ").rstrip()


def _value(value: object) -> str:
    return "-" if value is None else str(value)
