"""The polled devices of a group that are this collector's now, by its leases."""

from collections.abc import Callable

from psycopg_pool import ConnectionPool

from collector.lease_holder import LeaseHolder
from collector.lease_store import Work
from collector.shards import polling_shard_of
from collector.store import KnownDevice, known_devices


class GroupShare:
    """Holds leases on shards of a group's devices; `load` returns the devices in them.

    `on_change` is called, from another thread, when shards came or went.
    """

    def __init__(
        self,
        connections: ConnectionPool,
        group: str,
        *,
        collector_id: Callable[[], int],
        on_change: Callable[[], None],
    ) -> None:
        self._connections = connections
        self._group = group
        self._holder = LeaseHolder(
            connections,
            Work(f"collect:{group}"),
            collector_id=collector_id,
            on_change=lambda _: on_change(),
        )

    def start(self) -> None:
        """Take our share: all of it, at once, where nobody else is."""
        self._holder.start()

    def stop(self) -> None:
        """Leave it to the others."""
        self._holder.stop()

    @property
    def shards(self) -> frozenset[int]:
        """The shards whose devices may be polled by us at this moment."""
        return self._holder.shards

    def load(self) -> list[KnownDevice]:
        """Return the devices that may be polled by us."""
        shards = self._holder.shards
        if not shards:
            return []
        with self._connections.connection() as connection:
            devices = known_devices(connection, collector_group=self._group, shards=shards)
        still = self._holder.shards
        if still >= shards:
            return devices
        return [
            device for device in devices if polling_shard_of(device.key, device.address) in still
        ]
