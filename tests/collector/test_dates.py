from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.dates import read_date, write_date


@pytest.mark.parametrize(
    ("raw", "order", "read"),
    [
        ("04/30/25", "mdy", "2025-04-30"),
        ("04/30/2025", "mdy", "2025-04-30"),
        ("30.04.2025", "dmy", "2025-04-30"),
        ("2025-04-30", "mdy", "2025-04-30"),
        ("20250430", "mdy", "2025-04-30"),
        ("12/31/99", "mdy", "1999-12-31"),
        ("01/01/2000", "mdy", None),
        ("01/01/2001", "ymd", None),
        ("1970-01-01", "mdy", None),
        ("", "mdy", None),
        ("Unknown", "mdy", "Unknown"),
        ("31/31/2025", "mdy", "31/31/2025"),
        (9_000, "days2000", "2024-08-22"),
        (0, "days2000", None),
        (0xFFFF, "days2000", None),
    ],
)
def test_dates_are_read_as_cards_write_them(raw, order, read):
    assert read_date(raw, order) == read


@given(
    day=st.dates(date(2001, 1, 2), date(2060, 1, 1)),
    order=st.sampled_from(["mdy", "dmy", "ymd", "days2000"]),
)
def test_a_written_date_is_read_back(day, order):
    assert read_date(write_date(day.isoformat(), order), order) == day.isoformat()


@pytest.mark.parametrize(
    ("text", "order", "day"),
    [
        ("08/17/2024", "ymd", "2024-08-17"),  # Network-M2 with an American locale
        ("17/08/2024", "mdy", "2024-08-17"),
        ("08/17/24", "dmy", "2024-08-17"),
        ("2024/08/17", "mdy", "2024-08-17"),
        ("20240817", "mdy", "2024-08-17"),
        ("04/05/2024", "dmy", "2024-05-04"),
        ("04/05/2024", "mdy", "2024-04-05"),
    ],
)
def test_a_date_in_another_order_than_usual_is_understood_where_it_can_be(text, order, day):
    assert read_date(text, order) == day
