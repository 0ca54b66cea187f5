"""`ridethrough record`: a recording of a real device, without what is its owner's alone."""

import argparse
import asyncio
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from collector.address import (
    Address,
    AddressInvalid,
    ModbusAddress,
    MqttAddress,
    SnmpAddress,
    parse_address,
)
from collector.overhear import listening
from collector.profile import profiles
from collector.raw import ReadFailed
from collector.readers.mqtt import Message as Heard
from collector.tls import TlsInvalid
from device_sims.message_log import Message, write_messages
from device_sims.recorder import ROOTS, own_in, read_all, walk, without_serial, write_objects
from device_sims.recordings import RecordingInvalid
from device_sims.registers import write_registers
from device_sims.scrub import scrubbed_objects, scrubbed_payload
from device_sims.walks import read_walk
from service_api.broker_tls import broker_tls
from service_api.cli_shared import CommandFailed, UsageError, reason
from service_api.settings import Settings

LISTEN_SECONDS = 60.0
MOST_MESSAGES = 10_000

_SUFFIXES = {SnmpAddress: ".snmprec", ModbusAddress: ".yaml", MqttAddress: ".jsonl"}
_COMMENT = "Recorded by `ridethrough record`; serve it with `ridethrough replay`."


def command(arguments: argparse.Namespace) -> None:
    """Record one device into a file and say how to go on."""
    if Path(arguments.url).is_file():
        _convert(Path(arguments.url), arguments)
        return
    address = _address(arguments.url)
    suffix = _SUFFIXES[type(address)]
    path: Path = arguments.out or Path(re.sub(r"[^\w.-]+", "-", address.host) + suffix)
    _check(path, suffix, arguments)
    try:
        match address:
            case SnmpAddress():
                what = _snmp(address, path, arguments)
            case ModbusAddress():
                what = _modbus(address, path, arguments)
            case _:
                what = _mqtt(address, path, arguments)
    except ReadFailed as failure:
        raise CommandFailed(str(failure)) from failure
    except TlsInvalid as problem:
        raise UsageError(str(problem)) from problem
    except OSError as problem:
        raise CommandFailed(f"{path} cannot be written: {reason(problem)}") from problem
    _say(path, what, arguments)


def _convert(walked: Path, arguments: argparse.Namespace) -> None:
    """Make a recording of what snmpwalk printed."""
    path: Path = arguments.out or walked.with_suffix(".snmprec")
    _check(path, ".snmprec", arguments)
    try:
        objects = dict(read_walk(walked).values)
    except RecordingInvalid as problem:
        raise UsageError(f"{walked}: {problem}") from problem
    if not arguments.keep:
        objects = scrubbed_objects(objects, own=own_in(objects))
    write_objects(path, objects, comment=_COMMENT)
    _say(path, f"{len(objects):,} objects", arguments)


def _check(path: Path, suffix: str, arguments: argparse.Namespace) -> None:
    if path.suffix != suffix:
        raise UsageError(f"--out {path}: a recording of this protocol is a {suffix} file")
    if not path.parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}")
    if path.exists() and not arguments.force:
        raise UsageError(f"{path} is there already: give another --out, or --force")


def _say(path: Path, what: str, arguments: argparse.Namespace) -> None:
    print(f"{path}: {what}")
    if arguments.keep:
        print("nothing was taken out: do not hand it on")
    else:
        print("names, places, serial numbers and addresses were masked: look it over all the same")


def _address(text: str) -> Address:
    """Read an address; a bare host is an SNMP agent with the community public."""
    try:
        return parse_address(text if "://" in text else f"snmp://public@{text}")
    except AddressInvalid as problem:
        raise UsageError(str(problem)) from problem


def _snmp(address: SnmpAddress, path: Path, arguments: argparse.Namespace) -> str:
    async def recorded() -> int:
        table = await walk(
            address,
            tuple(arguments.root) or ROOTS,
            seconds=arguments.seconds or 300.0,
            told=_counter(),
        )
        objects = dict(table.values)
        if not arguments.keep:
            objects = scrubbed_objects(objects, own=own_in(objects))
        write_objects(path, objects, comment=_COMMENT)
        return len(objects)

    count = asyncio.run(recorded())
    return f"{count:,} objects"


def _modbus(address: ModbusAddress, path: Path, arguments: argparse.Namespace) -> str:
    if arguments.profile is not None and arguments.profile not in profiles():
        _no_profile(arguments.profile)
    plan, values = asyncio.run(read_all(address, arguments.profile))
    kept = values if arguments.keep else without_serial(plan, values)
    write_registers(path, kept, comment=f"{_COMMENT}\nRead by profile {plan.profile.name}.")
    return f"{len(kept):,} runs of registers, read by profile {plan.profile.name}"


def _mqtt(address: MqttAddress, path: Path, arguments: argparse.Namespace) -> str:
    async def recorded() -> list[Heard]:
        heard: asyncio.Queue[Heard | ReadFailed] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        client = listening(address, loop, heard, arguments.now, broker_tls(Settings()))
        messages: list[Heard] = []
        told = _counter()
        try:
            async with asyncio.timeout(arguments.seconds or LISTEN_SECONDS):
                while len(messages) < MOST_MESSAGES:
                    item = await heard.get()
                    if isinstance(item, ReadFailed):
                        raise item
                    messages.append(item)
                    told(len(messages))
        except TimeoutError:
            pass
        finally:
            client.disconnect()
            client.loop_stop()
        return messages

    messages = asyncio.run(recorded())
    if not messages:
        raise CommandFailed(f"nothing was published below {address.public}")
    began = messages[0].received_at
    write_messages(
        path,
        [
            Message(
                (one.received_at - began).total_seconds(),
                one.topic,
                one.payload if arguments.keep else scrubbed_payload(one.payload),
                one.is_retained,
            )
            for one in messages
        ],
    )
    return f"{len(messages):,} messages"


def _counter() -> Callable[[int], None]:
    """Return what shows a growing number to somebody who watches."""
    if not sys.stderr.isatty():
        return lambda _: None

    def show(count: int) -> None:
        print(f"\r{count:,} ", end="", file=sys.stderr, flush=True)

    return show


def _no_profile(name: str) -> NoReturn:
    known: Sequence[str] = [one.name for one in profiles().values() if one.protocol == "modbus"]
    raise UsageError(f"there is no profile {name}: one of {', '.join(known)}")
