from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules import operations as tickets
from service_api.errors import NotFound
from service_api.spares import store as spares
from service_api.spares.operations import Item, NotEnoughStock
from service_api.work_orders import operations, store
from service_api.work_orders.drafting import draft_order
from service_api.work_orders.operations import EngineerBusy, Report, StepRefused, UsedPart
from service_api.work_orders.schemas import OrderQuery
from service_api.work_orders.states import CHANGES, Past, Step, next_step, step_to_undo
from service_api.work_orders.undoing import undo
from tests.conftest import NOW
from tests.service_world import lay_crew, lay_world

HOUR = timedelta(hours=1)


@given(st.lists(st.sampled_from([*Step, "undo"]), max_size=20))
def test_undoing_walks_back_the_steps_one_by_one(choices):
    history: list[Past] = []
    standing: list[int] = []
    for number, choice in enumerate(choices, start=1):
        if choice == "undo":
            target = step_to_undo(history)
            assert target == (standing.pop() if standing else None)
            if target is not None:
                history.append(Past(number, "undone", undoes=target))
        else:
            history.append(Past(number, choice.value))
            standing.append(number)


def test_every_open_state_has_a_next_step_that_is_allowed():
    for state in ("draft", "assigned", "accepted", "on_site"):
        assert state in CHANGES[next_step(state)].allowed
    assert next_step("done") is None
    assert next_step("cancelled") is None


@pytest.fixture
def world(database):
    return lay_world(database.owner_dsn)


@pytest.fixture
def crew(database, world):
    return lay_crew(database.owner_dsn)


@pytest.fixture
def staff(database, crew):
    with psycopg.connect(database.api_dsn) as connection:
        connection.execute("SELECT set_config('ridethrough.scope', 'all', false)")
        yield connection


def open_ticket(
    connection, device_id, *, mode="battery_end_of_life", parts=("battery_set",)
) -> int:
    return tickets.open_scheduled_ticket(
        connection,
        device_id=device_id,
        failure_mode=mode,
        title=("Battery", "电池"),
        why=("old", "旧"),
        priority=2,
        skills=("battery",),
        part_kinds=parts,
        action=("Replace", "更换"),
        source="rule",
        now=NOW,
    )


@pytest.fixture
def order(staff, world):
    found = draft_order(staff, open_ticket(staff, world.device), actor="test", now=NOW)
    assert found is not None
    return found


def give(connection, order_id, engineer_id, start=NOW + HOUR):
    operations.assign(
        connection, order_id, engineer_id=engineer_id, starts_at=start, actor="test", now=NOW
    )


def state_of(connection, order_id) -> str:
    return store.order(connection, order_id).line.state


def lying(connection, part_id) -> tuple[int, int]:
    found = spares.balances(connection, part_id=part_id)
    return (found[0].on_hand, found[0].reserved)


def test_a_draft_names_candidates_and_keeps_the_fitting_part(staff, world, crew, order):
    page = store.order(staff, order)
    assert page.line.state == "draft"
    assert [c["engineer_id"] for c in page.candidates] == [crew["a"], crew["b"]]
    assert page.candidates[1]["missing_skills"] == ["battery"]
    assert lying(staff, crew["B-A"]) == (2, 1)
    assert lying(staff, crew["B-X"]) == (5, 0)


def test_drafting_twice_drafts_and_reserves_once(staff, world, crew, order):
    ticket = store.order(staff, order).line.ticket_id
    assert draft_order(staff, ticket, actor="test", now=NOW) == order
    assert lying(staff, crew["B-A"]) == (2, 1)


def test_two_drafts_at_once_make_one_order(database, staff, world, crew):
    ticket = open_ticket(staff, world.device)
    staff.commit()

    def draft(_: int) -> int | None:
        with psycopg.connect(database.ingest_dsn) as connection:
            return draft_order(connection, ticket, actor="test", now=NOW)

    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(draft, range(4)))
    assert len(set(made)) == 1
    assert lying(staff, crew["B-A"]) == (2, 1)


def test_an_order_without_a_fitting_part_in_stock_is_drafted_all_the_same(staff, world, crew):
    ticket = open_ticket(staff, world.device, mode="charger_fault", parts=("charger_board",))
    order = draft_order(staff, ticket, actor="test", now=NOW)
    assert spares.parts_of_order(staff, order) == []


def test_a_closed_ticket_gets_no_order(staff, world):
    ticket = open_ticket(staff, world.device)
    tickets.close_ticket(staff, ticket, closing_code="withdrawn", text="", actor="test", now=NOW)
    with pytest.raises(StepRefused, match="closed"):
        draft_order(staff, ticket, actor="test", now=NOW)


def test_the_database_refuses_an_engineer_in_two_places_with_a_clear_reason(
    staff, world, crew, order
):
    other = draft_order(staff, open_ticket(staff, world.second_device), actor="test", now=NOW)
    give(staff, order, crew["a"])
    with pytest.raises(EngineerBusy, match=f"Engineer A is at work order {order} from 2026-03-02"):
        give(staff, other, crew["a"], NOW + 2 * HOUR)
    assert state_of(staff, other) == "draft"
    give(staff, other, crew["b"], NOW + 2 * HOUR)
    undo(staff, other, actor="test", now=NOW)
    # The planned time is half-open: the next job may begin when this one ends.
    give(staff, other, crew["a"], NOW + 3 * HOUR)
    assert state_of(staff, other) == "assigned"


def test_racing_dispatchers_cannot_send_one_engineer_to_two_places(database, staff, world, crew):
    orders = [
        draft_order(staff, open_ticket(staff, device), actor="test", now=NOW)
        for device in (world.device, world.second_device, world.other_device)
    ]
    staff.commit()

    def dispatch(order_id: int) -> bool:
        with psycopg.connect(database.api_dsn) as connection:
            connection.execute("SELECT set_config('ridethrough.scope', 'all', true)")
            try:
                give(connection, order_id, crew["a"])
            except EngineerBusy:
                return False
            return True

    with ThreadPoolExecutor(3) as threads:
        assert sorted(threads.map(dispatch, orders)) == [False, False, True]


def battery_of(connection, device_id):
    return connection.execute(
        "SELECT battery_installed_on FROM device WHERE id = %s", (device_id,)
    ).fetchone()[0]


def test_an_order_runs_from_draft_to_done_and_closes_its_ticket(staff, world, crew, order):
    give(staff, order, crew["a"])
    operations.accept(staff, order, actor="a", now=NOW)
    operations.arrive(staff, order, actor="a", now=NOW + HOUR)
    page = store.order(staff, order)
    assert page.ticket_state == "in_progress"
    used = [UsedPart(Item(crew["B-A"], crew["main"]), 1)]
    outcome = operations.close(
        staff,
        order,
        Report("Replaced", "Facility manager", used, "battery_replaced"),
        actor="a",
        now=NOW + 2 * HOUR,
    )
    page = store.order(staff, order)
    assert (outcome, page.ticket_state, page.line.state) == ("closed", "closed", "done")
    assert (page.report, page.signed_by) == ("Replaced", "Facility manager")
    assert lying(staff, crew["B-A"]) == (1, 0)
    assert [event.kind for event in store.events(staff, order)] == [
        "closed",
        "arrived",
        "accepted",
        "assigned",
        "drafted",
    ]
    assert battery_of(staff, world.device) == NOW.date()


def test_closing_by_mistake_is_taken_back_with_parts_and_ticket(staff, world, crew, order):
    give(staff, order, crew["a"])
    operations.arrive(staff, order, actor="a", now=NOW)
    used = [UsedPart(Item(crew["B-A"], crew["main"]), 2)]
    operations.close(staff, order, Report("x", "", used, "battery_replaced"), actor="a", now=NOW)
    assert lying(staff, crew["B-A"]) == (0, 0)
    assert undo(staff, order, actor="a", now=NOW) == "closed"
    page = store.order(staff, order)
    assert (page.line.state, page.ticket_state, page.report) == ("on_site", "open", None)
    assert lying(staff, crew["B-A"]) == (2, 1)
    assert battery_of(staff, world.device) is None
    assert undo(staff, order, actor="a", now=NOW) == "arrived"
    assert undo(staff, order, actor="a", now=NOW) == "assigned"
    assert state_of(staff, order) == "draft"
    with pytest.raises(StepRefused, match="nothing"):
        undo(staff, order, actor="a", now=NOW)


def test_more_parts_than_there_are_close_nothing(staff, world, crew, order):
    give(staff, order, crew["a"])
    operations.arrive(staff, order, actor="a", now=NOW)
    used = [UsedPart(Item(crew["B-A"], crew["main"]), 3)]
    with pytest.raises(NotEnoughStock), staff.transaction():
        operations.close(staff, order, Report("x", "", used), actor="a", now=NOW)
    assert state_of(staff, order) == "on_site"
    assert lying(staff, crew["B-A"]) == (2, 1)


def test_a_cancelled_order_frees_its_part_and_undo_takes_it_again(staff, world, crew, order):
    operations.cancel(staff, order, reason="customer asked", actor="test", now=NOW)
    assert state_of(staff, order) == "cancelled"
    assert lying(staff, crew["B-A"]) == (2, 0)
    undo(staff, order, actor="test", now=NOW)
    assert state_of(staff, order) == "draft"
    assert lying(staff, crew["B-A"]) == (2, 1)


def test_a_cancelled_order_stays_so_once_the_ticket_has_a_new_one(staff, world, crew, order):
    ticket = store.order(staff, order).line.ticket_id
    operations.cancel(staff, order, reason="wrong", actor="test", now=NOW)
    assert draft_order(staff, ticket, actor="test", now=NOW) != order
    with pytest.raises(StepRefused, match="newer open work order"):
        undo(staff, order, actor="test", now=NOW)


@pytest.mark.parametrize("step", ["accept", "arrive", "close"])
def test_a_step_out_of_turn_is_refused(staff, order, step):
    steps = {
        "accept": lambda: operations.accept(staff, order, actor="x", now=NOW),
        "arrive": lambda: operations.arrive(staff, order, actor="x", now=NOW),
        "close": lambda: operations.close(staff, order, Report("x"), actor="x", now=NOW),
    }
    with pytest.raises(StepRefused, match="draft"):
        steps[step]()


def test_an_order_that_is_not_there_is_not_found(staff, world):
    with pytest.raises(NotFound):
        store.order(staff, 10_000)
    with pytest.raises(operations.OrderUnknown):
        operations.accept(staff, 10_000, actor="x", now=NOW)


def test_a_customer_sees_only_their_own_orders(database, staff, world, order):
    staff.commit()
    for customer, seen in ((world.customer, [order]), (world.other_customer, [])):
        with psycopg.connect(database.api_dsn) as connection:
            connection.execute("SELECT set_config('ridethrough.scope', %s, true)", (str(customer),))
            page = store.orders(connection, OrderQuery())
            assert [line.id for line in page.items] == seen
            assert bool(store.events(connection, order)) is bool(seen)
