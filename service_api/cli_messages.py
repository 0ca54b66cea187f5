"""`ridethrough replay` of a message log: to a broker, or from one of its own."""

import argparse
import asyncio
import tempfile
from pathlib import Path

from collector.tls import TlsInvalid
from device_sims.message_log import publish_messages, read_messages
from device_sims.mqtt_publisher import Broker
from device_sims.recordings import RecordingInvalid
from service_api.broker_tls import broker_tls
from service_api.cli_shared import CommandFailed, UsageError, reason
from service_api.embedded_broker import EmbeddedBroker
from service_api.embedded_files import EmbeddedFailed
from service_api.log import set_up
from service_api.settings import Settings


def replay_messages(arguments: argparse.Namespace) -> None:
    """Publish a log once to `--broker`; without one, over and over at a broker on `--port`."""
    set_up("WARNING")
    try:
        messages = read_messages(arguments.recording)
    except RecordingInvalid as error:
        raise UsageError(f"{arguments.recording}: {error}") from error
    except OSError as error:
        raise UsageError(f"{arguments.recording} cannot be read: {reason(error)}") from error
    try:
        if arguments.broker is not None:
            broker = _broker(arguments.broker)
            asyncio.run(publish_messages(messages, broker, speed=arguments.speed))
            print(f"{len(messages)} messages are published")
            return
        with (
            tempfile.TemporaryDirectory(prefix="ridethrough-replay-") as folder,
            EmbeddedBroker(Path(folder), port=arguments.port) as serving,
        ):
            print(
                f"serving {arguments.recording.name} at {serving.url}, Ctrl-C ends it", flush=True
            )
            broker = Broker.at(serving.url)
            asyncio.run(publish_messages(messages, broker, speed=arguments.speed, again=True))
    except (EmbeddedFailed, OSError) as error:
        raise CommandFailed(f"the messages cannot be published: {error}") from error


def _broker(url: str) -> Broker:
    try:
        return Broker.at(url, broker_tls(Settings()))
    except TlsInvalid as error:
        raise UsageError(str(error)) from error
    except ValueError as error:
        raise UsageError(f"--broker: {error}") from error
