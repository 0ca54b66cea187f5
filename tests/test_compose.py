"""What compose.yaml promises: each service is looked after, and no secret is known beforehand."""

import re
from pathlib import Path

import pytest
import yaml

from service_api.settings import Settings

TEXT = (Path(__file__).parents[1] / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, dict] = COMPOSE["services"]
ROLES = {"collect", "ingest", "schedule", "notify", "api"}


def settings_of(name):
    return SERVICES[name].get("environment", {})


def test_it_runs_the_database_the_broker_the_migration_and_each_role():
    assert set(SERVICES) == {"db", "mosquitto", "migrate"} | ROLES
    for role in ROLES:
        assert SERVICES[role]["command"] == ["run", "--roles", role]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_a_health_check_or_runs_once(name):
    service = SERVICES[name]
    if service["restart"] == "no":
        waiting = [
            other["depends_on"][name]["condition"]
            for other in SERVICES.values()
            if name in other.get("depends_on", {})
        ]
        assert set(waiting) == {"service_completed_successfully"}
    else:
        assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


def test_everything_taken_from_the_environment_is_required_and_explained():
    taken = re.findall(r"(?<!\$)\$(?!\$)\{?[^}\s]*[^}]*\}?", TEXT)
    assert taken
    for expression in taken:
        assert re.fullmatch(r"\$\{RIDETHROUGH_[A-Z_]+:\?set [a-zA-Z _]+\}", expression), expression


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_stands_in_the_file(name):
    for variable, value in settings_of(name).items():
        if re.search(r"PASSWORD|SECRET|KEY|URL", variable):
            assert "${RIDETHROUGH_" in value, variable
        if "://" in value:
            assert re.search(r"://[a-z_]+:\$\{[^}]+\}@", value), variable


@pytest.mark.parametrize("name", sorted(ROLES | {"migrate"}))
def test_every_setting_is_one_that_the_program_knows(name):
    known = {f"RIDETHROUGH_{field.upper()}" for field in Settings.model_fields}
    assert settings_of(name).keys() <= known


def test_only_the_migration_has_the_owners_password_and_the_pages_only_their_own():
    for role in ROLES:
        assert "OWNER" not in str(settings_of(role))
    assert "INGEST" not in str(settings_of("api"))


def test_the_broker_admits_nobody_without_the_password():
    lines = COMPOSE["configs"]["mosquitto"]["content"].splitlines()
    assert "allow_anonymous false" in lines
    assert any(line.startswith("password_file ") for line in lines)
    assert not any(line.startswith("allow_anonymous true") for line in lines)
