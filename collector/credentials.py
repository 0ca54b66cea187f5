"""Credentials as one text, the form in which they are sealed; sealing itself is not done here."""

import json

from collector.address import Credentials


class CredentialsInvalid(ValueError):
    """A text that holds no credentials; the message shows nothing of it."""


def credentials_text(credentials: Credentials) -> str:
    """Return credentials as a text; equal credentials give equal texts."""
    parts = [credentials.user, credentials.password, credentials.private_password]
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def parse_credentials(text: str) -> Credentials:
    """Return the credentials in a text that `credentials_text` wrote."""
    try:
        parts = json.loads(text)
    except ValueError:
        parts = None
    match parts:
        case [str(user), str(password), str(private_password)]:
            return Credentials(user, password, private_password)
    raise CredentialsInvalid("the stored credentials are not of the expected form: import them")
