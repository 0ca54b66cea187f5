"""The command line: the one composition root, and the one place that reads the clock.

Every command says in one line what is wrong and what would be right; exit status 2 for wrong
usage, 1 for what failed, 0 only on success. Results are printed, everything else goes to standard
error. What the commands do is in `cli_operate` (operators) and `cli_tools` (integrators), loaded
only when one of them runs.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from service_api.cli_shared import CommandFailed, UsageError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]  # noqa: SLF001 - argparse names it no other way

EXIT_FAILED = 1
EXIT_USAGE = 2

ROLES = ("collect", "ingest", "schedule", "notify", "api")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Refuse, as any other wrong usage is refused."""
        raise UsageError(f"{self.prog}: {message} (see {self.prog} --help)")


def now() -> datetime:
    """Read the clock, aware and in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the composition root's one look at the clock


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its status."""
    try:
        parsed = parser().parse_args(arguments)
        parsed.command(parsed)
    except UsageError as error:
        _complain(error)
        sys.exit(EXIT_USAGE)
    except CommandFailed as error:
        _complain(error)
        sys.exit(EXIT_FAILED)
    except BrokenPipeError:
        # The reader of our output left; that is not our failure to report.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    sys.exit(0)


def _complain(error: Exception) -> None:
    text = " ".join(str(error).split())
    print(text if text.startswith("ridethrough") else f"ridethrough: {text}", file=sys.stderr)


def _late(module: str, name: str) -> Callable[[argparse.Namespace], Any]:
    """Return a command that is loaded when it runs, so that `--help` is quick."""

    def command(parsed: argparse.Namespace) -> Any:  # noqa: ANN401 - a command returns nothing
        return getattr(import_module(f"service_api.{module}"), name)(parsed)

    return command


def parser() -> Parser:
    """Return the parser of the whole command line."""
    root = Parser(
        prog="ridethrough",
        description="Watches a UPS fleet and serves each unit before the customer has to call.",
    )
    root.set_defaults(now=now)
    commands = root.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_daemon(commands)
    _add_upkeep(commands)
    _add_simulators(commands)
    _add_devices(commands)
    _add_rules(commands)
    return root


def _group(commands: "Commands", name: str, help_: str) -> "Commands":
    return commands.add_parser(name, help=help_).add_subparsers(
        title="commands", metavar="COMMAND", required=True
    )


def _add_daemon(commands: "Commands") -> None:
    demo = commands.add_parser("demo", help="everything embedded on a simulated fleet")
    demo.add_argument("--port", type=_port, default=8080)
    demo.add_argument("--data-dir", type=Path, help="where the demo keeps its database")
    demo.add_argument("--devices", type=_count, default=24)
    demo.set_defaults(command=_late("cli_operate", "demo"))

    run = commands.add_parser("run", help="the daemon, settings from RIDETHROUGH_… variables")
    run.add_argument("--roles", type=_roles, default=ROLES, help=f"of {','.join(ROLES)}")
    run.add_argument(
        "--workers", type=_count, default=1, help="processes for the roles collect and ingest"
    )
    run.add_argument(
        "--uplink",
        metavar="URL",
        help="collect away from the center: send to this broker, mqtts://USER:PASSWORD@HOST:PORT",
    )
    run.add_argument(
        "--devices", type=Path, metavar="FILE", help="with --uplink: what to poll, as CSV"
    )
    run.set_defaults(command=_late("cli_operate", "run"))


def _add_upkeep(commands: "Commands") -> None:
    migrate = commands.add_parser("migrate", help="bring the database to this program's schema")
    migrate.add_argument("--to", default="head", help="a version, or -1 to take the newest back")
    migrate.add_argument("--json", action="store_true")
    migrate.set_defaults(command=_late("cli_operate", "migrate"))

    doctor = commands.add_parser("doctor", help="check settings, database, broker and disk")
    doctor.add_argument("--roles", type=_roles, default=ROLES, help="look at what these need")
    doctor.add_argument("--json", action="store_true")
    doctor.set_defaults(command=_late("cli_operate", "doctor"))

    job = _group(commands, "job", "recurring jobs")
    job_run = job.add_parser("run", help="run a job now")
    job_run.add_argument("name")
    job_run.set_defaults(command=_late("cli_operate", "job_run"))
    job_list = job.add_parser("list", help="the jobs and how often they run")
    job_list.add_argument("--json", action="store_true")
    job_list.set_defaults(command=_late("cli_operate", "job_list"))

    users = _group(commands, "users", "who may log in")
    added = users.add_parser("add", help="add a login; the password is read from standard input")
    added.add_argument("name")
    added.add_argument("--role", required=True)
    added.add_argument("--customer", help="the key of the customer, for the role customer")
    added.set_defaults(command=_late("cli_operate", "users_add"))


def _add_simulators(commands: "Commands") -> None:
    sim = commands.add_parser("sim", help="simulated units that devices can be polled on")
    sim.add_argument("--scenario", default="demo", help="a file, or the name of a shipped one")
    sim.add_argument("--devices", type=_count)
    sim.add_argument(
        "--base-port", type=_port_or_any, default=16200, help="the first unit's; 0 takes free ones"
    )
    sim.add_argument(
        "--mqtt-url",
        default=os.environ.get("RIDETHROUGH_MQTT_URL"),
        help="where units that publish do so, by default RIDETHROUGH_MQTT_URL",
    )
    sim.add_argument(
        "--epoch", type=_instant, help="the instant that ages in the scenario count back from"
    )
    sim.add_argument(
        "--traps-to", type=_target, metavar="HOST:PORT", help="where SNMP cards send their traps"
    )
    sim.add_argument("--csv", type=Path, help="also write the file for `devices import`")
    sim.set_defaults(command=_late("cli_tools", "sim"))

    replay = commands.add_parser("replay", help="serve a recording as if it were the device")
    replay.add_argument("recording", type=Path)
    replay.add_argument("--host", default="127.0.0.1")
    replay.add_argument("--port", type=_port, default=16161)
    replay.add_argument(
        "--broker", help="where a message log is published, mqtt://USER:PASSWORD@HOST"
    )
    replay.add_argument("--speed", type=_speed, default=1.0, help="of a message log, 2 is twice")
    replay.set_defaults(command=_late("cli_tools", "replay"))


def _add_devices(commands: "Commands") -> None:
    probe = commands.add_parser("probe", help="one reading of one device, now")
    probe.add_argument("url")
    probe.add_argument("--profile")
    probe.add_argument("--json", action="store_true")
    probe.set_defaults(command=_late("cli_tools", "probe"))

    record = commands.add_parser("record", help="make a recording of a device, to be replayed")
    record.add_argument("url", help="as for probe; a bare host; or a file that snmpwalk -On wrote")
    record.add_argument("--out", type=Path, help="by default the host's name")
    record.add_argument("--force", action="store_true", help="write over a file that is there")
    record.add_argument("--keep", action="store_true", help="take nothing out")
    record.add_argument("--root", action="append", default=[], help="an SNMP tree; several")
    record.add_argument("--profile", help="of a Modbus unit that is not recognized")
    record.add_argument("--seconds", type=_long, help="at most so long; MQTT: listen so long")
    record.set_defaults(command=_late("cli_record", "command"))

    discover = commands.add_parser("discover", help="which addresses of a network are UPS units")
    discover.add_argument("network", nargs="+", help="as 192.0.2.0/24, or one address")
    discover.add_argument(
        "--login",
        action="append",
        default=[],
        metavar="URL",
        help="an address with * for the host, as snmp://COMMUNITY@*; may be given several times",
    )
    discover.add_argument("--community", action="append", default=[], help="of SNMP v2c; several")
    discover.add_argument("--port", type=_port, default=161, help="where --community is tried")
    discover.add_argument("--rate", type=_rate, default=1000.0, help="questions a second, at most")
    discover.add_argument("--retries", type=int, default=1, choices=range(6))
    discover.add_argument("--timeout", type=_seconds, default=1.0, help="seconds for an answer")
    discover.add_argument("--csv", type=Path, help="write what is new for `devices import`")
    discover.add_argument("--register", action="store_true", help="register what is new")
    discover.add_argument("--customer", help="whose the new units are")
    discover.add_argument("--site", help="where they stand")
    discover.add_argument("--json", action="store_true")
    discover.set_defaults(command=_late("cli_discover", "command"))

    devices = _group(commands, "devices", "registered devices")
    imported = devices.add_parser("import", help="register devices from a CSV file")
    imported.add_argument("file", type=Path)
    imported.add_argument("--json", action="store_true")
    imported.set_defaults(command=_late("cli_operate", "devices_import"))

    topology = _group(commands, "topology", "on what the units of a site hang")
    hung = topology.add_parser("import", help="write topologies from a CSV or JSON file")
    hung.add_argument("file", type=Path)
    hung.add_argument("--json", action="store_true")
    hung.set_defaults(command=_late("cli_topology", "topology_import"))

    profile = _group(commands, "profile", "device families")
    checked = profile.add_parser("check", help="check a profile file")
    checked.add_argument("file", type=Path)
    checked.add_argument("--json", action="store_true")
    checked.set_defaults(command=_late("cli_tools", "profile_check"))
    listed = profile.add_parser("list", help="the profiles at hand")
    listed.add_argument("--json", action="store_true")
    listed.set_defaults(command=_late("cli_tools", "profile_list"))


def _add_rules(commands: "Commands") -> None:
    rules = _group(commands, "rules", "what becomes an alarm")
    checked = rules.add_parser("check", help="check a file of rules, or the shipped ones")
    checked.add_argument("file", type=Path, nargs="?")
    checked.add_argument("--json", action="store_true")
    checked.set_defaults(command=_late("cli_tools", "rules_check"))
    written = rules.add_parser("export", help="own rules and overrides as TOML")
    written.add_argument("file", type=Path, nargs="?", help="where to; by default to the screen")
    written.set_defaults(command=_late("cli_rules", "rules_export"))
    taken = rules.add_parser("import", help="save what a TOML file changes, all of it or nothing")
    taken.add_argument("file", type=Path)
    taken.add_argument("--reason", required=True, help="why: kept with every version")
    taken.add_argument("--dry-run", action="store_true", help="only say what would change")
    taken.add_argument(
        "--replace", action="store_true", help="take away what the file does not name"
    )
    taken.add_argument("--json", action="store_true")
    taken.set_defaults(command=_late("cli_rules", "rules_import"))
    tried = rules.add_parser("backtest", help="try a rule on history: what it would have raised")
    tried.add_argument("rule", help="a rule's key; a TOML file, or FILE:KEY for one of several")
    tried.add_argument(
        "--from", dest="since", required=True, help="an instant, a day, or 90d for ninety days ago"
    )
    tried.add_argument("--to", dest="until", help="likewise; by default now")
    tried.add_argument("--against", metavar="RULE", help="another rule to compare it with")
    tried.add_argument("--device", help="only this device, by its key")
    tried.add_argument("--site", help="only devices of this site, by its key")
    tried.add_argument("--customer", help="only devices of this customer, by its key")
    tried.add_argument("--model", help="only devices of this model; %% stands for anything")
    tried.add_argument("--estimate", action="store_true", help="only say what it would take")
    tried.add_argument("--json", action="store_true")
    tried.set_defaults(command=_late("cli_backtest", "backtest"))


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a number from 1 to 65535")
    return int(text)


def _port_or_any(text: str) -> int:
    return 0 if text == "0" else _port(text)


def _target(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not (host and separator):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, as in 127.0.0.1:1162")
    return host, _port(port)


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a count: give a number from 1 to 10000")
    return int(text)


def _rate(text: str) -> float:
    return _between(text, 1.0, 100_000.0, "questions a second")


def _seconds(text: str) -> float:
    return _between(text, 0.05, 60.0, "seconds")


def _long(text: str) -> float:
    return _between(text, 1.0, 86_400.0, "seconds")


def _between(text: str, low: float, high: float, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} {what}: give a number from {low:g} to {high:g}")
    return value


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no speed: give a number up to 10000")
    return speed


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an instant: give one like 2026-03-02T08:00:00+08:00"
        )
    return instant


def _roles(text: str) -> tuple[str, ...]:
    wanted = tuple(role.strip() for role in text.split(",") if role.strip())
    wrong = [role for role in wanted if role not in ROLES]
    if wrong or not wanted:
        raise argparse.ArgumentTypeError(
            f"no role {', '.join(wrong) or 'given'}: choose from {', '.join(ROLES)}"
        )
    return wanted


if __name__ == "__main__":
    main()
