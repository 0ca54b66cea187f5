"""Run literal SQL of several statements, `%` and `:` untouched."""

from alembic import op


def execute(sql: str) -> None:
    """Send `sql` to the server as it stands, inside the migration's transaction."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)
