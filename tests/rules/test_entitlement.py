from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.entitlement import Cover, check
from rules.workdays import DayKind, UnknownCountry, day_kinds
from rules.working_time import ALWAYS, Calendar, NoWorkingTime, add_working_time, working_stretches

SHANGHAI = "Asia/Shanghai"
OFFICE = Calendar(opens=time(9), closes=time(17))
CHINA = Calendar(opens=time(9), closes=time(17), country="CN", kind_of=day_kinds("CN"))
EVERY_DAY = frozenset(range(1, 8))


def local(text: str, zone: str = SHANGHAI) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("start", "minutes", "calendar", "due"),
    [
        pytest.param("2026-03-02 16:30", 60, OFFICE, "2026-03-03 09:30", id="over the night"),
        pytest.param(
            "2026-03-02 16:00", 60, OFFICE, "2026-03-02 17:00", id="to the closing minute"
        ),
        pytest.param("2026-03-02 17:00", 60, OFFICE, "2026-03-03 10:00", id="closing is closed"),
        pytest.param("2026-03-02 09:00", 60, OFFICE, "2026-03-02 10:00", id="opening is open"),
        pytest.param("2026-03-02 03:00", 60, OFFICE, "2026-03-02 10:00", id="before opening"),
        pytest.param("2026-03-06 16:30", 60, OFFICE, "2026-03-09 09:30", id="over a weekend"),
        pytest.param("2026-03-07 12:00", 480, OFFICE, "2026-03-09 17:00", id="raised on Saturday"),
        pytest.param("2026-03-02 10:00", 960, OFFICE, "2026-03-04 10:00", id="two working days"),
        pytest.param("2026-03-02 16:30", 60, ALWAYS, "2026-03-02 17:30", id="around the clock"),
        # 2026: Spring Festival is off from 15 to 23 February, 14 and 28 February are worked.
        pytest.param("2026-02-13 16:30", 60, CHINA, "2026-02-14 09:30", id="make-up Saturday"),
        pytest.param("2026-02-14 16:30", 60, CHINA, "2026-02-24 09:30", id="Spring Festival"),
        pytest.param("2026-02-27 16:30", 60, CHINA, "2026-02-28 09:30", id="make-up after it"),
        pytest.param("2026-02-13 16:30", 60, OFFICE, "2026-02-16 09:30", id="no holidays asked"),
        pytest.param(
            "2026-03-02 23:30",
            60,
            Calendar(opens=time(22), closes=time(6), weekdays=EVERY_DAY),
            "2026-03-03 00:30",
            id="a night shift crosses midnight",
        ),
        pytest.param(
            "2026-03-03 05:30",
            60,
            Calendar(opens=time(22), closes=time(6), weekdays=EVERY_DAY),
            "2026-03-03 22:30",
            id="the tail of yesterday's night shift counts",
        ),
    ],
)
def test_working_time_is_counted_on_the_calendar(start, minutes, calendar, due):
    assert add_working_time(local(start), minutes, calendar, SHANGHAI) == local(due)


ALL_DAY = Calendar(opens=time(0), closes=time(0), weekdays=EVERY_DAY)


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2026-03-28", 24), ("2026-03-29", 23), ("2026-10-25", 25)],
)
def test_a_day_of_the_clock_change_has_as_many_hours_as_it_has(day, hours):
    start = local(f"{day} 00:00", "Europe/Berlin")
    first = next(working_stretches(start, 3_000, ALL_DAY, ZoneInfo("Europe/Berlin")))
    assert first.minutes == hours * 60


def test_hours_around_the_clock_ignore_the_clock_change():
    start = local("2026-03-28 22:00", "Europe/Berlin")
    assert add_working_time(start, 240, ALWAYS, "Europe/Berlin") == start + timedelta(hours=4)


def test_a_calendar_that_never_opens_has_no_deadline():
    with pytest.raises(NoWorkingTime):
        add_working_time(local("2026-03-02 16:30"), 60, Calendar(weekdays=frozenset()), SHANGHAI)


@given(
    start=st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    minutes=st.integers(1, 6_000),
    zone=st.sampled_from([SHANGHAI, "Europe/Berlin", "America/New_York", "UTC"]),
    calendar=st.sampled_from([ALWAYS, OFFICE, CHINA, ALL_DAY]),
)
def test_the_stretches_add_up_and_lie_in_working_hours(start, minutes, zone, calendar):
    stretches = list(working_stretches(start, minutes, calendar, ZoneInfo(zone)))
    assert sum(s.minutes for s in stretches) == pytest.approx(minutes)
    assert stretches[0].starts_at >= start
    for earlier, later in pairwise(stretches):
        assert earlier.ends_at <= later.starts_at
    if not calendar.always:
        for stretch in stretches:
            opens_at, closes_at = calendar.window(stretch.day, ZoneInfo(zone))
            assert calendar.is_workday(stretch.day)
            assert opens_at <= stretch.starts_at < stretch.ends_at <= closes_at


@pytest.mark.parametrize(
    ("day", "kind"),
    [
        (date(2026, 2, 17), DayKind.HOLIDAY),
        (date(2026, 2, 14), DayKind.MAKE_UP),
        (date(2026, 1, 4), DayKind.MAKE_UP),
        (date(2006, 12, 30), DayKind.MAKE_UP),
        (date(2026, 3, 3), DayKind.ORDINARY),
        (date(2026, 3, 7), DayKind.ORDINARY),
    ],
)
def test_china_has_holidays_and_make_up_workdays(day, kind):
    assert day_kinds("CN")(day) is kind


def test_an_unknown_country_is_refused():
    with pytest.raises(UnknownCountry, match="XX"):
        day_kinds("XX")


AT = local("2026-03-02 16:30")


def cover(contract_id: int = 1, **changes: object) -> Cover:
    facts: dict[str, object] = {
        "contract_id": contract_id,
        "key": f"C-{contract_id}",
        "name_en": f"Care {contract_id}",
        "name_zh": f"维保{contract_id}",
        "state": "active",
        "starts_on": date(2026, 1, 1),
        "ends_on": date(2026, 12, 31),
        "customer_id": 7,
        "covers_device": True,
        "calendar": OFFICE,
        "respond_minutes": 60,
        "restore_minutes": 480,
    }
    return Cover(**{**facts, **changes})


def verdict(*covers: Cover, warranty_until: date | None = None, at: datetime = AT):
    return check(
        customer_id=7,
        device_id=3,
        covers=covers,
        warranty_until=warranty_until,
        at=at,
        time_zone=SHANGHAI,
    )


def test_a_contract_that_applies_sets_the_deadlines_and_shows_its_arithmetic():
    found = verdict(cover())
    assert found.covered
    assert found.contract_id == 1
    assert found.respond_by_at == local("2026-03-03 09:30")
    assert found.restore_by_at == local("2026-03-03 16:30")
    assert [line.en for line in found.lines] == [
        "Reported 2026-03-02 16:30 (Asia/Shanghai).",
        "Response within 1 h, counted Mon–Fri 09:00–17:00.",
        "2026-03-02 (Mon) 16:30–17:00: 30 min.",
        "2026-03-03 (Tue) 09:00–09:30: 30 min.",
        "Response due 2026-03-03 09:30.",
        "Restoration within 8 h, counted Mon–Fri 09:00–17:00.",
        "2026-03-02 (Mon) 16:30–17:00: 30 min.",
        "2026-03-03 (Tue) 09:00–16:30: 7 h 30 min.",
        "Restoration due 2026-03-03 16:30.",
    ]
    assert found.lines[4].zh == "响应截止 2026-03-03 09:30。"


@pytest.mark.parametrize(
    ("changes", "name", "holds"),
    [
        ({"customer_id": 8}, "contract_customer", False),
        ({"covers_device": False}, "contract_device", False),
        ({"starts_on": date(2026, 3, 3)}, "contract_started", False),
        ({"starts_on": None}, "contract_started", None),
        ({"ends_on": date(2026, 3, 1)}, "contract_not_ended", False),
        ({"ends_on": None}, "contract_not_ended", None),
        ({"state": "draft"}, "contract_active", False),
        ({"state": "cancelled"}, "contract_active", False),
    ],
)
def test_one_condition_that_does_not_hold_refuses_the_contract(changes, name, holds):
    found = verdict(cover(**changes))
    assert not found.covered
    assert found.contract_id is None
    failing = {c.name: c.holds for c in found.conditions if c.holds is not True}
    assert failing == {name: holds, "warranty": None}
    assert all(c.en and c.zh for c in found.conditions)


@pytest.mark.parametrize(
    ("at", "covered"),
    [
        # The contract's days are the site's, eight hours ahead of UTC.
        (datetime(2025, 12, 31, 15, 59, tzinfo=UTC), False),
        (datetime(2025, 12, 31, 16, 0, tzinfo=UTC), True),
        (datetime(2026, 12, 31, 15, 59, tzinfo=UTC), True),
        (datetime(2026, 12, 31, 16, 0, tzinfo=UTC), False),
    ],
)
def test_a_contract_counts_from_its_first_to_its_last_day_at_the_site(at, covered):
    assert verdict(cover(), at=at).covered is covered


def test_the_earliest_deadline_wins_and_the_other_contracts_are_shown():
    found = verdict(
        cover(1), cover(2, calendar=ALWAYS, respond_minutes=240), cover(3, ends_on=date(2026, 2, 1))
    )
    assert found.contract_id == 2
    assert found.respond_by_at == local("2026-03-02 20:30")
    said = " ".join(line.en for line in found.lines)
    assert "Contract “Care 1” applies too, with a later deadline." in said
    assert "Contract “Care 3” does not apply: It ended on 2026-02-01" in said


def test_without_a_contract_the_default_targets_count_and_it_says_so():
    found = verdict()
    assert not found.covered
    assert "Not covered" in found.clause_en
    assert "服务收费" in found.clause_zh
    assert found.respond_by_at == local("2026-03-03 16:30")
    assert found.conditions[0].holds is False
    assert [c.holds for c in found.conditions[1:]] == [None] * 5


@pytest.mark.parametrize(
    ("until", "covered"),
    [(date(2026, 3, 2), True), (date(2026, 3, 1), False), (None, False)],
)
def test_a_unit_without_a_contract_may_be_under_warranty(until, covered):
    found = verdict(cover(covers_device=False), warranty_until=until)
    assert found.covered is covered
    assert found.contract_id is None


def test_a_calendar_without_hours_gives_no_deadline_but_a_sentence():
    found = verdict(cover(calendar=Calendar(weekdays=frozenset())))
    assert found.covered
    assert found.respond_by_at is None
    assert found.lines[-1].en == "The calendar has no working hours: no deadline can be counted."


def test_the_verdict_goes_to_json_with_both_languages():
    sent = verdict(cover()).to_json()
    assert set(sent) == {
        "covered",
        "conditions",
        "contract_id",
        "contract_name",
        "contract_name_zh",
        "clause_en",
        "clause_zh",
        "lines",
        "respond_by_at",
        "restore_by_at",
    }
    assert sent["respond_by_at"] == "2026-03-03T01:30:00+00:00"
    assert sent["conditions"][0] == {
        "name": "contract_customer",
        "holds": True,
        "en": "Contract “Care 1” names this customer.",
        "zh": "合同“维保1”的客户是本客户。",
    }
