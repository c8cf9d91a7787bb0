"""Settings from the environment: prefix `STARLING_`, nested by `__`. The only reader of the environment.

Ring 2. One frozen class per service would repeat the shared parts, so services share `Settings` and each
adds its own section. A default secret is refused unless `environment` is "local".
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Self

from pydantic import BaseModel, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.core.calls import SMALL_GROUP

_DEFAULT_SECRET = "starling-local-secret-not-for-production"  # noqa: S105 (refused outside "local")


class HttpSettings(BaseModel, frozen=True):
    """Where this process listens, and how clients reach the front door."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    public_url: str = Field(
        "", description="the front door as clients see it, http(s)://host[:port]; empty: http://host:port"
    )
    max_body_bytes: int = Field(256 * 1024, ge=1, description="larger request bodies are answered 413")
    max_requests: int = Field(1000, ge=1, description="requests at work at once; more are answered 503")
    max_connections: int = Field(
        10_000, ge=1, description="open connections that are no WebSockets; one more is answered 503 and closed"
    )
    request_timeout: timedelta = Field(timedelta(seconds=15), description="deadline of a request, else 503")
    probe_timeout: timedelta = Field(timedelta(seconds=2), description="deadline of each part's answer to /readyz")
    head_timeout: timedelta = Field(timedelta(seconds=10), description="from connect to the end of a request's head")
    unread_timeout: timedelta = Field(
        timedelta(seconds=30), description="how long a client may leave what was written to it unread"
    )
    keep_alive: timedelta = Field(
        timedelta(seconds=75), description="how long an idle connection is kept; above the proxy's own"
    )
    shutdown_timeout: timedelta = Field(timedelta(seconds=10), description="how long requests at work may take to end")
    trusted_proxies: tuple[str, ...] = Field(
        (), description="addresses whose X-Forwarded-For and -Proto are believed; empty: none"
    )

    @property
    def front_door(self) -> str:
        """The address under which clients reach us, without a slash at the end."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 (compared, not bound)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


class MongoSettings(BaseModel, frozen=True):
    """The only source of truth."""

    url: str = Field("mongodb://127.0.0.1:27017/", description="connection string")
    database: str = Field("starling", description="database name")
    timeout: timedelta = Field(timedelta(seconds=10), description="deadline of every operation")


class BusSettings(BaseModel, frozen=True):
    """RabbitMQ, or the memory of one process."""

    url: str = Field("memory://", description="memory:// or amqp(s)://user:password@host:port/vhost")
    prefix: str = Field("starling", description="first part of every exchange and queue name")
    shards: int = Field(16, ge=1, le=256, description="shards of the log; fixed at first start")
    user_slots: int = Field(0, ge=0, le=65536, description="routing keys for users; 0: one key per user")
    exchange_partitions: int = Field(1, ge=1, le=64, description="exchanges that events are divided over")


class CacheSettings(BaseModel, frozen=True):
    """Redis, or the memory of one process."""

    url: str = Field("memory://", description="memory:// or redis(s)://host:port/db")
    timeout: timedelta = Field(timedelta(milliseconds=250), description="deadline of every operation")
    process_bytes: int = Field(
        16 * 1024 * 1024,
        ge=0,
        description="memory in groups and in history, each, for what users may do, before Redis; 0: none",
    )


class AuthSettings(BaseModel, frozen=True):
    """Tokens."""

    secret: SecretStr = Field(SecretStr(_DEFAULT_SECRET), description="key that signs tokens, 32 characters or more")
    older_secrets: tuple[SecretStr, ...] = Field(
        (),
        max_length=4,
        description="keys beside it whose tokens are good, too: older ones, and the next one",
    )


class EmailSettings(BaseModel, frozen=True):
    """Codes by e-mail. Without a host there is none, but that local mode writes codes to the log."""

    host: str = Field("", description="SMTP server; empty: none")
    port: int = Field(587, ge=1, le=65535, description="its port")
    security: Literal["starttls", "tls", "none"] = Field("starttls", description="how the connection is secured")
    username: str = Field("", description="who logs in there; empty: nobody")
    password: SecretStr = Field(SecretStr(""), description="the password for that")
    sender: str = Field("starling@localhost", description="address that mails come from")
    timeout: timedelta = Field(timedelta(seconds=10), description="deadline of each answer of the server")
    required: bool = Field(
        False, description="whether people without a proved address may neither join nor make groups, nor open DMs"
    )


class LimitSettings(BaseModel, frozen=True):
    """Budgets of clients. `enabled` = false lifts every rate, connection and registration limit (load tests)."""

    enabled: bool = Field(True, description="whether clients have budgets at all")
    content_characters: int = Field(2000, ge=1, le=4000, description="longest message content")
    sends_per_second: float = Field(5.0, gt=0, description="messages per second and user, with a burst of 2 s")
    webhook_sends_per_second: float = Field(
        2.5, gt=0, description="messages per second and webhook, with a burst of 2 s"
    )
    frames_per_minute: int = Field(120, ge=1, description="frames per minute and connection, but for op 100")
    connections_per_address: int = Field(
        500, ge=1, description="open WebSockets per node and address (of IPv6: /64); loopback has no bound"
    )
    sessions_per_user: int = Field(
        50, ge=1, description="sessions per node and user; those that are there stay, one more is refused"
    )
    identifies_per_minute: int = Field(30, ge=1, description="IDENTIFYs per minute, node and user")
    polls_per_minute: int = Field(600, ge=1, description="streams and polls begun per minute, node and user")
    auth_per_minute: int = Field(30, ge=1, description="registrations, logins and the like per minute and address")
    mails_per_minute: int = Field(1, ge=1, description="codes per minute and mailbox; ten a day at most")
    auth_per_account_and_minute: int = Field(
        20, ge=1, description="logins, changes of passwords and the like per minute and account"
    )


class GatewaySettings(BaseModel, frozen=True):
    """Connections and sessions."""

    heartbeat_interval: timedelta = Field(timedelta(seconds=41.25), description="what HELLO tells clients")
    identify_timeout: timedelta = Field(timedelta(seconds=15), description="from HELLO to IDENTIFY")
    send_timeout: timedelta = Field(timedelta(seconds=10), description="how long a sender waits for its ack")
    compare_interval: timedelta = Field(timedelta(seconds=30), description="how often a node looks for missed events")
    unbind_linger: timedelta = Field(timedelta(seconds=30), description="how long an unused binding is kept")
    send_buffer_bytes: int = Field(
        4 * 1024 * 1024, ge=1, description="unsent bytes of one connection at which it is closed as a slow consumer"
    )
    send_buffer_time: timedelta = Field(
        timedelta(seconds=30), description="how long bytes may stay unsent, however few, before the same"
    )
    resume_window: timedelta = Field(timedelta(seconds=120), description="how long a session waits for its client")
    checkpoint_interval: timedelta = Field(
        timedelta(milliseconds=250), description="how often a node stores how far it is in every stream"
    )
    drain_time: timedelta = Field(timedelta(seconds=5), description="over how long a node that goes down sends away")
    replay_log_bytes: int = Field(64 * 1024 * 1024, ge=1, description="what a node keeps for sessions that resume")
    origins: tuple[str, ...] = Field((), description="allowed Origin headers; empty: any")
    max_connections: int = Field(20_000, ge=1, description="open connections on this node")
    max_streams: int = Field(
        5_000, ge=1, description="event streams and long polls among them; keep it below STARLING_HTTP__MAX_CONNECTIONS"
    )
    stream_heartbeat: timedelta = Field(timedelta(seconds=15), description="how often a quiet event stream gets a sign")
    presence_members: int = Field(
        SMALL_GROUP,
        ge=0,
        le=SMALL_GROUP,
        description="presence is told in groups of at most so many members; 0: nowhere",
    )
    openings_at_once: int = Field(256, ge=1, description="sessions that are opened at once; others wait in order")


class GroupsSettings(BaseModel, frozen=True):
    """Accounts and groups."""

    max_members: int = Field(250_000, ge=1, description="members that a group has at most")
    official: int = Field(0, ge=0, description="id of the group that every new account joins; 0: none")


class HistorySettings(BaseModel, frozen=True):
    """Pages of messages."""

    cache_bytes: int = Field(
        64 * 1024 * 1024, ge=0, description="memory for buckets that are full, so that pages of them need no query"
    )


class Settings(BaseSettings):
    """Everything a process of Starling can be told."""

    model_config = SettingsConfigDict(env_prefix="STARLING_", env_nested_delimiter="__", frozen=True, extra="ignore")

    environment: Literal["local", "production"] = Field("local", description="local allows the default secret")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level logged")
    node: str = Field("", description="name of this process, unique in the cluster; empty: made up at start")
    http: HttpSettings = HttpSettings()
    mongo: MongoSettings = MongoSettings()
    bus: BusSettings = BusSettings()
    cache: CacheSettings = CacheSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    email: EmailSettings = EmailSettings()
    groups: GroupsSettings = GroupsSettings()
    gateway: GatewaySettings = GatewaySettings()
    history: HistorySettings = HistorySettings()

    @model_validator(mode="after")
    def _require_own_secret(self) -> Self:
        secret = self.auth.secret.get_secret_value()
        if self.environment != "local" and secret == _DEFAULT_SECRET:
            raise ValueError("STARLING_AUTH__SECRET must be set outside environment=local")
        if any(len(one) < 32 for one in (secret, *(older.get_secret_value() for older in self.auth.older_secrets))):
            raise ValueError("STARLING_AUTH__SECRET and each of the older ones must have at least 32 characters")
        if self.email.required and not self.has_email:
            raise ValueError("STARLING_EMAIL__REQUIRED needs STARLING_EMAIL__HOST")
        return self

    @property
    def has_email(self) -> bool:
        """Whether codes get anywhere: by mail, or in local mode into the log."""
        return bool(self.email.host) or self.environment == "local"
