"""The list of a group's devices on its way to a collector away from the center that has no other.

With each beat such a collector tells which list it has; when that is not the center's any more, the
center answers with its own, sealed credentials and all. Both ends stand here.
"""

import hashlib
import logging
import threading
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from collector.store import KnownDevice

log = logging.getLogger(__name__)

FILE = "devices.list"
_LARGEST_BYTES = 64 * 1024 * 1024
_DIGEST_CHARACTERS = 64
_LIST: TypeAdapter[list[KnownDevice]] = TypeAdapter(list[KnownDevice])


class ListInvalid(ValueError):
    """What came is no list of devices."""


def pack(devices: Sequence[KnownDevice]) -> tuple[str, bytes]:
    """Return the digest and the message of a list; what changes with each reading is left out."""
    lasting = [
        replace(
            device,
            is_on_battery=False,
            observed_at=None,
            is_offline=False,
            patience={},
            is_card_failing=False,
        )
        for device in devices
    ]
    written = _LIST.dump_json(lasting)
    digest = hashlib.sha256(written).hexdigest()
    return digest, digest.encode() + zlib.compress(written)


def unpack(payload: bytes) -> tuple[str, list[KnownDevice]]:
    """Return the digest and the devices of a message; raise ListInvalid."""
    digest, packed = payload[:_DIGEST_CHARACTERS], payload[_DIGEST_CHARACTERS:]
    try:
        unpacking = zlib.decompressobj()
        written = unpacking.decompress(packed, _LARGEST_BYTES)
    except zlib.error as error:
        raise ListInvalid(f"the list cannot be unpacked: {error}") from None
    if not unpacking.eof or hashlib.sha256(written).hexdigest().encode() != digest:
        raise ListInvalid("the list is damaged or too long")
    try:
        return digest.decode(), _LIST.validate_json(written)
    except ValueError as error:
        raise ListInvalid(f"the list is of another version: {error}"[:300]) from None


class HeardList:
    """The devices that the center told of last, remembered in `folder` over restarts."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()
        self._digest = ""
        self._devices: list[KnownDevice] = []
        if self._path.exists():
            try:
                self._digest, self._devices = unpack(self._path.read_bytes())
            except ListInvalid as invalid:
                log.warning("what was remembered of the devices is no use: %s", invalid)

    @property
    def digest(self) -> str:
        """Which list this is; empty while none is known."""
        return self._digest

    def devices(self) -> Sequence[KnownDevice]:
        """Return the devices; none while the center has told of none."""
        return self._devices

    def take(self, payload: bytes) -> None:
        """Take a message over; what is no list is told of and left."""
        try:
            digest, devices = unpack(payload)
        except ListInvalid as invalid:
            log.warning("the center's list of devices is left: %s", invalid)
            return
        with self._lock:
            if digest == self._digest:
                return
            draft = self._path.with_suffix(".new")
            draft.write_bytes(payload)
            draft.chmod(0o600)
            draft.replace(self._path)
            self._digest, self._devices = digest, devices
        log.info("the center told of %d devices", len(devices))
