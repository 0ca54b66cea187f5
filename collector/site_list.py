"""The list of devices that a collector away from the center remembers over restarts.

The list comes from the center's database while the line holds; what is kept of it is read when the
line is cut. Credentials stay sealed.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from collector.store import KnownDevice

log = logging.getLogger(__name__)

FILE = "devices.json"
_LIST: TypeAdapter[list[KnownDevice]] = TypeAdapter(list[KnownDevice])


class RememberedList:
    """Loads devices by `load`, and remembers them in `folder`.

    As long as `load` has failed since the start, `devices` returns what was remembered; then its
    failure is the caller's, who knows the devices already.
    """

    def __init__(self, folder: Path, *, load: Callable[[], Sequence[KnownDevice]]) -> None:
        self._path = folder / FILE
        self._load = load
        self._kept: bytes | None = None

    def devices(self) -> Sequence[KnownDevice]:
        """Return the devices; raises what `load` raises when none are remembered."""
        try:
            devices = list(self._load())
        except Exception as error:
            if self._kept is not None or not self._path.exists():
                raise
            remembered = self._remembered()
            log.warning(
                "the devices cannot be loaded (%s): %d are remembered", error, len(remembered)
            )
            return remembered
        self._remember(devices)
        return devices

    def _remember(self, devices: list[KnownDevice]) -> None:
        written = _LIST.dump_json(devices)
        if written == self._kept:
            return
        draft = self._path.with_suffix(".new")
        draft.write_bytes(written)
        draft.chmod(0o600)
        draft.replace(self._path)
        self._kept = written

    def _remembered(self) -> list[KnownDevice]:
        return _LIST.validate_json(self._path.read_bytes())
