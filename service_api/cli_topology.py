"""`ridethrough topology import`: what hangs on what, from a file."""

import argparse

import psycopg

from service_api.cli_shared import CommandFailed, UsageError, print_json, reason
from service_api.database import STAFF, open_pool, request_transaction
from service_api.settings import Settings
from service_api.topology.operations import import_topologies
from service_api.topology.reading import TopologyInvalid, read_topologies

ACTOR = "command line"


def topology_import(arguments: argparse.Namespace) -> None:
    """Write the topologies of a file, all of it or nothing."""
    try:
        files = read_topologies(arguments.file.read_bytes())
        dsn = Settings().api_database_url
        if dsn is None:
            raise UsageError(
                "RIDETHROUGH_API_DATABASE_URL is not set: the topology is written there"
            )
        with (
            open_pool(dsn.get_secret_value(), most=1, name="topology") as pool,
            request_transaction(pool, STAFF) as connection,
        ):
            counts = import_topologies(connection, files, actor=ACTOR, now=arguments.now())
    except OSError as error:
        raise UsageError(f"{arguments.file} cannot be read: {reason(error)}") from error
    except TopologyInvalid as error:
        first, *others = error.faults
        for fault in error.faults if others else ():
            print(f"{arguments.file}: {fault}")
        more = f" (and {len(others)} more, listed above)" if others else ""
        raise UsageError(f"{arguments.file}: {first}{more}") from error
    except psycopg.OperationalError as error:
        raise CommandFailed(f"the database cannot be reached: {error}") from error
    if arguments.json:
        print_json(counts)
    else:
        print(
            f"{counts['sites']} sites, {counts['changed']} changed, {counts['units']} units placed"
        )
