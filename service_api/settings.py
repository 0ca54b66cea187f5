"""Settings: environment variables `RIDETHROUGH_…`, read in one place and checked first."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

MqttVersion = Annotated[
    Literal[3, 5],
    BeforeValidator(lambda text: int(text) if text in ("3", "5") else text),
]
"""5, or 3 for MQTT 3.1.1; the environment knows only text."""


class Settings(BaseSettings):
    """What the daemon needs to know; secrets print as asterisks and have no defaults."""

    model_config = SettingsConfigDict(env_prefix="RIDETHROUGH_", extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(
        default=None, description="the owner's connection, for `migrate` only"
    )
    ingest_database_url: SecretStr | None = Field(
        default=None, description="role ridethrough_ingest: collect, ingest, schedule, notify"
    )
    api_database_url: SecretStr | None = Field(
        default=None, description="role ridethrough_api: owns nothing, sees what a request may see"
    )
    ingest_password: SecretStr | None = Field(
        default=None, description="given to the role by `migrate`"
    )
    api_password: SecretStr | None = Field(
        default=None, description="given to the role by `migrate`"
    )
    encryption_key: SecretStr | None = Field(
        default=None, description="Fernet key that seals credentials and channels at rest"
    )
    mqtt_url: SecretStr | None = Field(
        default=None, description="mqtt://user:password@host:1883, or mqtts://"
    )
    mqtt_version: MqttVersion = Field(default=5, description="5, or 3 for MQTT 3.1.1")
    mqtt_ca_file: Path | None = Field(
        default=None, description="PEM: who may vouch for the broker; else the system's authorities"
    )
    mqtt_cert_file: Path | None = Field(
        default=None, description="PEM: the certificate by which we prove who we are"
    )
    mqtt_key_file: Path | None = Field(
        default=None, description="PEM, without passphrase: its key, if not in the same file"
    )
    sparkplug_rebirth: bool = Field(
        default=False,
        description="true: ask Sparkplug edge nodes for their birth when it was missed",
    )
    mqtt_client_id: str = Field(
        default="ridethrough-ingest",
        description="fixed, since the broker keeps what arrives while this client is away",
    )
    trap_host: str = Field(default="0.0.0.0", description="where traps and informs are heard")  # noqa: S104 - they come from anywhere
    trap_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="UDP port for traps and informs, usually 162; not given: none are heard",
    )
    staff_channel: SecretStr | None = Field(
        default=None, description="an Apprise address: told when this service itself is blind"
    )
    collector_group: str = Field(
        default="default", min_length=1, description="whose devices the role collect polls"
    )
    collector_name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="what a collector away from the center is called there; else its host's name",
    )
    uplink_url: SecretStr | None = Field(
        default=None,
        description="the center's broker, where a collector away from it sends what it reads",
    )
    spool_dir: Path | None = Field(
        default=None, description="where that collector keeps what the broker has not taken yet"
    )
    spool_mb: int = Field(default=1024, ge=1, description="how much; the oldest goes first")
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65_535)
    raw_days: int = Field(default=14, ge=1, description="how long raw readings are kept")
    in_flight: int = Field(default=200, ge=1, description="polls under way at once, at most")
    secure_cookies: bool = Field(default=False, description="true behind HTTPS")
