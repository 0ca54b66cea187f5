"""Run every measurement, one after the other: under ten minutes in all."""

import argparse
import sys
import tempfile
from pathlib import Path

from bench import judging, messages, polls
from bench.figures import Figure, render, write
from bench.stage import Stage, started

RESULTS = Path(__file__).parent / "results" / "latest.json"
STEPS = {
    "polls": polls.measure,
    "judging": judging.measure,
    "mqtt": messages.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=STEPS, help="measure this alone; may be repeated"
    )
    wanted = parser.parse_args().only or list(STEPS)
    if not Path("/proc/self/stat").exists():
        sys.exit("bench: needs Linux, whose /proc tells what each process used")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="ridethrough-bench-") as folder:
        Path(folder).chmod(0o755)  # as root the server runs as another user, who must reach it
        with started(Path(folder) / "data") as stage:
            for name in wanted:
                figures += _measured(name, stage)
    print()
    print(render(figures))
    write(figures, RESULTS)
    print(f"\nwritten to {RESULTS}")


def _measured(name: str, stage: Stage) -> list[Figure]:
    print(f"measuring {name} …", file=sys.stderr, flush=True)
    return STEPS[name](stage)


if __name__ == "__main__":
    main()
