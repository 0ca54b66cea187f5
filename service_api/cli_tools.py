"""Commands of integrators: simulate, replay, probe, check profiles and rules. No database."""

import argparse
import asyncio
from collections.abc import Mapping
from pathlib import Path

from collector.address import AddressInvalid, MqttAddress, parse_address
from collector.overhear import overhear
from collector.probe import probe as probe_device
from collector.probe import render
from collector.profile import check, profiles
from collector.raw import ReadFailed
from collector.tls import TlsInvalid
from device_sims.fleet import SimUnit, import_csv, with_devices
from device_sims.mqtt_publisher import Broker
from device_sims.recordings import RecordingInvalid
from device_sims.replay import serve_recording
from device_sims.scenario import ScenarioInvalid, load_scenario
from device_sims.serve import serve
from rules.catalogue import Rule, RuleInvalid, catalogue
from rules.catalogue.text import read_tables, rule_of
from rules.rule_exchange import read_exchange
from service_api.broker_tls import broker_tls
from service_api.cli_messages import replay_messages
from service_api.cli_shared import CommandFailed, UsageError, print_json, reason
from service_api.log import set_up
from service_api.settings import Settings


def sim(arguments: argparse.Namespace) -> None:
    """Serve simulated units until Ctrl-C."""
    set_up("WARNING")
    if arguments.csv is not None and not arguments.csv.parent.is_dir():
        raise UsageError(f"there is no folder {arguments.csv.parent} for --csv {arguments.csv}")
    if arguments.mqtt_url is not None:
        try:
            Broker.at(arguments.mqtt_url)
        except ValueError as error:
            raise UsageError(f"--mqtt-url: {error}") from error
    try:
        scenario = load_scenario(arguments.scenario)
        if arguments.devices is not None:
            scenario = with_devices(scenario, arguments.devices)

        def ready(fleet: list[SimUnit]) -> None:
            for unit in fleet:
                print(f"{unit.key:24} {unit.url}")
            if arguments.csv is not None:
                arguments.csv.write_text(import_csv(scenario, fleet), encoding="utf-8")
            print(f"{len(fleet)} units are served, Ctrl-C ends it", flush=True)

        asyncio.run(
            serve(
                scenario,
                base_port=arguments.base_port,
                clock=arguments.now,
                on_ready=ready,
                mqtt_url=arguments.mqtt_url,
                epoch=arguments.epoch,
                traps_to=arguments.traps_to,
            )
        )
    except ScenarioInvalid as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise CommandFailed(f"the units cannot be served: {reason(error)}") from error


def replay(arguments: argparse.Namespace) -> None:
    """Serve a recording until Ctrl-C."""
    if not arguments.recording.is_file():
        raise UsageError(f"there is no recording {arguments.recording}: give a file")
    if arguments.recording.suffix == ".jsonl":
        replay_messages(arguments)
        return
    if arguments.broker is not None:
        raise UsageError("--broker is for message logs, .jsonl files")
    print(
        f"serving {arguments.recording.name} on {arguments.host} port {arguments.port}, "
        "Ctrl-C ends it",
        flush=True,
    )
    try:
        asyncio.run(serve_recording(arguments.recording, arguments.host, arguments.port))
    except RecordingInvalid as error:
        raise UsageError(f"{arguments.recording}: {error}") from error
    except OSError as error:
        raise CommandFailed(
            f"port {arguments.port} on {arguments.host} cannot be used: {reason(error)}"
        ) from error


def probe(arguments: argparse.Namespace) -> None:
    """Read one device once."""
    try:
        address = parse_address(arguments.url)
    except AddressInvalid as error:
        raise UsageError(str(error)) from error
    if arguments.profile is not None and arguments.profile not in profiles():
        known = ", ".join(profiles())
        raise UsageError(f"there is no profile {arguments.profile}: one of {known}")
    try:
        if isinstance(address, MqttAddress):
            tls = broker_tls(Settings())
            listening = overhear(address, arguments.profile, now=arguments.now, tls=tls)
            result = asyncio.run(listening)
        else:
            result = asyncio.run(probe_device(address, arguments.profile))
    except TlsInvalid as error:
        raise UsageError(str(error)) from error
    except ReadFailed as error:
        raise CommandFailed(str(error)) from error
    if arguments.json:
        print_json(result.to_json())
    else:
        print(render(result))


def profile_check(arguments: argparse.Namespace) -> None:
    """Check a profile file: each problem with its line and cure."""
    if not arguments.file.is_file():
        raise UsageError(f"there is no profile {arguments.file}: give a YAML file")
    problems = check(arguments.file)
    if arguments.json:
        print_json([{"line": p.line, "message": p.message, "cure": p.cure} for p in problems])
    else:
        for problem in problems:
            print(f"{arguments.file}:{problem.line}: {problem.message}; {problem.cure}")
    if problems:
        raise CommandFailed(f"{arguments.file}: {len(problems)} problems")
    if not arguments.json:
        print(f"{arguments.file} is fine")


def profile_list(arguments: argparse.Namespace) -> None:
    """List the profiles at hand."""
    known = profiles().values()
    if arguments.json:
        print_json(
            [
                {
                    "name": profile.name,
                    "protocol": profile.protocol,
                    "title": {"en": profile.title.en, "zh": profile.title.zh},
                }
                for profile in known
            ]
        )
        return
    for profile in known:
        print(f"{profile.name:20} {profile.protocol:8} {profile.title.en}")


def rules_check(arguments: argparse.Namespace) -> None:
    """Check a file of rules, or the shipped ones."""
    try:
        rules = catalogue() if arguments.file is None else _rules_in(_read(arguments.file))
    except RuleInvalid as error:
        raise CommandFailed(str(error)) from error
    if arguments.json:
        print_json(
            [
                {
                    "key": rule.key,
                    "severity": rule.severity,
                    "title": {"en": rule.title_en, "zh": rule.title_zh},
                    "condition": rule.condition.text,
                    "source": rule.source,
                }
                for rule in rules.values()
            ]
        )
        return
    for rule in rules.values():
        print(f"{rule.key:28} {rule.severity:9} {rule.title_en}")
    print(f"{len(rules)} rules are fine")


def _rules_in(text: str) -> Mapping[str, Rule]:
    """Return the rules of a text; overrides, as they are exported, are read too."""
    read_exchange(text)
    return {key: rule_of(key, one) for key, one in read_tables(text).items() if key != "override"}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error}") from error
