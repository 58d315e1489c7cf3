"""Every setting of the service: read once from the environment and one TOML file, checked whole.

The environment wins over the file. All faults are named at once, each in one line that begins with the
setting as the user wrote it, and never with a secret in it. Nothing else in the package reads the
environment, and this file must not know what a setting is used for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)
from pydantic_core import ErrorDetails

from receiver.config.overdue_after import OVERDUE_AFTER_S, OverdueAfter
from receiver.config.read_tokens import ReadTokens
from receiver.config.sources import AddressRange, Source, SourceName
from receiver.errors import SettingsError

PREFIX = "ESC_RECEIVER_"
CONFIG = PREFIX + "CONFIG"
NOT_SETTINGS = frozenset({CONFIG, PREFIX + "URL", PREFIX + "TOKEN"})
"""Environment variables of commands: which file to read, which receiver to ask."""

Limit = Annotated[int, Field(ge=-1)]
"""A limit of JetStream's: -1 is none."""


def _secret(default: Any, description: str) -> Any:
    """A setting that is never printed and may also come from a file (`…_FILE`)."""
    return Field(default, description=description, repr=False, json_schema_extra={"secret": True})


class Settings(BaseModel):
    """Names are those of the environment without the prefix, in lower case; units stand last."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    postgres_dsn: str = _secret("", "PostgreSQL to keep callbacks in: `postgresql://user:password@host/database`.")
    nats_url: str = _secret("nats://127.0.0.1:4222", "NATS servers, separated by commas; may carry `user:password@`.")
    nats_credentials: str = _secret("", "The text of a NATS credentials (`.creds`) file, if NATS asks for one.")
    host: str = Field(default="127.0.0.1", description="Address to serve on; `0.0.0.0` or `::` for all.")
    port: int = Field(default=9010, ge=0, le=65535, description="Port to serve on; 0 takes a free one.")
    data_dir: Path = Field(default=Path("data"), description="Folder of the spool and of `serve --embedded`.")
    migrate: bool = Field(default=True, description="Bring the schema up to date at start.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least level logged."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="`auto`: text on a terminal, else JSON."
    )
    log_callbacks: bool = Field(default=True, description="Log one line for each callback, at level `info`.")

    sources: dict[SourceName, Source] = _secret({}, "The ESC instances: a TOML table each, or one JSON object.")
    default_source: bool = Field(default=True, description="Whether the source `default` exists without being listed.")
    trusted_proxies: tuple[AddressRange, ...] = Field(default=(), description="Proxies whose `X-Forwarded-For` counts.")

    body_bytes_max: PositiveInt = Field(default=1_048_576, description="Largest body, as sent and as unpacked.")
    body_timeout_s: PositiveFloat = Field(default=10, description="Time for a body to arrive.")
    header_field_bytes_max: PositiveInt = Field(default=65_536, description="Largest header field, name and value.")
    header_bytes_max: PositiveInt = Field(default=262_144, description="Largest header, all fields.")
    headers_max: PositiveInt = Field(default=128, description="Most header fields.")
    request_line_bytes_max: PositiveInt = Field(default=8_190, description="Longest request target.")
    ref_characters_max: PositiveInt = Field(default=256, description="Longest `?ref=`; the rest is cut off.")
    xml_depth_max: PositiveInt = Field(default=64, description="Deepest nesting of elements.")
    connections_max: PositiveInt = Field(default=4_000, description="Most connections at once.")
    keepalive_timeout_s: PositiveFloat = Field(
        default=75, description="Time to wait for a (next) request on a connection."
    )
    ping_timeout_s: PositiveFloat = Field(default=2, description="Time for a dependency to answer `/readyz`.")
    retry_after_s: PositiveInt = Field(default=5, description="`Retry-After` of a 503.")

    queue_callbacks_max: PositiveInt = Field(default=10_000, description="Most callbacks waiting for a transaction.")
    queue_bytes_max: PositiveInt = Field(default=268_435_456, description="Most bytes of bodies waiting for one.")
    batch_callbacks_max: PositiveInt = Field(default=256, description="Most callbacks in one transaction.")
    batch_bytes_max: PositiveInt = Field(default=4_194_304, description="Most bytes of bodies in one transaction.")
    commits_max: PositiveInt = Field(default=2, description="Most transactions with callbacks at one time.")
    commit_timeout_s: PositiveFloat = Field(default=5, description="Time for one transaction.")
    commit_races_max: PositiveInt = Field(
        default=10, description="How often a batch is judged again because another receiver was quicker."
    )
    commit_retry_s: PositiveFloat = Field(default=0.1, description="Pause before a broken transaction is tried again.")
    postgres_connect_timeout_s: PositiveFloat = Field(default=5, description="Time to connect to PostgreSQL.")
    postgres_pool_size: PositiveInt = Field(default=4, description="Most connections to PostgreSQL.")
    postgres_silence_s: PositiveFloat = Field(
        default=10, description="Time after which PostgreSQL lets go of what a frozen or lost receiver has locked."
    )

    spool_dir: Path | None = Field(
        default=None, description="Folder of the spool, the receiver's alone; unset: `spool` in DATA_DIR."
    )
    spool_bytes_max: PositiveInt = Field(default=1_073_741_824, description="Largest spool on disk; beyond it: 503.")
    spool_batch_max: int = Field(default=256, ge=1, le=8_000, description="Most callbacks spooled with one fsync.")
    spool_batch_bytes_max: PositiveInt = Field(default=4_194_304, description="Most bytes spooled with one fsync.")
    spool_age_warn_s: PositiveFloat = Field(
        default=300, description="Age of the oldest spooled callback at which `/readyz` says `degraded`."
    )
    spool_retry_s: NonNegativeFloat = Field(default=1, description="Pause before a broken spool is opened again.")
    spool_timeout_s: PositiveFloat = Field(
        default=10, description="Time for the spool's disk to take a callback; beyond it: 503."
    )
    spool_locked_timeout_s: NonNegativeFloat = Field(
        default=1, description="Time to wait for a program (`sqlite3`) that has locked the spool's file."
    )
    drain_retry_s: PositiveFloat = Field(default=0.5, description="First pause before the spool is drained again.")
    drain_retry_max_s: PositiveFloat = Field(default=5, description="Longest pause before it is tried again.")
    drain_refused_retry_s: PositiveFloat = Field(
        default=3600, description="Time after which PostgreSQL is asked again for what it refused of the spool."
    )
    drain_batch_max: PositiveInt = Field(default=512, description="Most callbacks taken from the spool at once.")
    drain_batch_bytes_max: PositiveInt = Field(default=4_194_304, description="Most bytes taken from it at once.")

    reorder_window_s: PositiveFloat = Field(
        default=300, description="Within it, messages of an operation may change order."
    )
    duplicate_window_s: PositiveFloat = Field(default=300, description="Within it, a repeated message is a duplicate.")

    overdue_after_s: OverdueAfter = Field(
        default=dict(OVERDUE_AFTER_S),
        description="Silence after which an open operation is overdue, by kind: a TOML table, or a JSON object; "
        "`default` is for every kind that is not given. Never less than `reorder_window_s`.",
    )
    overdue_check_s: PositiveFloat = Field(default=15, description="How often overdue operations are looked for.")
    overdue_batch_max: PositiveInt = Field(default=256, description="Most operations that become overdue at once.")
    overdue_vms_named_max: PositiveInt = Field(
        default=10, description="Most VMs that are named as left between states by an overdue operation."
    )

    read_tokens: ReadTokens = _secret(
        (), "Bearer tokens of the query API, separated by commas; `TOKEN:raw` opens raw bodies too. None: open to all."
    )
    session_s: PositiveInt = Field(default=43_200, description="Time for which the board stays logged in.")
    query_pool_size: PositiveInt = Field(default=4, description="Most connections to PostgreSQL for reading.")
    query_timeout_s: PositiveFloat = Field(default=5, description="Time for one question to PostgreSQL.")
    query_concurrency_max: PositiveInt = Field(default=64, description="Most questions answered at once.")
    query_rate_per_s: PositiveFloat = Field(
        default=200, description="Most questions a second from one address or token; twice as many in a burst."
    )
    query_items_max: PositiveInt = Field(default=1_000, description="Most items on one page of a list.")
    query_scan_rows_max: PositiveInt = Field(
        default=5_000, description="Most callbacks or ledger entries looked through for one page."
    )
    query_clock_skew_s: NonNegativeFloat = Field(
        default=60, description="Most by which the clocks of receivers and PostgreSQL differ."
    )
    wait_s_max: PositiveInt = Field(default=300, description="Longest `?wait=` for an operation.")
    waits_max: PositiveInt = Field(
        default=2_000, description="Most that wait for an operation at once; at most half of `connections_max`."
    )
    feed_readers_max: PositiveInt = Field(
        default=500, description="Most readers of `/api/v1/feed` at once; at most a quarter of `connections_max`."
    )
    feed_queue_bytes_max: PositiveInt = Field(
        default=1_048_576, description="Most bytes that wait for one reader; a slower one is dropped, and may resume."
    )
    feed_batch_max: PositiveInt = Field(default=1_000, description="Most ledger entries read at once for the feed.")
    feed_gather_s: NonNegativeFloat = Field(default=0.05, description="Least time from one such read to the next.")
    feed_heartbeat_s: PositiveFloat = Field(default=15, description="How often an idle feed says that it is there.")
    wake_sweep_s: PositiveFloat = Field(
        default=5, description="How often waiting requests and the feed look for a lost wake-up."
    )

    nats_connect_timeout_s: PositiveFloat = Field(default=5, description="Time to connect to NATS.")
    publish_timeout_s: PositiveFloat = Field(default=5, description="Time for JetStream to acknowledge a message.")
    publish_batch_max: PositiveInt = Field(default=512, description="Most messages taken from the outbox at once.")
    publish_batch_bytes_max: PositiveInt = Field(default=4_194_304, description="Most bytes taken from it at once.")
    relay_gather_s: NonNegativeFloat = Field(
        default=0.01, description="Least time from one batch that is not full to the next."
    )
    relay_sweep_s: PositiveFloat = Field(default=5, description="How often the relay looks for a lost wake-up.")
    rebuild_timeout_s: PositiveFloat = Field(
        default=3_600, description="Time to put the whole ledger into the outbox again, for a stream that lost it."
    )
    relay_takeover_s: PositiveFloat = Field(default=2, description="How often a standby tries to become the relay.")
    stream_name: str = Field(default="ESC", pattern=r"^[^\s.*>/\\]+$", description="JetStream stream of the feed.")
    stream_replicas: int = Field(default=1, ge=1, le=5, description="Copies of the stream in a NATS cluster.")
    stream_bytes_max: Limit = Field(default=-1, description="Largest stream in bytes; -1: no limit.")
    stream_messages_max: Limit = Field(default=-1, description="Most messages in the stream; -1: no limit.")
    stream_age_max_s: NonNegativeInt = Field(default=0, description="Age at which messages leave the stream; 0: never.")
    stream_duplicate_window_s: PositiveInt = Field(
        default=120, description="JetStream's own window for dropping repeats."
    )
    kv_bucket: str = Field(default="esc-state", pattern=r"^[A-Za-z0-9_-]+$", description="KV bucket of current states.")
    kv_replicas: int = Field(default=1, ge=1, le=5, description="Copies of the bucket in a NATS cluster.")
    kv_bytes_max: Limit = Field(default=-1, description="Largest bucket in bytes; -1: no limit.")
    kv_ended_ttl_s: PositiveInt = Field(default=604_800, description="Time after which the key of an ended thing goes.")

    callbacks_retention_days: PositiveInt = Field(default=30, description="Days that callbacks are kept.")
    ledger_retention_days: PositiveInt = Field(default=400, description="Days that ledger entries are kept.")
    partitions_ahead_days: PositiveInt = Field(default=7, description="Days for which partitions are made beforehand.")
    partition_lock_timeout_s: PositiveFloat = Field(
        default=0.5, description="How long those who write may have to wait for an old partition to be dropped."
    )
    maintenance_interval_s: PositiveFloat = Field(
        default=3_600, description="How often partitions are made and dropped."
    )
    counts_interval_s: PositiveFloat = Field(
        default=30, description="How often deployments, VMs and operations are counted for `/metrics`, by one receiver."
    )
    counts_timeout_s: PositiveFloat = Field(default=10, description="Time for one such count.")
    tenants_max: PositiveInt = Field(default=50, description="Most tenants that are told apart on `/metrics`.")
    consumers_max: PositiveInt = Field(
        default=50, description="Most consumers of the stream that are told apart on `/metrics`."
    )
    flapping_recoveries: int = Field(default=3, ge=2, description="A VM recovered so often is flapping, …")
    flapping_window_s: PositiveFloat = Field(default=3_600, description="… when it was within this time.")
    flapping_vms_max: PositiveInt = Field(default=10_000, description="Most VMs whose recoveries are remembered.")
    loop_probe_s: PositiveFloat = Field(default=0.5, description="How often it is measured how late the loop turns.")
    stop_timeout_s: PositiveFloat = Field(default=30, description="Time to finish what was taken when told to stop.")

    @property
    def spool_folder(self) -> Path:
        """Where the spool lies."""
        return self.data_dir / "spool" if self.spool_dir is None else self.spool_dir

    @property
    def all_sources(self) -> dict[str, Source]:
        """The configured sources and, unless switched off, an unprotected `default`."""
        return ({"default": Source()} if self.default_source else {}) | self.sources


@dataclass(frozen=True, slots=True)
class _Written:
    """A value as found. The fault of a setting begins with its name as the user wrote it."""

    value: Any
    name: str
    place: str = ""
    """Where it stands, when the name does not tell."""

    def fault(self, message: str, inside: str = "") -> str:
        return f"{self.name}{inside}{self.place}: {message}"


def load(config: Path | None, environ: Mapping[str, str], *, required: tuple[str, ...] = ("postgres_dsn",)) -> Settings:
    """The settings from `config` (else the file that ESC_RECEIVER_CONFIG names) and `environ`.

    `required` names what this command cannot do without. Raises SettingsError, which names all faults,
    one a line.
    """
    faults: list[str] = []
    path = config or (Path(environ[CONFIG]) if environ.get(CONFIG) else None)
    written = _from_toml(path, faults) | _from_environment(environ, faults)
    faults += _missing(required, written, faults)
    settings = _validated(written, faults)
    if faults or settings is None:
        raise SettingsError("\n".join(faults))
    return settings


def settings_table() -> str:
    """The Markdown table of the README: name, default, meaning."""
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        file = " (or `…_FILE`)" if _is_secret(name) else ""
        rows.append(f"| `{PREFIX}{name.upper()}`{file} | {_shown(field.default)} | {field.description} |")
    return "\n".join(rows) + "\n"


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "`on`" if default else "`off`"
    if isinstance(default, dict) and default:
        return f"`{orjson.dumps(default).decode()}`"
    return "" if default in ("", (), {}, None) else f"`{default}`"


def _is_secret(name: str) -> bool:
    extra = Settings.model_fields[name].json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("secret"))


def _from_toml(path: Path | None, faults: list[str]) -> dict[str, _Written]:
    if path is None:
        return {}
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        faults.append(f"{path}: cannot be read: {error.strerror}")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{path}: not valid TOML: {error}")
        return {}
    return _collected({name: _Written(value, name, f" in {path}") for name, value in values.items()}, faults)


def _from_environment(environ: Mapping[str, str], faults: list[str]) -> dict[str, _Written]:
    ours = {name: value for name, value in environ.items() if name.startswith(PREFIX) and name not in NOT_SETTINGS}
    return _collected({name.removeprefix(PREFIX).lower(): _Written(ours[name], name) for name in ours}, faults)


def _collected(named: dict[str, _Written], faults: list[str]) -> dict[str, _Written]:
    """Turns away names that mean nothing, resolves `…_FILE` twins, takes apart what one text holds."""
    found: dict[str, _Written] = {}
    for name, written in named.items():
        setting = name if name in Settings.model_fields else name.removesuffix("_file")
        try:
            _check_name(setting, name, named)
            value = written.value if setting == name else _content(Path(written.value))
            found[setting] = replace(written, value=_structured(setting, value))
        except ValueError as error:
            faults.append(written.fault(str(error)))
    return found


def _check_name(setting: str, name: str, named: dict[str, _Written]) -> None:
    if setting not in Settings.model_fields or (setting != name and not _is_secret(setting)):
        in_capitals = named[name].name.startswith(PREFIX)
        raise ValueError(f"no such setting{_did_you_mean(name, Settings.model_fields, PREFIX if in_capitals else '')}")
    if setting != name and setting in named:
        raise ValueError(f"given besides {named[setting].name}; only one can count")
    if named[name].value == "":
        raise ValueError("is empty; unset it or give it a value")


def _content(path: Path) -> str:
    try:
        text = path.read_text("utf-8").strip()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if not text:
        raise ValueError(f"{path} is empty")
    return text


def _structured(setting: str, value: Any) -> Any:
    """Lists and tables that came as one text: an environment variable or a file."""
    if isinstance(value, str) and setting in ("sources", "overdue_after_s"):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError as error:
            # `from None`: the decoder's error carries the whole document, which holds secrets.
            raise ValueError(f"not valid JSON: {error.msg} at character {error.pos}") from None
    if isinstance(value, str) and setting in ("trusted_proxies", "read_tokens"):
        return value.replace(",", " ").split()
    return value


def _did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {prefix}{close[0].upper() if prefix else close[0]}?" if close else ""


def _missing(required: Iterable[str], written: Mapping[str, _Written], faults: list[str]) -> list[str]:
    """A setting whose value could not be used is named already, and not missing."""
    named = " ".join(fault.partition(":")[0].lower() for fault in faults)
    return [
        f"{PREFIX}{name.upper()}: not set. {Settings.model_fields[name].description}"
        for name in required
        if name not in written and name not in named
    ]


def _validated(written: Mapping[str, _Written], faults: list[str]) -> Settings | None:
    try:
        settings = Settings(**{name: found.value for name, found in written.items()})
    except ValidationError as error:
        faults += [_fault(details, written) for details in error.errors(include_url=False)]
        return None
    faults += [
        written.get(name, _Written(None, PREFIX + name.upper())).fault(text) for name, text in _clashes(settings)
    ]
    return settings


def _clashes(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings that are right by themselves and wrong together."""
    if settings.header_field_bytes_max > settings.header_bytes_max:
        yield "header_field_bytes_max", f"exceeds header_bytes_max ({settings.header_bytes_max})"
    for kind, limit_s in settings.overdue_after_s.items():
        if limit_s < settings.reorder_window_s and limit_s != OVERDUE_AFTER_S[kind]:
            yield (
                "overdue_after_s",
                f"{kind} ({limit_s:g}) is less than reorder_window_s ({settings.reorder_window_s:g})",
            )
            break  # they are often all the same
    if settings.callbacks_retention_days > settings.ledger_retention_days:
        yield "callbacks_retention_days", f"exceeds ledger_retention_days ({settings.ledger_retention_days})"
    if "default" in settings.sources and not settings.default_source:
        yield "default_source", "is off, yet sources lists `default`"
    if not settings.all_sources:
        yield "default_source", "is off and no source is listed, so nobody could post"


def _fault(details: ErrorDetails, written: Mapping[str, _Written]) -> str:
    name, *inside = map(str, details["loc"])
    where = "".join(f".{part}" for part in inside if part != "[key]")
    if details["type"] == "extra_forbidden":
        return written[name].fault(f"no such setting{_did_you_mean(inside[-1], Source.model_fields)}", where)
    message = details["msg"].removeprefix("Value error, ").removeprefix("Input ")
    got = "" if _is_secret(name) else f" (it is {details['input']!r})"
    return written[name].fault(message + got, where)
