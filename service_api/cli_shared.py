"""What commands share: how they fail, how they print."""

import json


class UsageError(Exception):
    """The command was used wrongly; one line says what is wrong and what would be right."""


class CommandFailed(Exception):
    """The command could not do what it was asked; one line says why."""


def print_json(value: object) -> None:
    """Print a result for scripts."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def reason(error: Exception) -> str:
    """Return why, without the error number and the path that an OSError's text repeats."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
