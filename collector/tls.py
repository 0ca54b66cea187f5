"""TLS for connections to brokers: whom we trust, and how we prove who we are.

One way for the listener, the uplink and `probe`; which files these are is a setting.
"""

import ssl
from pathlib import Path


class TlsInvalid(ValueError):
    """A certificate or key cannot be used; the message names the file and the cure."""


def client_tls(
    *,
    ca_file: Path | None = None,
    cert_file: Path | None = None,
    key_file: Path | None = None,
) -> ssl.SSLContext:
    """Return how to speak TLS to a broker; raise TlsInvalid.

    `ca_file` holds the certificates that may vouch for the broker, else the system's do.
    `cert_file` and `key_file`, both PEM without a passphrase, are the client's own; the key may
    stand in `cert_file`.
    """
    if key_file is not None and cert_file is None:
        raise TlsInvalid(f"{key_file} is a key without its certificate: give that too")
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as problem:
        raise TlsInvalid(f"{ca_file} holds no certificate in PEM: {problem}") from problem
    if cert_file is not None:
        try:
            context.load_cert_chain(cert_file, key_file, password=_no_passphrase)
        except (OSError, ssl.SSLError) as problem:
            own = cert_file if key_file is None else f"{cert_file} with {key_file}"
            raise TlsInvalid(f"{own} is no certificate with its key in PEM: {problem}") from problem
        except _PassphraseNeeded:
            raise TlsInvalid(
                f"{key_file or cert_file} is locked by a passphrase: give a key without one"
            ) from None
    return context


class _PassphraseNeeded(Exception):
    """OpenSSL asks for a passphrase that nobody is there to type."""


def _no_passphrase() -> str:
    raise _PassphraseNeeded
