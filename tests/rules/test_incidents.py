"""Which alarms share a cause, which sites a failure, and what an incident says of itself."""

import random
from datetime import timedelta

import pytest

from rules.incidents import Extent, Failure, Home, Place, Struck, home, regions, statement
from tests.conftest import NOW

MINUTE = timedelta(minutes=1)
PLACE = Place(site_id=1, room_id=5, path_id=7)
LASTS = Failure(40, 1, NOW - 20 * MINUTE, None)
ENDED = Failure(30, 1, NOW - 90 * MINUTE, NOW - 60 * MINUTE)
ELSEWHERE = Failure(20, 2, NOW - 90 * MINUTE, None)
FOLLOWS = ("mains_failure",)


@pytest.mark.parametrize(
    ("place", "cause", "follows", "began", "expected"),
    [
        (PLACE, "mains_failure", (), 0, Home("site:1", "mains_failure", "site")),
        (PLACE, None, (), 0, None),
        (PLACE, "over_temperature", (), 0, Home("room:5", "over_temperature", "room")),
        (Place(1), "over_temperature", (), 0, None),
        # Silence while mains is away, from shortly before it was known
        (PLACE, "communication_lost", FOLLOWS, 10, Home("site:1", "mains_failure", "mains", 40)),
        (PLACE, "communication_lost", FOLLOWS, 25, Home("site:1", "mains_failure", "mains", 40)),
        # before that, or after the failure that ended, it has a cause of its own
        (PLACE, "communication_lost", FOLLOWS, 26, Home("path:7", "communication_lost", "path")),
        (Place(1), "communication_lost", FOLLOWS, 26, Home("site:1", "communication_lost", "site")),
        (PLACE, "communication_lost", FOLLOWS, 60, Home("site:1", "mains_failure", "mains", 30)),
        (PLACE, "communication_lost", FOLLOWS, 59, Home("path:7", "communication_lost", "path")),
        (PLACE, None, FOLLOWS, 10, Home("site:1", "mains_failure", "mains", 40)),
        (PLACE, None, FOLLOWS, 40, None),
        (Place(3), None, FOLLOWS, 10, None),
    ],
)
def test_where_an_alarm_belongs(place, cause, follows, began, expected):
    found = home(
        place,
        cause=cause,
        follows=follows,
        began_at=NOW - began * MINUTE,
        failures=[ELSEWHERE, LASTS, ENDED],
    )
    assert found == expected


def struck(incident: int, minute: float, *substations: str, ended=False, site=None) -> Struck:
    at = NOW + minute * MINUTE
    failure = Failure(incident, site or incident, at, at + MINUTE if ended else None)
    return Struck(failure, {name: 9 - n for n, name in enumerate(substations)})


def found(*failures: Struck, standing=None, released=frozenset(), sites=2) -> list[tuple]:
    shuffled = random.Random(7).sample(failures, len(failures))
    return [
        (one.substation, one.incident_ids)
        for one in regions(
            shuffled,
            standing=standing or {},
            released=released,
            sites=sites,
            within=10 * MINUTE,
        )
    ]


def test_sites_that_fail_one_after_another_are_one_region():
    assert found(struck(1, 0, "a"), struck(2, 9, "a"), struck(3, 18, "a")) == [("a", (1, 2, 3))]


def test_a_pause_parts_failures():
    assert found(struck(1, 0, "a"), struck(2, 11, "a"), struck(3, 12, "a")) == [("a", (2, 3))]


def test_another_substation_is_another_failure():
    assert found(struck(1, 0, "a"), struck(2, 1, "b"), struck(3, 2, "a")) == [("a", (1, 3))]


def test_one_site_that_fails_twice_is_no_region():
    assert found(struck(1, 0, "a", site=8), struck(2, 5, "a", site=8)) == []


def test_the_bound_is_how_many_sites_it_takes():
    three = (struck(1, 0, "a"), struck(2, 1, "a"), struck(3, 2, "a"))
    assert found(*three, sites=4) == []
    assert found(*three, sites=3) == [("a", (1, 2, 3))]


def test_a_site_that_is_over_still_counts_but_something_must_last():
    assert found(struck(1, 0, "a", ended=True), struck(2, 5, "a")) == [("a", (1, 2))]
    assert found(struck(1, 0, "a", ended=True), struck(2, 5, "a", ended=True)) == []


def test_one_more_site_joins_the_region_that_stands():
    assert found(struck(3, 45, "a"), standing={"a": NOW}) == [("a", (3,))]
    assert found(struck(3, -8, "a"), standing={"a": NOW}) == [("a", (3,))]
    assert found(struck(3, -12, "a"), standing={"a": NOW}) == []


def test_a_site_counts_where_most_of_its_units_hang():
    assert found(struck(1, 0, "a", "b"), struck(2, 1, "a"), struck(3, 2, "b")) == [("a", (1, 2))]


def test_what_people_took_out_stays_out():
    two = (struck(1, 0, "a"), struck(2, 1, "a"))
    assert found(*two, released=frozenset({(1, "a")})) == []
    assert found(*two, released=frozenset({(1, "b")})) == [("a", (1, 2))]


@pytest.mark.parametrize(
    ("extent", "says"),
    [
        (Extent("supply_failure", "substation:x", 7, sites=3, place=("X", "X 站")), "3 sites fed"),
        (Extent("supply_failure", "hand:4", 7, sites=2), "a person put them together"),
        (Extent("mains_failure", "site:1", 4, 5), "4 of 5 units of the site are without mains"),
        (Extent("mains_failure", "site:1", 1, 5, back=3), "back for 3 units; 1 have not"),
        (Extent("mains_failure", "site:1", 0, 5, back=3), "back for all 3"),
        (Extent("communication_lost", "path:1", 3, 4, place=("S", "S")), "look at it before"),
        (Extent("communication_lost", "path:1", 1, 4, place=("S", "S")), "the unit or its card"),
        (Extent("communication_lost", "site:1", 2, 4), "2 of 4 units of the site are silent"),
        (Extent("over_temperature", "room:1", 2, 4, place=("H", "H")), "the air conditioning"),
        (Extent("over_temperature", "room:1", 1, 4, place=("H", "H")), "if its neighbors stay"),
        (Extent("no_data", "fleet", 0), "No data"),
    ],
)
def test_what_an_incident_says_of_itself(extent, says):
    en, zh = statement(extent)
    assert says in en
    assert zh
    assert zh != en
