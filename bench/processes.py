"""What processes used, as Linux tells it in /proc: CPU seconds and resident memory."""

import os
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _CHILDREN_SYSTEM = 1, 11, 14  # fields of stat, counted after the command's name


def cpu_seconds(process_id: int) -> float:
    """Return the CPU seconds, user and system, of a process and all its threads."""
    fields = _stat(process_id)
    return (int(fields[_USER]) + int(fields[_USER + 1])) / _TICKS


def cpu_seconds_of_tree(process_id: int) -> float:
    """Return the CPU seconds of a process, its children, and those of them that have ended."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            fields = _stat(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(entry.name) == process_id:
            total += sum(map(int, fields[_USER : _CHILDREN_SYSTEM + 1])) / _TICKS
        elif int(fields[_PARENT]) == process_id:
            total += (int(fields[_USER]) + int(fields[_USER + 1])) / _TICKS
    return total


def resident_bytes(process_id: int) -> int:
    """Return how much memory a process holds."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {process_id} tells no VmRSS")


def resident_bytes_of_tree(process_id: int) -> int:
    """Return how much memory a process and its children hold, what they share counted each time."""
    return sum(resident_bytes(one) for one in (process_id, *_children(process_id)))


def _children(process_id: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(FileNotFoundError, ProcessLookupError):
                if int(_stat(int(entry.name))[_PARENT]) == process_id:
                    found.append(int(entry.name))
    return found


def _stat(process_id: int) -> list[str]:
    # The command's name stands in parentheses and may hold anything.
    text = Path(f"/proc/{process_id}/stat").read_text()
    return text[text.rindex(")") + 2 :].split()
