"""Full polls: a fleet of 10,000 devices polled by the real daemon, through to committed rows.

Bare polls are measured in the same minutes, between the windows, as their cost is the yardstick.
"""

import time
from statistics import median

from psycopg.types.json import Jsonb

from bench import bare, card
from bench.figures import Figure, at_most
from bench.processes import cpu_seconds, resident_bytes
from bench.responder import responding
from bench.stage import Stage, wait_until

DEVICES = 10_000
POLL_SECONDS = 10.0
_WINDOWS = 5
_WINDOW_SECONDS = 10.0
_MEETING_SECONDS = 900.0


def measure(stage: Stage) -> list[Figure]:
    """Return what polls cost, bare and full, and the memory of a daemon with the whole fleet."""
    with responding(card.held(), DEVICES) as agent:
        bare_costs = [bare.measure(agent.hosts, agent.port) for _ in range(_WINDOWS)]
        stage.register(
            [f"snmp://{host}:{agent.port}" for host in agent.hosts],
            protocol="snmp",
            profile=card.PROFILE,
            patience=Jsonb(card.PATIENCE),
            poll_seconds=POLL_SECONDS,
        )
        with stage.daemon(["collect", "ingest"]) as daemon:
            wait_until(
                lambda: stage.seen() == DEVICES,
                f"{DEVICES} devices met for the first time",
                seconds=_MEETING_SECONDS,
            )
            time.sleep(3 * POLL_SECONDS)  # until every card is settled
            alone, together, agents = [], [], []
            for _ in range(_WINDOWS):
                count, began = _rows(stage), stage.used(daemon)
                agent_began = cpu_seconds(agent.process_id)
                time.sleep(_WINDOW_SECONDS)
                ended, agent_ended = stage.used(daemon), cpu_seconds(agent.process_id)
                count = _rows(stage) - count
                alone.append((ended.daemon - began.daemon) / count)
                together.append(alone[-1] + (ended.postgres - began.postgres) / count)
                agents.append((agent_ended - agent_began) / count)
            memory = resident_bytes(daemon) / 1e6
    stage.forget_devices()
    yardstick = median(bare_costs)
    cost = median(alone)
    return [
        Figure("bare gufo-snmp polls of 30 objects", 1 / yardstick, "per CPU-second"),
        Figure("full polls, the daemon alone", 1 / cost, "per CPU-second"),
        Figure("full polls, PostgreSQL's CPU added", 1 / median(together), "per CPU-second"),
        at_most("CPU of a full poll in bare polls", cost / yardstick, "×", 3),
        Figure("the canned responder, in no other figure", median(agents) * 1e6, "µs per poll"),
        at_most(f"memory of the daemon with {DEVICES:,} devices", memory, "MB", 400),
    ]


def _rows(stage: Stage) -> int:
    return int(stage.one("SELECT count(*) FROM telemetry"))
