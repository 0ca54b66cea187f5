"""Version 3's users and reports: keys made once, and what a card's refusal means. Pure.

Keys follow RFC 3414 (MD5, SHA-1), RFC 7860 (SHA-2) and RFC 3826 (AES-128). AES-192 and AES-256
have no standard: where the authentication key is too short for them it is lengthened in one of two
ways, Blumenthal's (draft-blumenthal-aes-usm-04) or Reeder's, as Cisco's and many UPS cards have it.
"""

from functools import lru_cache

from gufo.snmp.user import (
    Aes128Key,
    Aes192Key,
    Aes256Key,
    BaseAuthKey,
    BasePrivKey,
    DesKey,
    KeyExpansion,
    KeyType,
    Md5Key,
    Sha1Key,
    Sha224Key,
    Sha256Key,
    Sha384Key,
    Sha512Key,
    User,
)

from collector.address import SnmpAddress

_AUTH: dict[str, type[BaseAuthKey]] = {
    "md5": Md5Key,
    "sha1": Sha1Key,
    "sha224": Sha224Key,
    "sha256": Sha256Key,
    "sha384": Sha384Key,
    "sha512": Sha512Key,
}
_PRIV: dict[str, type[BasePrivKey]] = {
    "des": DesKey,
    "aes128": Aes128Key,
    "aes192": Aes192Key,
    "aes256": Aes256Key,
}
_REEDER = "c"
"""What stands behind `aes192` and `aes256` in an address for Reeder's keys, as in other tools."""

_USM_STATS = "1.3.6.1.6.3.15.1.1"
UNSUPPORTED_LEVEL = f"{_USM_STATS}.1.0"
NOT_IN_WINDOW = f"{_USM_STATS}.2.0"
UNKNOWN_USER = f"{_USM_STATS}.3.0"
UNKNOWN_ENGINE = f"{_USM_STATS}.4.0"
WRONG_DIGEST = f"{_USM_STATS}.5.0"
DECRYPTION_ERROR = f"{_USM_STATS}.6.0"

_MEANINGS = {
    UNSUPPORTED_LEVEL: "the card does not take this user with this security level",
    NOT_IN_WINDOW: "the card calls every time wrong, even its own: its clock jumps",
    UNKNOWN_USER: "the card knows no such user",
    UNKNOWN_ENGINE: "the card goes by another engine id at each question",
    WRONG_DIGEST: "wrong authentication passphrase or algorithm",
    DECRYPTION_ERROR: "wrong privacy passphrase or algorithm",
}


def meaning(report: str | None) -> str:
    """Return what a card's report says, in words; None is a refusal in an encrypted answer."""
    if report is None:
        return "the card lets this user read nothing here (authorizationError)"
    return _MEANINGS.get(report, f"the card reports {report or 'nothing in particular'}")


def other_expansion(address: SnmpAddress, tried: KeyExpansion) -> KeyExpansion | None:
    """Return the other way to lengthen a key, None where nothing is lengthened."""
    if address.auth is None or address.priv is None:
        return None
    priv = _PRIV[address.priv.removesuffix(_REEDER)]
    if priv.KEY_LENGTH <= _AUTH[address.auth].KEY_LENGTH or address.priv in ("des", "aes128"):
        return None
    return KeyExpansion.Cisco if tried is KeyExpansion.Blumenthal else KeyExpansion.Blumenthal


def expansion_of(address: SnmpAddress) -> KeyExpansion:
    """Return the way to lengthen keys that the address names, or the commoner one."""
    is_reeder = address.priv is not None and address.priv.endswith(_REEDER)
    return KeyExpansion.Cisco if is_reeder else KeyExpansion.Blumenthal


@lru_cache(maxsize=1024)
def user_of(address: SnmpAddress, expansion: KeyExpansion) -> User:
    """Return the user with keys that only want an engine id yet.

    Making a key of a passphrase hashes a million bytes (RFC 3414 appendix A.2), some milliseconds.
    """
    secret = address.credentials
    if address.auth is None:
        return User(secret.user)
    kind = _AUTH[address.auth]
    auth = kind(_master(address.auth, secret.password), KeyType.Master)
    if address.priv is None:
        return User(secret.user, auth_key=auth)
    priv = _PRIV[address.priv.removesuffix(_REEDER)]
    master = _master(address.auth, secret.private_password)
    return User(
        secret.user,
        auth_key=auth,
        priv_key=priv(master, KeyType.Master),
        key_expansion=expansion,
    )


@lru_cache(maxsize=1024)
def _master(auth: str, passphrase: str) -> bytes:
    return _AUTH[auth].get_master_key(passphrase.encode())
