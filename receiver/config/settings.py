"""Which settings there are: name, type, default and meaning of each.

`config.loading` reads them from the environment and a TOML file. This file must not know what a setting is used for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from receiver.config.asking_settings import AskingSettings
from receiver.config.overdue_after import OVERDUE_AFTER_S, OverdueAfter
from receiver.config.read_tokens import ReadTokens
from receiver.config.setting import secret as _secret
from receiver.config.setting import setting as _setting
from receiver.config.sources import AddressRanges, SecretNameList, Source, Sources
from receiver.config.webhook_settings import WebhookSettings
from receiver.config.worker_number import WorkerNumber

PREFIX = "ESC_RECEIVER_"


class Settings(AskingSettings, WebhookSettings):
    """Names are those of the environment without the prefix, in lower case; units stand last."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    postgres_dsn: str = _secret("", "PostgreSQL to keep callbacks in: `postgresql://user:password@host/database`.")
    nats_url: str = _secret("nats://127.0.0.1:4222", "NATS servers, separated by commas; may carry `user:password@`.")
    nats_credentials: str = _secret("", "The text of a NATS credentials (`.creds`) file, if NATS asks for one.")
    nats_ca_file: Path | None = _setting(
        None, "Authorities that may sign the certificate of NATS, PEM, instead of the system's."
    )
    nats_cert_file: Path | None = _setting(
        None, "Client certificate to show to NATS, PEM; read again at each connection."
    )
    nats_key_file: Path | None = _setting(None, "Its private key, PEM, without a passphrase.")
    nats_tls_first: bool = _setting(False, "Begin with TLS, for servers with `handshake_first`.")
    nats_monitor_urls: str = _setting(
        "",
        "Monitoring addresses of all NATS servers (`http://nats:8222`), comma-separated: whether the feed is fsynced.",
    )
    nats_monitor_timeout_s: PositiveFloat = _setting(2, "Time for the answer of one of them.")
    host: str = _setting("127.0.0.1", "Address to serve on; `0.0.0.0` or `::` for all.")
    port: int = _setting(9010, "Port to serve on; 0 takes a free one.", ge=0, le=65535)
    admin_port: int | None = _setting(
        None, "Port of API, board, probes and metrics, if `port` is to take callbacks alone.", ge=0, le=65535
    )
    admin_host: str | None = _setting(None, "Address of that port; unset: as `host`.")
    workers: WorkerNumber = _setting(
        1, "Processes that serve on this port, each with a spool of its own; `auto`: one for each processor."
    )
    worker_report_s: PositiveFloat = _setting(2, "How often a worker tells the supervisor what it has counted.")
    worker_silence_s: PositiveFloat = _setting(60, "Silence after which a worker is killed, and started again.")
    worker_steady_s: PositiveFloat = _setting(10, "A worker that lived as long is started again at once when it dies.")
    worker_restart_max_s: PositiveFloat = _setting(
        30, "Longest pause before a worker that keeps dying is started again."
    )
    worker_linger_s: NonNegativeFloat = _setting(
        2, "Time for which a worker that is replaced still answers on connections that are open, before it closes them."
    )
    tls_cert_file: Path | None = _setting(None, "Certificate to serve HTTPS with, PEM, its chain behind it.")
    tls_key_file: Path | None = _setting(None, "Its private key, PEM, without a passphrase.")
    tls_client_ca_file: Path | None = _setting(
        None, "Authorities of client certificates, PEM. With it, who posts a callback needs a certificate of theirs."
    )
    tls_check_s: PositiveFloat = _setting(10, "How often it is looked whether these files have changed.")
    tls_handshake_timeout_s: PositiveFloat = _setting(10, "Time for a TLS handshake.")
    cell: str = _setting("", "Name of this receiver's cell, one of those in CELLS_FILE.")
    cells_file: Path | None = _setting(
        None, "The file of all cells (docs/cells.md): which sources are elsewhere, and where, is said then."
    )
    data_dir: Path = _setting(Path("data"), "Folder of the spool and of `serve --embedded`.")
    migrate: bool = _setting(True, "Bring the schema up to date at start.")
    log_level: Literal["debug", "info", "warning", "error"] = _setting("info", "The least level logged.")
    log_format: Literal["auto", "json", "text"] = _setting("auto", "`auto`: text on a terminal, else JSON.")
    log_callbacks: bool = _setting(True, "Log one line for each callback, at level `info`.")
    log_queue_bytes_max: PositiveInt = _setting(
        4_194_304, "Most bytes of log lines that wait to be written; beyond it lines are dropped, and counted."
    )
    log_gather_s: NonNegativeFloat = _setting(0.01, "Least time from one write of log lines to the next.")
    log_flush_timeout_s: NonNegativeFloat = _setting(2, "Time for what waits to be written when the service ends.")
    log_refused_max: NonNegativeInt = _setting(
        5, "Most lines about callbacks refused for one reason to one address in an interval; the others are summed up."
    )
    log_refused_interval_s: PositiveFloat = _setting(60, "This interval.")

    sources: Sources = _secret({}, "The ESC instances: a TOML table each, or one JSON object.")
    default_source: bool | None = _setting(
        None, "Whether the source `default` exists without being listed; unset: only if no source is listed."
    )
    unknown_source: Literal["keep", "refuse"] = _setting(
        "keep", "Callbacks to a source that is not listed: `keep` them as dead letters (202), or `refuse` them (404)."
    )
    unknown_source_per_hour: NonNegativeInt = _setting(
        1_000, "Most of them that are kept in an hour of the clock; beyond: 404. By each receiver."
    )
    trusted_proxies: AddressRanges = _setting((), "Proxies whose `X-Forwarded-For` counts.")

    body_bytes_max: PositiveInt = _setting(1_048_576, "Largest body, as sent and as unpacked.")
    body_inline_bytes_max: int = _setting(
        4_096, "Largest body that is read at once; a larger one is read by a process of its own.", ge=0, le=32_768
    )
    body_readers: PositiveInt = _setting(1, "Most such processes; the first starts with the first large body.")
    body_readers_queue_max: PositiveInt = _setting(16, "Most large bodies of one source waiting for them; beyond: 503.")
    body_reader_timeout_s: PositiveFloat = _setting(10, "Time for one large body to be read; beyond it: 503.")
    body_timeout_s: PositiveFloat = _setting(10, "Time for a body to arrive.")
    secret_names: SecretNameList = _setting((), "Fields whose values are overwritten, besides the built-in ones.")
    redaction_tokens_max: PositiveInt = _setting(
        5_000, "Tags, texts and attributes of a body that are searched for secrets one by one; texts behind are secret."
    )
    header_field_bytes_max: PositiveInt = _setting(65_536, "Largest header field, name and value.")
    header_bytes_max: PositiveInt = _setting(262_144, "Largest header, all fields.")
    headers_max: PositiveInt = _setting(128, "Most header fields.")
    request_line_bytes_max: PositiveInt = _setting(8_190, "Longest request target.")
    ref_characters_max: PositiveInt = _setting(256, "Longest `?ref=`; the rest is cut off.")
    xml_depth_max: PositiveInt = _setting(64, "Deepest nesting of elements.")
    connections_max: PositiveInt = _setting(4_000, "Most connections at once.")
    connections_per_address_max: PositiveInt = _setting(
        500, "Most connections of one address (IPv6: of one /64 network); trusted proxies may have more."
    )
    connections_reserved: NonNegativeInt = _setting(
        200, "Connections kept for callback paths of known sources; at most half of `connections_max`."
    )
    head_timeout_s: PositiveFloat = _setting(10, "Time for the head of a request, and for the first one to begin.")
    keepalive_timeout_s: PositiveFloat = _setting(75, "Time to wait for a (next) request on a connection.")
    readyz_timeout_s: PositiveFloat = _setting(
        0.25,
        "Time for a dependency to answer `/readyz`; of several workers at most three times that: a probe waits 1 s.",
    )
    ping_timeout_s: PositiveFloat = _setting(2, "Time for PostgreSQL, NATS or a worker to answer a small question.")
    retry_after_s: PositiveInt = _setting(5, "`Retry-After` of a 503.")

    queue_callbacks_max: PositiveInt = _setting(10_000, "Most callbacks waiting for a transaction.")
    queue_bytes_max: PositiveInt = _setting(268_435_456, "Most bytes of bodies waiting for one.")
    batch_callbacks_max: PositiveInt = _setting(256, "Most callbacks in one transaction.")
    batch_bytes_max: PositiveInt = _setting(4_194_304, "Most bytes of bodies in one transaction.")
    commits_max: PositiveInt = _setting(2, "Most transactions with callbacks at one time.")
    commit_timeout_s: PositiveFloat = _setting(
        2, "Time for a callback to be committed, or else spooled; a silent PostgreSQL is felt no longer."
    )
    commit_races_max: PositiveInt = _setting(
        10, "How often a batch is judged again because another receiver was quicker."
    )
    commit_retry_s: PositiveFloat = _setting(0.1, "Pause before a broken transaction is tried again a second time.")
    commit_reconnects_max: NonNegativeInt = _setting(
        1, "How often a transaction is tried again because its connection broke, before its callbacks are spooled."
    )
    postgres_connect_timeout_s: PositiveFloat = _setting(
        1.5, "Time to connect to PostgreSQL, all its hosts together; below `commit_timeout_s`."
    )
    wake_gather_s: NonNegativeFloat = _setting(
        0.01, "Least time from one wake-up of relay, waiting requests and live feed to the next."
    )
    postgres_lock_timeout_s: PositiveFloat = _setting(
        5, "Time to wait for a table that another session has locked, before one line names it and it is tried again."
    )
    postgres_pool_size: PositiveInt = _setting(4, "Most connections to PostgreSQL.")
    postgres_silence_s: PositiveFloat = _setting(
        10, "Time after which PostgreSQL lets go of what a frozen or lost receiver has locked."
    )

    spool_dir: Path | None = _setting(None, "Folder of the spool, the receiver's alone; unset: `spool` in DATA_DIR.")
    spool_bytes_max: PositiveInt = _setting(1_073_741_824, "Largest spool on disk; beyond it: 503.")
    spool_batch_max: int = _setting(256, "Most callbacks spooled with one fsync.", ge=1, le=8_000)
    spool_batch_bytes_max: PositiveInt = _setting(4_194_304, "Most bytes spooled with one fsync.")
    spool_age_warn_s: PositiveFloat = _setting(
        300, "Age of the oldest spooled callback at which `/readyz` says `degraded`."
    )
    spool_left_check_s: PositiveFloat = _setting(
        10, "How often it is looked for spools of workers that are no more; the first worker empties them."
    )
    spool_retry_s: NonNegativeFloat = _setting(1, "Pause before a broken spool is opened again.")
    spool_timeout_s: PositiveFloat = _setting(10, "Time for the spool's disk to take a callback; beyond it: 503.")
    spool_locked_timeout_s: NonNegativeFloat = _setting(
        1, "Time to wait for a program that has locked the spool's file."
    )
    drain_retry_s: PositiveFloat = _setting(0.5, "First pause before the spool is drained again.")
    drain_timeout_max_s: PositiveFloat = _setting(
        30, "Longest time for one transaction of the drain; it begins with `commit_timeout_s`."
    )
    drain_retry_max_s: PositiveFloat = _setting(5, "Longest pause before it is tried again.")
    drain_refused_retry_s: PositiveFloat = _setting(
        3600, "Time after which PostgreSQL is asked again for what it refused of the spool."
    )
    drain_batch_max: PositiveInt = _setting(512, "Most callbacks taken from the spool at once.")
    drain_batch_bytes_max: PositiveInt = _setting(4_194_304, "Most bytes taken from it at once.")

    reorder_window_s: PositiveFloat = _setting(300, "Within it, messages of an operation may change order.")
    duplicate_window_s: PositiveFloat = _setting(300, "Within it, a repeated message is a duplicate.")
    duplicate_bodies_max: NonNegativeInt = _setting(
        100, "Most repeats of a message, each within the window, that are stored with their body; later ones without."
    )

    overdue_after_s: OverdueAfter = _setting(
        dict(OVERDUE_AFTER_S),
        "Silence after which an open operation is overdue, by kind: a TOML table, or a JSON object; "
        "`default` is for every kind that is not given. Never less than `reorder_window_s`.",
    )
    learn_days: PositiveInt = _setting(
        30, "Of operations that succeeded within so many days it is learned how long they take."
    )
    learn_samples_min: PositiveInt = _setting(20, "Least of them, of a source and kind, that anything is learned of.")
    learn_factor: PositiveFloat = _setting(
        3, "An operation is overdue after so many times what 99 of 100 take; never later than `overdue_after_s`."
    )
    learn_every_s: NonNegativeFloat = _setting(3600, "How often that is learned anew; 0: never.")
    silence_usual_s: PositiveFloat = _setting(86_400, "Usual silence of an ESC at an hour too little was learned of.")
    overdue_check_s: PositiveFloat = _setting(15, "How often overdue operations are looked for.")
    overdue_batch_max: PositiveInt = _setting(256, "Most operations that become overdue at once.")
    overdue_vms_named_max: PositiveInt = _setting(
        10, "Most VMs that are named as left between states by an overdue operation."
    )
    refuse_open: bool = _setting(
        False, "Do not start while anybody could read, or post for a source, from beyond this machine."
    )
    read_tokens: ReadTokens = _secret(
        (),
        "Bearer tokens of the query API, separated by commas; `TOKEN:raw` opens raw bodies too, `TOKEN:operate` lets "
        "acknowledge and replay, `TOKEN:raw+operate` both. None: open to all.",
    )
    session_s: PositiveInt = _setting(43_200, "Time for which the board stays logged in.")
    sessions_ended_max: PositiveInt = _setting(
        10_000, "Most sessions that are remembered as logged out before their time."
    )
    query_pool_size: PositiveInt = _setting(4, "Most connections to PostgreSQL for reading.")
    query_timeout_s: PositiveFloat = _setting(5, "Time for one question to PostgreSQL.")
    query_concurrency_max: PositiveInt = _setting(64, "Most questions answered at once.")
    query_rate_per_s: PositiveFloat = _setting(
        200, "Most questions a second from one address, token, or the sessions of an address; twice as many in a burst."
    )
    query_items_max: PositiveInt = _setting(1_000, "Most items on one page of a list.")
    query_scan_rows_max: PositiveInt = _setting(5_000, "Most callbacks or ledger entries looked through for one page.")
    query_clock_skew_s: NonNegativeFloat = _setting(
        60, "Most by which the clocks of receivers and PostgreSQL differ; beyond it nothing is dropped by age."
    )
    replay_callbacks_max: PositiveInt = _setting(
        1_000, "Most callbacks that one request of the query API may replay; more: `esc-receiver replay`."
    )
    wait_s_max: PositiveInt = _setting(300, "Longest `?wait=` for an operation.")
    waits_max: PositiveInt = _setting(
        2_000, "Most that wait for an operation at once; at most half of `connections_max`."
    )
    feed_readers_max: PositiveInt = _setting(
        500, "Most readers of `/api/v1/feed` at once; at most a quarter of `connections_max`."
    )
    feed_queue_bytes_max: PositiveInt = _setting(
        1_048_576, "Most bytes that wait for one reader; a slower one is dropped, and may resume."
    )
    feed_batch_max: PositiveInt = _setting(1_000, "Most ledger entries read at once for the feed.")
    feed_gather_s: NonNegativeFloat = _setting(0.05, "Least time from one such read to the next.")
    feed_heartbeat_s: PositiveFloat = _setting(15, "How often an idle feed says that it is there.")
    wake_sweep_s: PositiveFloat = _setting(5, "How often waiting requests and the feed look for a lost wake-up.")

    nats_connect_timeout_s: PositiveFloat = _setting(5, "Time to connect to NATS.")
    nats_ping_s: PositiveFloat = _setting(2, "How often NATS is asked whether it is there; it has two answers' time.")
    publish_timeout_s: PositiveFloat = _setting(5, "Time for JetStream to acknowledge a message.")
    publish_batch_max: int = _setting(512, "Most messages taken from the outbox at once.", ge=1, le=4_096)
    publish_batch_bytes_max: PositiveInt = _setting(4_194_304, "Most bytes taken from it at once.")
    relay_gather_s: NonNegativeFloat = _setting(0.01, "Least time from one batch that is not full to the next.")
    relay_sweep_s: PositiveFloat = _setting(5, "How often the relay looks for a lost wake-up.")
    rebuild_timeout_s: PositiveFloat = _setting(
        3_600, "Time to put the whole ledger into the outbox again, for a stream that lost it."
    )
    verify_interval_s: NonNegativeFloat = _setting(
        21_600, "How often the relay compares the stream with the ledger; 0: never."
    )
    verify_messages_per_s: PositiveInt = _setting(2_000, "Most messages compared in a second, so that it is not felt.")
    verify_timeout_s: PositiveFloat = _setting(
        60, "Time for PostgreSQL to give one portion of the ledger that the stream is compared with."
    )
    relay_takeover_s: PositiveFloat = _setting(2, "How often a standby tries to become the relay.")
    subject_prefix: str = _setting(
        "esc.v1", "First tokens of the feed's subjects; another one for each database on one NATS account.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$", max_length=128,
    )  # fmt: skip
    stream_name: str = _setting("ESC", "JetStream stream of the feed.", pattern=r"^[^\s.*>/\\]+$")
    stream_replicas: int = _setting(1, "Copies of the stream in a NATS cluster.", ge=1, le=5)
    stream_bytes_max: int = _setting(-1, "Largest stream in bytes; -1: no limit.", ge=-1)
    stream_messages_max: int = _setting(-1, "Most messages in the stream; -1: no limit.", ge=-1)
    stream_age_max_s: NonNegativeInt = _setting(
        2_592_000, "Age at which messages leave the stream (30 days); 0: never."
    )
    stream_duplicate_window_s: PositiveInt = _setting(120, "JetStream's own window for dropping repeats.")
    kv_bucket: str = _setting("esc-state", "KV bucket of current states.", pattern=r"^[A-Za-z0-9_-]+$")
    kv_replicas: int = _setting(1, "Copies of the bucket in a NATS cluster.", ge=1, le=5)
    kv_bytes_max: int = _setting(-1, "Largest bucket in bytes; -1: no limit.", ge=-1)
    kv_ended_ttl_s: PositiveInt = _setting(604_800, "Time after which the key of an ended thing goes.")

    callbacks_retention_days: PositiveInt = _setting(30, "Days that callbacks are kept.")
    ledger_retention_days: PositiveInt = _setting(400, "Days that ledger entries are kept.")
    partitions_ahead_days: PositiveInt = _setting(7, "Days for which partitions are made beforehand.")
    partition_lock_timeout_s: PositiveFloat = _setting(
        0.5, "How long those who write may have to wait for an old partition to be dropped."
    )
    clock_ahead_max_s: PositiveFloat = _setting(
        60,
        "Most by which `received_at` is ahead of the machine's clock after that was set back; else it goes back too.",
    )
    maintenance_interval_s: PositiveFloat = _setting(3_600, "How often partitions are made and dropped.")
    counts_interval_s: PositiveFloat = _setting(
        30, "How often deployments, VMs and operations are counted for `/metrics`, by one receiver."
    )
    counts_timeout_s: PositiveFloat = _setting(10, "Time for one such count.")
    tenants_max: PositiveInt = _setting(50, "Most tenants that are told apart on `/metrics`.")
    consumers_max: PositiveInt = _setting(50, "Most consumers of the stream that are told apart on `/metrics`.")
    flapping_recoveries: int = _setting(3, "A VM recovered so often is flapping, …", ge=2)
    flapping_window_s: PositiveFloat = _setting(3_600, "… when it was within this time.")
    flapping_vms_max: PositiveInt = _setting(10_000, "Most VMs whose recoveries are remembered.")
    loop_probe_s: PositiveFloat = _setting(0.5, "How often it is measured how late the loop turns.")
    stop_timeout_s: PositiveFloat = _setting(30, "Time to finish what was taken when told to stop.")

    @property
    def spool_folder(self) -> Path:
        """Where the spool lies."""
        return self.data_dir / "spool" if self.spool_dir is None else self.spool_dir

    def spool_folder_of(self, number: int) -> Path:
        """Where the spools of workers lie."""
        return (self.data_dir if self.spool_dir is None else self.spool_dir) / f"spool-{number}"

    @property
    def all_sources(self) -> dict[str, Source]:
        """The configured sources and, if none is configured or it is switched on, an unprotected `default`."""
        has_default = not self.sources if self.default_source is None else self.default_source
        return ({"default": Source()} if has_default else {}) | self.sources


def is_secret(name: str) -> bool:
    """Whether this setting must never be shown."""
    extra = Settings.model_fields[name].json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("secret"))
