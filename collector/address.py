"""Where a device is and how to talk to it: URLs parsed into frozen addresses.

An address has two parts, kept apart because they are stored apart: the endpoint, printable as
`public`, and the credentials, which never show in `repr` or `str`. No network here.
"""

from dataclasses import dataclass, field, replace
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import parse_qsl, quote, unquote, urlsplit

SNMP_AUTH = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
SNMP_PRIV = ("des", "aes128", "aes192", "aes256")
_SCHEMES = "snmp://, snmp+v1://, snmpv3://, modbus://, mqtt:// or mqtts://"
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


@dataclass(frozen=True, slots=True)
class ModbusAddress:
    """A unit behind a Modbus TCP endpoint; Modbus has no credentials."""

    host: str
    port: int = 502
    unit: int = 1
    credentials: Credentials = field(default=Credentials(), repr=False)

    @property
    def public(self) -> str:
        """The address as a URL."""
        return f"modbus://{_bracketed(self.host)}:{self.port}/{self.unit}"

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
            case "modbus" | "modbus+tcp":
                return _modbus(url)
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


def _modbus(url: str) -> ModbusAddress:
    form = "modbus://HOST:502/UNIT"
    parts = _parts(url, port=502, form=form)
    if parts.user:
        raise AddressInvalid(f"Modbus knows no users or passwords: write {form}")
    text = parts.path.strip("/") or "1"
    if not (text.isascii() and text.isdigit()) or int(text) > 255:
        raise AddressInvalid(f"the unit must be a number from 0 to 255: write {form}")
    return ModbusAddress(parts.host, parts.port, int(text))


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
