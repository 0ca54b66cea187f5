"""Tables as files for a spreadsheet: the one way in which CSV is written.

The text begins with a byte order mark, without which spreadsheets take Chinese for another
encoding. A text that a spreadsheet would reckon is written as a text: names come from customers.
"""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

from starlette.responses import Response

_RECKONED = ("=", "+", "-", "@", "\t", "\r")


def csv_text(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV; what is None is empty."""
    out = StringIO()
    writer = csv.writer(out)
    writer.writerow(titles)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def csv_response(name: str, titles: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """Return a table as a file to be kept under a name."""
    return Response(
        "\ufeff" + csv_text(titles, rows),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(_RECKONED):
        return f"'{value}"
    return value
