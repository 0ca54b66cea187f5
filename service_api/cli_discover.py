"""`ridethrough discover`: search networks for units, tell the new ones, register them if asked."""

import argparse
import asyncio
import csv
import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from collector.address import (
    Address,
    AddressInvalid,
    ModbusAddress,
    MqttAddress,
    SnmpAddress,
    parse_address,
)
from collector.discover import Found, Kind, Progress, RangeInvalid, discover, networks
from service_api.cli_shared import CommandFailed, UsageError, print_json, reason
from service_api.database import STAFF
from service_api.devices_csv import ImportInvalid, read_devices
from service_api.devices_import import import_devices
from service_api.secrets import KeyInvalid, Sealer
from service_api.settings import Settings

COLUMNS = ("key", "name", "site", "customer", "address", "profile", "model", "serial")
_PLACEHOLDER = "0.0.0.0"  # noqa: S104 - stands for each address in turn, nothing is bound to it
_BAR_WIDTH = 30


@dataclass(frozen=True, slots=True)
class Registered:
    """The devices that are registered: their keys by endpoint and by serial number."""

    by_endpoint: Mapping[str, str]
    by_serial: Mapping[str, str]

    def key_of(self, found: Found) -> str | None:
        """Return the key of a device that is registered, here or at another address."""
        serial = found.unit.identity.serial if found.unit else None
        return self.by_endpoint.get(_endpoint(found.address)) or self.by_serial.get(serial or "")


def command(arguments: argparse.Namespace) -> None:
    """Search, print what was found, and register what is new if asked to."""
    if arguments.register and not (arguments.customer and arguments.site):
        raise UsageError("--register needs --customer and --site: the units become theirs")
    try:
        searched = networks(arguments.network)
        logins = [_login(text) for text in _wanted_logins(arguments)]
        settings = Settings()
        registered = _registered(settings)
        found = asyncio.run(
            discover(
                searched,
                logins,
                rate=arguments.rate,
                retries=arguments.retries,
                patience=arguments.timeout,
                progress=_bar if sys.stderr.isatty() and not arguments.json else _quiet,
            )
        )
    except RangeInvalid as problem:
        raise UsageError(str(problem)) from problem
    except psycopg.OperationalError as problem:
        raise CommandFailed(f"the database cannot be reached: {problem}") from problem
    if sys.stderr.isatty() and not arguments.json:
        print(file=sys.stderr)
    new = [one for one in found if one.kind is Kind.UPS and not _is_known(one, registered)]
    if arguments.json:
        print_json([_told(one, registered) for one in found])
    else:
        for one in found:
            print(_line(one, registered))
        units = sum(one.kind is Kind.UPS for one in found)
        print(f"{units} units, {len(new)} of them new; {len(found) - units} others answered")
    listed = _csv(new, customer=arguments.customer or "", site=arguments.site or "")
    if arguments.csv is not None:
        _write(arguments.csv, listed)
    if arguments.register and new:
        _register(listed, settings, arguments)


def _wanted_logins(arguments: argparse.Namespace) -> Sequence[str]:
    given = [
        *arguments.login,
        *(f"snmp://{quote(name, safe='')}@*:{arguments.port}" for name in arguments.community),
    ]
    return given or [f"snmp://public@*:{arguments.port}"]


def _login(text: str) -> Address:
    """Read a login: an address with * for the host."""
    try:
        address = parse_address(
            text.replace("@*", f"@{_PLACEHOLDER}").replace("/*", f"/{_PLACEHOLDER}")
        )
    except AddressInvalid as problem:
        raise UsageError(f"--login {_hidden(text)}: {problem}") from problem
    if isinstance(address, MqttAddress) or address.host != _PLACEHOLDER:
        raise UsageError(
            f"--login {_hidden(text)}: write the host as *, as in snmp://COMMUNITY@*, "
            "snmpv3://USER:AUTHPASS:PRIVPASS@*?auth=sha256&priv=aes128 or modbus://*:502/1"
        )
    return address


def _hidden(text: str) -> str:
    return re.sub(r"//[^@/]*@", "//…@", text)


def _registered(settings: Settings) -> Registered | None:
    """Return what is registered; None where no database is named."""
    if settings.api_database_url is None:
        return None
    with psycopg.connect(settings.api_database_url.get_secret_value()) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', %s, true)", (STAFF,))
        rows = connection.execute("SELECT key, address, serial FROM device").fetchall()
    by_endpoint = {}
    for key, address, _ in rows:
        try:
            by_endpoint[_endpoint(parse_address(address))] = key
        except AddressInvalid:
            continue  # its collector says so
    return Registered(by_endpoint, {serial: key for key, _, serial in rows if serial})


def _endpoint(address: Address) -> str:
    unit = f"/{address.unit}" if isinstance(address, ModbusAddress) else ""
    kind = "modbus" if isinstance(address, ModbusAddress) else "snmp"
    return f"{kind}://{address.host}:{address.port}{unit}"


def _is_known(found: Found, registered: Registered | None) -> bool:
    return registered is not None and registered.key_of(found) is not None


def _told(found: Found, registered: Registered | None) -> dict[str, object]:
    told: dict[str, object] = {
        "address": found.address.public,
        "kind": found.kind.value,
        "detail": found.detail,
        "profile": None,
        "identity": None,
        "device": registered.key_of(found) if registered else None,
        "new": None if registered is None else not _is_known(found, registered),
        "evidence": [],
    }
    if found.unit is not None:
        who = found.unit.identity
        told |= {
            "profile": found.unit.profile,
            "identity": {
                "manufacturer": who.manufacturer,
                "model": who.model,
                "serial": who.serial,
                "firmware": who.firmware,
            },
            "evidence": list(found.unit.evidence),
        }
    return told


def _line(found: Found, registered: Registered | None) -> str:
    address = f"{found.address.public:32}"
    if found.unit is None:
        word = "refuses the login" if found.kind is Kind.REFUSED else "no UPS"
        return f"{address} {word:18} {found.detail}".rstrip()
    who = found.unit.identity
    key = registered.key_of(found) if registered else None
    state = f"known as {key}" if key else ("new" if registered else "UPS")
    name = " ".join(text for text in (who.manufacturer, who.model) if text)
    return f"{address} {state:18} {found.unit.profile:16} {name}  {who.serial or ''}".rstrip()


def _csv(new: Sequence[Found], *, customer: str, site: str) -> str:
    """Return the list that `devices import` reads, with the logins in it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    keys: set[str] = set()
    for found in new:
        if found.unit is None:
            continue
        who, host = found.unit.identity, found.address.host
        key = re.sub(r"[^A-Za-z0-9_.:-]+", "-", who.serial or "").strip("-._:") or host
        if key in keys:
            key = f"{key}-{host}-{found.address.port}"
        keys.add(key)
        name = " ".join(text for text in (who.manufacturer, who.model, host) if text)
        writer.writerow(
            [key, name, site, customer, _with_login(found.address), found.unit.profile,
             who.model or "", who.serial or ""]
        )  # fmt: skip
    return out.getvalue()


def _with_login(address: Address) -> str:
    secret = address.credentials
    if not isinstance(address, SnmpAddress):
        return address.public
    parts = [secret.user]
    if address.version == "3":
        parts += [text for text in (secret.password, secret.private_password) if text]
    told = ":".join(quote(part, safe="") for part in parts)
    return address.public.replace("://", f"://{told}@", 1)


def _write(path: Path, listed: str) -> None:
    """Write the list for its owner alone: logins stand in it."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(listed)
    except OSError as problem:
        raise UsageError(f"{path} cannot be written: {reason(problem)}") from problem


def _register(listed: str, settings: Settings, arguments: argparse.Namespace) -> None:
    if settings.api_database_url is None or settings.encryption_key is None:
        raise UsageError(
            "--register needs RIDETHROUGH_API_DATABASE_URL and RIDETHROUGH_ENCRYPTION_KEY"
        )
    try:
        rows = read_devices(listed.encode(), today=arguments.now().date())
        sealer = Sealer(settings.encryption_key.get_secret_value())
        with psycopg.connect(settings.api_database_url.get_secret_value()) as connection:
            counts = import_devices(connection, rows, sealer=sealer)
    except KeyInvalid as problem:
        raise UsageError(str(problem)) from problem
    except ImportInvalid as problem:
        raise CommandFailed(f"nothing was registered: {problem.faults[0]}") from problem
    except psycopg.OperationalError as problem:
        raise CommandFailed(f"the database cannot be reached: {problem}") from problem
    print(f"{counts.new} registered", file=sys.stderr)


def _quiet(_: Progress) -> None:
    """Say nothing: nobody watches."""


def _bar(progress: Progress) -> None:
    share = progress.asked / max(progress.questions, 1)
    bar = "█" * round(share * _BAR_WIDTH)
    print(
        f"\r{bar:·<{_BAR_WIDTH}} {share:4.0%}  {progress.answered:,} answered, "
        f"{progress.looked_at:,} looked at, {progress.units:,} units ",
        end="",
        file=sys.stderr,
        flush=True,
    )
