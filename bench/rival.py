"""What the same polls cost another collector: collectd's snmp plugin, where it is installed.

The same 30 objects of as many devices, in one request a poll, kept nowhere and judged by nobody: so
this is less than half of what a full poll does. Its polls are those that the responder answered.
"""

import shutil
import subprocess
import time
from pathlib import Path

from bench import card
from bench.figures import Figure
from bench.processes import cpu_seconds
from bench.responder import Responder, responding
from bench.stage import Stage

DEVICES = 500
_INTERVAL_SECONDS = 1
_WARM_SECONDS = 8.0
_SECONDS = 20.0
_SETTINGS = """\
Hostname "bench"
FQDNLookup false
BaseDir "{folder}"
PIDFile "{folder}/collectd.pid"
TypesDB "{folder}/types.db"
Interval {interval}
ReadThreads 10
LoadPlugin snmp
<Plugin snmp>
  <Data "ups">
    Type "ups"
    Table false
    Instance "all"
    Values {oids}
  </Data>
{hosts}
</Plugin>
"""
_HOST = """\
  <Host "{name}">
    Address "{host}:{port}"
    Version 2
    Community "public"
    Collect "ups"
    Interval {interval}
  </Host>
"""


def measure(stage: Stage) -> list[Figure]:
    """Return how many polls collectd does a CPU second; nothing where it is not installed."""
    path = shutil.which("collectd", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if path is None:
        return []
    with responding(card.held(), DEVICES) as agent:
        settings = _settings(stage.folder, agent)
        process = subprocess.Popen(  # noqa: S603 - found where programs are, on purpose
            [path, "-f", "-C", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            time.sleep(_WARM_SECONDS)
            began, answered = cpu_seconds(process.pid), agent.answered()
            time.sleep(_SECONDS)
            cost, answered = cpu_seconds(process.pid) - began, agent.answered() - answered
            if process.poll() is not None:
                raise RuntimeError("collectd ended while it was measured")
        finally:
            process.terminate()
            process.wait(30)
    return [
        Figure(
            "collectd: polls of the same objects, not stored, not judged",
            answered / cost,
            "per CPU-s",
        ),
        Figure("collectd: polls on the clock", answered / _SECONDS, "per s"),
    ]


def _settings(folder: Path, agent: Responder) -> Path:
    sources = ", ".join(f"v{number}:GAUGE:U:U" for number in range(card.OBJECTS))
    (folder / "types.db").write_text(f"ups {sources}\n")
    hosts = "".join(
        _HOST.format(name=f"ups{number}", host=host, port=agent.port, interval=_INTERVAL_SECONDS)
        for number, host in enumerate(agent.hosts)
    )
    settings = folder / "collectd.conf"
    settings.write_text(
        _SETTINGS.format(
            folder=folder,
            interval=_INTERVAL_SECONDS,
            oids=" ".join(f'"{oid}"' for oid in card.polled()),
            hosts=hosts,
        )
    )
    return settings
