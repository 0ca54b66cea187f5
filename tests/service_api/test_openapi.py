"""The OpenAPI document is one that a client generator accepts."""

import re

import pytest

from tests.service_api.conftest import Doors


@pytest.fixture(scope="module")
def document(doors: Doors) -> dict:
    with doors.anyone() as client:
        return client.get("/api/v1/openapi.json").json()


def operations(document: dict):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def references(node: object):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_leads_somewhere(document: dict):
    found = set(references(document))
    assert found
    for reference in found:
        assert reference.startswith("#/")
        node = document
        for part in reference[2:].split("/"):
            node = node[part]


def test_operation_ids_are_unique_stable_words(document: dict):
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", each) for each in ids), ids


def test_schemas_have_names_that_are_identifiers(document: dict):
    for name in document["components"]["schemas"]:
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name), name


def test_every_success_says_what_it_answers(document: dict):
    for path, method, operation in operations(document):
        successes = {code: one for code, one in operation["responses"].items() if code[0] == "2"}
        assert successes, (path, method)
        for code, answer in successes.items():
            if code == "204":
                continue
            content = answer.get("content", {})
            assert content, (path, method, code)
            for kind, media in content.items():
                if kind == "application/json":
                    assert media.get("schema"), (path, method, code)


def test_every_operation_says_what_it_does(document: dict):
    for path, method, operation in operations(document):
        assert operation.get("summary"), (path, method)
        assert operation.get("description"), (path, method)


def test_no_page_is_in_the_document(document: dict):
    for path in document["paths"]:
        assert path.startswith("/api/v1/") or path in {"/healthz", "/readyz", "/metrics"}


def test_the_scripted_interfaces_are_all_there(document: dict):
    for method, path in (
        ("post", "/api/v1/auth/token"),
        ("get", "/api/v1/fleet"),
        ("get", "/api/v1/fleet/summary"),
        ("get", "/api/v1/events"),
        ("get", "/api/v1/devices/{device_id}"),
        ("get", "/api/v1/devices/{device_id}/telemetry"),
        ("get", "/api/v1/devices/{device_id}/health"),
        ("get", "/api/v1/devices/{device_id}/history"),
        ("get", "/api/v1/alarms"),
        ("post", "/api/v1/alarms/{alarm_id}/acknowledge"),
        ("post", "/api/v1/alarms/{alarm_id}/shelve"),
        ("get", "/api/v1/incidents"),
        ("get", "/api/v1/tickets"),
        ("post", "/api/v1/tickets"),
        ("get", "/api/v1/tickets/{ticket_id}"),
    ):
        assert method in document["paths"][path], (method, path)
    parameters = {
        one["name"]
        for one in document["paths"]["/api/v1/devices/{device_id}/telemetry"]["get"]["parameters"]
    }
    assert {"from", "to", "points", "resolution"} <= parameters


def test_no_two_schemas_share_a_name(document: dict):
    """A client generator makes a class of each title; the second of a name would be lost."""
    schemas = document["components"]["schemas"]
    titles = [schema.get("title", name) for name, schema in schemas.items()]
    assert len(titles) == len(set(titles))
    assert not [name for name in schemas if "__" in name]
