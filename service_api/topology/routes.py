"""The topology of a site: read, replaced as a whole, taken back; its page."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Form as FormBody
from starlette.responses import Response

from service_api.customers.store import site
from service_api.errors import PROBLEM_RESPONSES, Invalid
from service_api.language import msg
from service_api.pages import done, render
from service_api.request import CurrentUser, Now, Staff, Transaction
from service_api.topology import operations, store
from service_api.topology.reading import TopologyInvalid, read_topologies
from service_api.topology.schemas import Topology, TopologyForm

api = APIRouter(prefix="/api/v1/sites", tags=["topology"], responses=PROBLEM_RESPONSES)
pages = APIRouter(prefix="/sites", include_in_schema=False)


@api.get("/{site_id}/topology")
def get_topology(_user: CurrentUser, connection: Transaction, site_id: int) -> Topology:
    """Tell on what the units of a site hang; empty lists where nothing was entered."""
    store.site_key(connection, site_id)
    return store.topology(connection, site_id)


@api.put("/{site_id}/topology")
def put_topology(
    user: Staff,
    connection: Transaction,
    now: Now,
    site_id: int,
    body: Topology,
    reason: str = "",
) -> Topology:
    """Replace the topology of a site; what is not sent is no longer there."""
    try:
        operations.put_topology(connection, site_id, body, reason=reason, actor=user.name, now=now)
    except TopologyInvalid as error:
        raise Invalid(str(error)) from error
    return store.topology(connection, site_id)


@api.post("/{site_id}/topology/undo")
def undo_topology(user: Staff, connection: Transaction, now: Now, site_id: int) -> Topology:
    """Take the last change of a site's topology back."""
    operations.undo_last(connection, site_id, actor=user.name, now=now)
    return store.topology(connection, site_id)


@pages.get("/{site_id}/topology")
def show_topology(
    request: Request, user: CurrentUser, connection: Transaction, site_id: int
) -> Response:
    """Show on what the units of a site hang."""
    here = site(connection, site_id)
    known = store.topology(connection, site_id)
    return render(
        request,
        "topology/topology.html",
        site=here,
        topology=known,
        units=store.unit_rows(connection, site_id),
        sharing=store.sharing(connection, site_id),
        changes=store.changes(connection, site_id) if user.is_staff else [],
        text=known.model_dump_json(indent=2, exclude_defaults=True),
    )


@pages.post("/{site_id}/topology")
def put_on_page(
    request: Request,
    user: Staff,
    connection: Transaction,
    now: Now,
    site_id: int,
    form: Annotated[TopologyForm, FormBody()],
) -> Response:
    """Replace the topology by what was pasted, and go back."""
    key = store.site_key(connection, site_id)
    try:
        file = next((one for one in read_topologies(form.text, site=key) if one.site == key), None)
        if file is None:
            raise Invalid(f"The text has nothing of the site {key}.")
        operations.put_topology(
            connection, site_id, file.topology, reason=form.reason, actor=user.name, now=now
        )
    except TopologyInvalid as error:
        raise Invalid(str(error)) from error
    return done(request, f"/sites/{site_id}/topology", msg("Topology saved"))


@pages.post("/{site_id}/topology/undo")
def undo_on_page(
    request: Request, user: Staff, connection: Transaction, now: Now, site_id: int
) -> Response:
    """Take the last change back, and go back."""
    operations.undo_last(connection, site_id, actor=user.name, now=now)
    return done(request, f"/sites/{site_id}/topology", msg("Last change taken back"))
