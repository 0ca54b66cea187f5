"""Seal what must not stand readable in the database: device credentials, notice channels.

A sealed text is a Fernet token (AES-128-CBC with HMAC-SHA-256); the one key is in the settings and
never in the database.
"""

import hashlib
import hmac

from cryptography.fernet import Fernet, InvalidToken


class KeyInvalid(ValueError):
    """The encryption key is not of the right form."""


class SealBroken(ValueError):
    """A sealed text does not open: it was sealed with another key, or damaged."""


class Sealer:
    """Seals and opens texts with one key."""

    __slots__ = ("_fernet", "_fingerprint_key")

    def __init__(self, key: str) -> None:
        try:
            self._fernet = Fernet(key)
        except ValueError:
            raise KeyInvalid(
                "RIDETHROUGH_ENCRYPTION_KEY must be 32 random bytes in URL-safe base64: make one "
                'with `python -c "from cryptography.fernet import Fernet; '
                'print(Fernet.generate_key().decode())"`'
            ) from None
        self._fingerprint_key = hashlib.sha256(b"fingerprint\0" + key.encode()).digest()

    def __repr__(self) -> str:
        return "Sealer(…)"

    def seal(self, text: str) -> bytes:
        """Return `text` encrypted; the same text gives another token each time."""
        return self._fernet.encrypt(text.encode())

    def unseal(self, token: bytes) -> str:
        """Return the text in a token; raise `SealBroken` when this key does not open it."""
        try:
            return self._fernet.decrypt(bytes(token)).decode()
        except InvalidToken:
            raise SealBroken(
                "a stored secret does not open with RIDETHROUGH_ENCRYPTION_KEY: set the key it was "
                "sealed with, or import the devices again"
            ) from None

    def fingerprint(self, text: str) -> str:
        """Return what tells equal texts without telling the text to one who lacks the key."""
        return hmac.new(self._fingerprint_key, text.encode(), hashlib.sha256).hexdigest()
