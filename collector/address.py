"""Where a device is and how to talk to it: URLs parsed into frozen addresses.

An address has two parts, kept apart because they are stored apart: the endpoint, printable as
`public`, and the credentials, which never show in `repr` or `str`. No network here.
"""

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import parse_qsl, quote, unquote, urlsplit

SNMP_AUTH = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
SNMP_PRIV = ("des", "aes128", "aes192", "aes192c", "aes256", "aes256c")
"""With `c` behind it, a key too short is lengthened as Reeder has it, and not Blumenthal."""
_SCHEMES = (
    "snmp://, snmp+v1://, snmpv3://, modbus://, modbus+rtu://, modbus+serial://, "
    "mqtt:// or mqtts://"
)
BAUD_RATES = (300, 600, 1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200)
PARITIES = ("N", "E", "O")
_SERIAL_DEVICE = re.compile(r"/dev/[A-Za-z0-9._:/-]{1,200}")
_SHORTEST_PASSPHRASE = 8  # RFC 3414 section 11.2


class AddressInvalid(ValueError):
    """The address cannot be used; the message says what is wrong and what would be right."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What must stay secret; `repr` shows nothing of it.

    For SNMP v1 and v2c `user` is the community. Empty text is "not given".
    """

    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    private_password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return "Credentials(…)"


@dataclass(frozen=True, slots=True)
class SnmpAddress:
    """An SNMP agent. `auth` and `priv` name algorithms of version 3, None where unused."""

    host: str
    port: int = 161
    version: str = "2c"
    auth: str | None = None
    priv: str | None = None
    credentials: Credentials = field(default=Credentials("public"), repr=False)

    @property
    def public(self) -> str:
        """The address as a URL without its secrets."""
        scheme = {"1": "snmp+v1", "2c": "snmp", "3": "snmpv3"}[self.version]
        options = [
            f"{key}={value}"
            for key, value in (("auth", self.auth), ("priv", self.priv))
            if value is not None
        ]
        query = "?" + "&".join(options) if options else ""
        return f"{scheme}://{_bracketed(self.host)}:{self.port}{query}"

    def with_credentials(self, credentials: Credentials) -> "SnmpAddress":
        """Return the same endpoint with these credentials."""
        return replace(self, credentials=credentials)

    def __str__(self) -> str:
        return self.public


class Framing(Enum):
    """How Modbus messages are framed, and over what; the value is the URL's scheme."""

    TCP = "modbus"
    RTU_OVER_TCP = "modbus+rtu"
    SERIAL = "modbus+serial"


@dataclass(frozen=True, slots=True)
class SerialLine:
    """How characters go over a serial line: 8 data bits, and these."""

    baud: int = 9600
    parity: str = "N"
    stop_bits: int = 1


@dataclass(frozen=True, slots=True)
class ModbusAddress:
    """A unit behind a Modbus endpoint; Modbus has no credentials.

    On a serial line `host` is the path of the serial device, `port` is 0 and `line` is given.
    """

    host: str
    port: int = 502
    unit: int = 1
    framing: Framing = Framing.TCP
    line: SerialLine | None = None
    credentials: Credentials = field(default=Credentials(), repr=False)

    @property
    def public(self) -> str:
        """The address as a URL."""
        line = self.line
        if line is not None:
            how = f"baud={line.baud}&parity={line.parity}&stop={line.stop_bits}&unit={self.unit}"
            return f"{self.framing.value}://{quote(self.host)}?{how}"
        return f"{self.framing.value}://{_bracketed(self.host)}:{self.port}/{self.unit}"

    @property
    def endpoint(self) -> str:
        """What all units behind one gateway or on one serial line share."""
        if self.line is not None:
            return self.host
        return f"{_bracketed(self.host)}:{self.port}"

    def with_credentials(self, credentials: Credentials) -> "ModbusAddress":
        """Return the same endpoint with these credentials."""
        return replace(self, credentials=credentials)

    def __str__(self) -> str:
        return self.public


@dataclass(frozen=True, slots=True)
class MqttAddress:
    """A topic, or a filter with wildcards, at a broker."""

    host: str
    topic: str
    port: int = 1883
    tls: bool = False
    credentials: Credentials = field(default=Credentials(), repr=False)

    @property
    def public(self) -> str:
        """The address as a URL without its secrets."""
        scheme = "mqtts" if self.tls else "mqtt"
        return f"{scheme}://{_bracketed(self.host)}:{self.port}/{quote(self.topic, safe='/+$')}"

    def with_credentials(self, credentials: Credentials) -> "MqttAddress":
        """Return the same endpoint with these credentials."""
        return replace(self, credentials=credentials)

    def __str__(self) -> str:
        return self.public


Address = SnmpAddress | ModbusAddress | MqttAddress


def parse_address(url: str, credentials: Credentials | None = None) -> Address:
    """Parse a URL into an address; raise AddressInvalid with one line that names the cure.

    `credentials` are those kept apart from a stored, public URL; they replace any in the URL.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise AddressInvalid(f"the address has no scheme: begin it with {_SCHEMES}")
    try:
        match scheme.lower():
            case "snmp" | "snmp+v2c":
                return _given(_community("2c", url), credentials)
            case "snmp+v1":
                return _given(_community("1", url), credentials)
            case "snmpv3":
                return _snmp_v3(url, credentials)
            case "modbus+serial":
                return _serial(url)
            case "modbus" | "modbus+tcp" | "modbus+rtu" as known:
                return _modbus(url, Framing(known.removesuffix("+tcp")))
            case "mqtt" | "mqtts":
                return _given(_mqtt(url), credentials)
    except AddressInvalid:
        raise
    except ValueError as problem:
        # urlsplit's own message may quote the password.
        raise AddressInvalid(
            "the address is no well-formed URL: write IPv6 in brackets and "
            "percent-encode : / ? # @ in passwords"
        ) from problem.__class__()
    raise AddressInvalid(f"unknown scheme {scheme[:20]!r}: use {_SCHEMES}")


def _given(address: SnmpAddress | MqttAddress, credentials: Credentials | None) -> Address:
    return address if credentials is None else address.with_credentials(credentials)


@dataclass(frozen=True, slots=True)
class _Parts:
    host: str
    port: int
    user: list[str] = field(repr=False)
    path: str = ""
    query: dict[str, str] = field(default_factory=dict)


def _parts(url: str, *, port: int, form: str, options: tuple[str, ...] = ()) -> _Parts:
    split = urlsplit(url)
    userinfo, at, place = split.netloc.rpartition("@")
    host = split.hostname or ""
    if not host or any(mark.isspace() for mark in host):
        raise AddressInvalid(f"the address names no host: write {form}")
    if ":" in host:
        try:
            IPv6Address(host.partition("%")[0])
        except AddressValueError:
            raise AddressInvalid(f"{host!r} is no IPv6 address: write {form}") from None
    elif place.count(":") > 1:
        raise AddressInvalid("an IPv6 address needs brackets: write [2001:db8::7]:161")
    try:
        given = split.port
    except ValueError:
        raise AddressInvalid(f"the port is no number from 1 to 65535: write {form}") from None
    if given == 0:
        raise AddressInvalid(f"the port is no number from 1 to 65535: write {form}")
    query = dict(parse_qsl(split.query, keep_blank_values=True))
    unknown = sorted(query.keys() - set(options))
    if unknown and "@" in split.query:
        raise AddressInvalid("percent-encode ? in names and passphrases as %3F")
    if unknown:
        allowed = " and ".join(options) if options else "none"
        raise AddressInvalid(f"unknown option {unknown[0][:30]!r} (allowed: {allowed})")
    if split.fragment:
        raise AddressInvalid("percent-encode # as %23")
    user = [unquote(part) for part in userinfo.split(":")] if at else []
    return _Parts(host, given or port, user, split.path, query)


def _community(version: str, url: str) -> SnmpAddress:
    form = "snmp://public@HOST:161"
    parts = _parts(url, port=161, form=form)
    if parts.path not in ("", "/"):
        raise AddressInvalid(f"an SNMP address has no path: write {form}")
    if len(parts.user) > 1:
        raise AddressInvalid(
            "SNMP v1 and v2c take one community, no password: write snmp://COMMUNITY@HOST, "
            "or snmpv3://USER:AUTHPASS:PRIVPASS@HOST for version 3"
        )
    if parts.user == [""]:
        raise AddressInvalid(f"the community is empty: write {form}")
    community = parts.user[0] if parts.user else "public"
    return SnmpAddress(parts.host, parts.port, version, credentials=Credentials(community))


def _snmp_v3(url: str, credentials: Credentials | None) -> SnmpAddress:
    form = "snmpv3://USER:AUTHPASS:PRIVPASS@HOST?auth=sha256&priv=aes128"
    parts = _parts(url, port=161, form=form, options=("auth", "priv"))
    if parts.path not in ("", "/"):
        raise AddressInvalid(f"an SNMP address has no path: write {form}")
    if credentials is None:
        if len(parts.user) > 3:
            raise AddressInvalid(f"percent-encode : in passphrases as %3A: write {form}")
        credentials = Credentials(*parts.user)
    password, private = credentials.password, credentials.private_password
    if not credentials.user:
        raise AddressInvalid(f"SNMP v3 needs a user: write {form}")
    auth = _algorithm("auth", parts.query.get("auth"), SNMP_AUTH)
    priv = _algorithm("priv", parts.query.get("priv"), SNMP_PRIV)
    if private and not password:
        raise AddressInvalid(f"SNMP v3 has no privacy without authentication: write {form}")
    if auth and not password:
        raise AddressInvalid(f"auth={auth} needs an authentication passphrase: write {form}")
    if priv and not private:
        raise AddressInvalid(f"priv={priv} needs a privacy passphrase: write {form}")
    for word, secret in (("authentication", password), ("privacy", private)):
        if secret and len(secret) < _SHORTEST_PASSPHRASE:
            raise AddressInvalid(f"the {word} passphrase needs at least 8 characters (RFC 3414)")
    return SnmpAddress(
        parts.host,
        parts.port,
        "3",
        (auth or "sha256") if password else None,
        (priv or "aes128") if private else None,
        credentials,
    )


def _algorithm(option: str, given: str | None, known: tuple[str, ...]) -> str | None:
    if given is None:
        return None
    name = given.lower().replace("-", "")
    name = {"sha": "sha1", "aes": "aes128"}.get(name, name)
    if name not in known:
        raise AddressInvalid(f"unknown {option}={given[:20]!r}: use one of {', '.join(known)}")
    return name


def _modbus(url: str, framing: Framing) -> ModbusAddress:
    form = f"{framing.value}://HOST:502/UNIT"
    parts = _parts(url, port=502, form=form)
    if parts.user:
        raise AddressInvalid(f"Modbus knows no users or passwords: write {form}")
    unit = _unit(parts.path.strip("/") or "1", framing, form)
    return ModbusAddress(parts.host, parts.port, unit, framing)


def _serial(url: str) -> ModbusAddress:
    form = "modbus+serial:///dev/ttyUSB0?baud=9600&parity=N&stop=1&unit=1"
    split = urlsplit(url)
    if split.netloc:
        raise AddressInvalid(f"a serial line has no host, but three slashes: write {form}")
    if split.fragment:
        raise AddressInvalid("percent-encode # as %23")
    device = unquote(split.path)
    # Whoever may register a unit may not have any file opened.
    if not _SERIAL_DEVICE.fullmatch(device) or ".." in device:
        raise AddressInvalid(f"the serial device must lie under /dev: write {form}")
    pairs = parse_qsl(split.query, keep_blank_values=True)
    query = dict(pairs)
    unknown = sorted(query.keys() - {"baud", "parity", "stop", "unit"})
    if unknown:
        raise AddressInvalid(
            f"unknown option {unknown[0][:30]!r} (allowed: baud, parity, stop and unit)"
        )
    if len(query) < len(pairs):
        raise AddressInvalid(f"an option stands twice: write {form}")
    baud, stop = query.get("baud", "9600"), query.get("stop", "1")
    parity = query.get("parity", "N").upper()
    if baud not in map(str, BAUD_RATES):
        known = ", ".join(map(str, BAUD_RATES))
        raise AddressInvalid(f"unknown baud={baud[:20]!r}: use one of {known}")
    if parity not in PARITIES:
        raise AddressInvalid(f"unknown parity={parity[:20]!r}: use one of {', '.join(PARITIES)}")
    if stop not in ("1", "2"):
        raise AddressInvalid(f"unknown stop={stop[:20]!r}: use 1 or 2")
    unit = _unit(query.get("unit", "1"), Framing.SERIAL, form)
    line = SerialLine(int(baud), parity, int(stop))
    return ModbusAddress(device, 0, unit, Framing.SERIAL, line)


def _unit(text: str, framing: Framing, form: str) -> int:
    # On a serial line 0 calls all units at once, and none of them answers.
    low, high = (0, 255) if framing is Framing.TCP else (1, 247)
    if not (text.isascii() and text.isdigit()) or len(text) > 3 or not low <= int(text) <= high:
        raise AddressInvalid(f"the unit must be a number from {low} to {high}: write {form}")
    return int(text)


def _mqtt(url: str) -> MqttAddress:
    tls = url.lower().startswith("mqtts:")
    form = "mqtt://USER:PASSWORD@HOST:1883/TOPIC"
    # A topic may hold + and # as wildcards; only # would be taken for a fragment.
    endpoint, _, _ = url.partition("#")
    parts = _parts(endpoint, port=8883 if tls else 1883, form=form)
    topic = unquote(parts.path.removeprefix("/")) + url[len(endpoint) :]
    if len(parts.user) > 2:
        raise AddressInvalid(f"percent-encode : in user or password as %3A: write {form}")
    _check_topic(topic, form)
    user, password = [*parts.user, "", ""][:2]
    return MqttAddress(parts.host, topic, parts.port, tls, Credentials(user, password))


def _check_topic(topic: str, form: str) -> None:
    levels = topic.split("/")
    if not topic:
        raise AddressInvalid(f"the address names no topic: write {form}")
    if "\x00" in topic or len(topic.encode()) > 65_535:
        raise AddressInvalid("the topic holds a NUL or is longer than 65535 bytes")
    if "#" in "".join(levels[:-1]) or (levels[-1] != "#" and "#" in levels[-1]):
        raise AddressInvalid("the wildcard # may stand only as the last level of a topic")
    if any("+" in level and level != "+" for level in levels):
        raise AddressInvalid("the wildcard + must be a whole level of a topic")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
