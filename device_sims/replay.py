"""Replay: a recording served as if the device were here again.

The kind of file decides the protocol: `.snmprec` an SNMP agent, `.yaml` a Modbus TCP unit, and
`.jsonl` messages published to the broker at the given host and port. Reading is `recordings`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from device_sims.message_log import publish_messages, read_messages
from device_sims.modbus_server import ModbusServers
from device_sims.mqtt_publisher import Broker
from device_sims.recordings import RecordingInvalid, read_snmp
from device_sims.registers import RegisterFile, read_registers
from device_sims.snmp_agent import SnmpAgents, Table

__all__ = ["RecordingInvalid", "serve_recording", "serving_recording"]

log = logging.getLogger(__name__)

_MOST_TOLD = 5


class _Faultless:
    """A card without faults of its own."""

    delay_seconds = 0.0
    copies = 1

    def answers(self) -> bool:
        return True

    def spoiled(self, message: bytes) -> bytes:
        return message


class _Objects(_Faultless):
    def __init__(self, table: Table) -> None:
        self._table = table

    def table(self) -> Table:
        return self._table


class _Registers(_Faultless):
    def __init__(self, recorded: RegisterFile) -> None:
        self._recorded = recorded

    def words(self, function: int) -> Mapping[int, int]:
        return self._recorded.words[function]

    def objects(self) -> Mapping[int, bytes]:
        return self._recorded.objects


async def serve_recording(
    path: Path, host: str = "127.0.0.1", port: int = 0, *, mqtt_url: str | None = None
) -> None:
    """Serve a recording until cancelled, a message log until its end.

    `mqtt_url` names the broker for a message log where it wants a login.
    """
    if path.suffix == ".jsonl":
        broker = Broker(host, port) if mqtt_url is None else Broker.at(mqtt_url)
        await publish_messages(read_messages(path), broker)
        return
    async with serving_recording(path, host=host, port=port):
        await asyncio.Event().wait()


@asynccontextmanager
async def serving_recording(
    path: Path, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[int]:
    """Serve a recording while the context lasts, and yield the port that it got.

    A message log is published meanwhile to the broker at `host` and `port`.
    """
    match path.suffix:
        case ".snmprec":
            table = _what_can_be_served(path)
            async with SnmpAgents() as agents:
                yield await agents.add(_Objects(table), host=host, port=port)
        case ".yaml" | ".yml":
            recorded = read_registers(path)
            async with ModbusServers() as servers:
                yield await servers.add(_Registers(recorded), host=host, port=port)
        case ".jsonl":
            publishing = asyncio.create_task(
                publish_messages(read_messages(path), Broker(host, port))
            )
            try:
                yield port
            finally:
                publishing.cancel()
                await asyncio.wait([publishing])
        case other:
            raise RecordingInvalid(
                1, f"a recording is a .snmprec, .yaml or .jsonl file, not {other!r}"
            )


def _what_can_be_served(path: Path) -> Table:
    left_out: list[RecordingInvalid] = []
    table = read_snmp(path, left_out)
    for invalid in left_out[:_MOST_TOLD]:
        log.warning("%s, %s: left out", path.name, invalid)
    if len(left_out) > _MOST_TOLD:
        log.warning("%s: %d more lines left out", path.name, len(left_out) - _MOST_TOLD)
    return table
