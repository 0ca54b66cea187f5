"""TLS to brokers as the settings have it: one way for the listener, the uplink and the commands."""

import ssl

from collector.tls import client_tls
from service_api.settings import Settings


def broker_tls(settings: Settings) -> ssl.SSLContext | None:
    """Return how to speak TLS to a broker, None for the system's way; raise TlsInvalid."""
    files = (settings.mqtt_ca_file, settings.mqtt_cert_file, settings.mqtt_key_file)
    if files == (None, None, None):
        return None
    ca_file, cert_file, key_file = files
    return client_tls(ca_file=ca_file, cert_file=cert_file, key_file=key_file)
