"""Measure all parts, one after the other, or those that are named: a few minutes each."""

import argparse
import sys
import tempfile
from pathlib import Path

from bench import backtest, judging, messages, nightly, polls, rates, rival, search
from bench.figures import Figure, render, write
from bench.stage import Stage, started

RESULTS = Path(__file__).parent / "results" / "latest.json"
STEPS = {
    "polls": polls.measure,
    "judging": judging.measure,
    "backtest": backtest.measure,
    "nightly": nightly.measure,
    "mqtt": messages.measure,
    "rates": rates.measure,
    "search": search.measure,
    "collectd": rival.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"what to measure: {', '.join(STEPS)}; or all")
    wanted = parser.parse_args().part or list(STEPS)
    unknown = [part for part in wanted if part not in STEPS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(STEPS)}")
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
