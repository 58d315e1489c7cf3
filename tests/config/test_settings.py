"""Settings: read once, checked whole, every fault named as the user wrote it."""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path

import pytest

from receiver.config.loading import load
from receiver.config.settings import Settings
from receiver.errors import SettingsError

DSN = "postgresql://receiver:hunter2@db/esc"
HAS_DSN = {"ESC_RECEIVER_POSTGRES_DSN": DSN}


def faults(environ: dict[str, str], config: Path | None = None) -> list[str]:
    """What is found wrong; names without the prefix."""
    with pytest.raises(SettingsError) as caught:
        load(config, {f"ESC_RECEIVER_{name}": value for name, value in environ.items()})
    return str(caught.value).splitlines()


def toml(folder: Path, text: str) -> Path:
    """A settings file."""
    path = folder / "receiver.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_need_nothing_but_the_database() -> None:
    """An operator sets one thing, and the rest has its defaults (docs/settings.md)."""
    settings = load(None, HAS_DSN)
    assert (settings.host, settings.port) == ("127.0.0.1", 9010)
    assert (settings.body_bytes_max, settings.header_field_bytes_max, settings.headers_max) == (1_048_576, 65_536, 128)
    assert not settings.all_sources["default"].protected


def test_a_command_that_needs_no_database_asks_for_none() -> None:
    """`serve --embedded` brings its own."""
    assert load(None, {}, required=()).postgres_dsn == ""


def test_what_commands_are_told_is_no_setting() -> None:
    """The same shell may run the service and the commands that ask it."""
    asking = {"ESC_RECEIVER_URL": "http://127.0.0.1:9010", "ESC_RECEIVER_TOKEN": "one"}
    assert load(None, HAS_DSN | asking) == load(None, HAS_DSN)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """Setting by setting (docs/settings.md)."""
    config = toml(tmp_path, f'port = 1\nhost = "::1"\npostgres_dsn = "{DSN}"')
    settings = load(config, {"ESC_RECEIVER_PORT": "2"})
    assert (settings.port, settings.host, settings.postgres_dsn) == (2, "::1", DSN)


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    """ESC_RECEIVER_CONFIG does what `--config` does."""
    config = toml(tmp_path, "port = 1")
    assert load(None, HAS_DSN | {"ESC_RECEIVER_CONFIG": str(config)}).port == 1


def test_secrets_may_come_from_files(tmp_path: Path) -> None:
    """Each secret has a `…_FILE` twin, in the environment and in the file."""
    secret = tmp_path / "dsn"
    secret.write_text(DSN + "\n", encoding="utf-8")
    sources = tmp_path / "sources.json"
    sources.write_text('{"lab1": {"tokens": ["sesame"]}}', encoding="utf-8")
    config = toml(tmp_path, f'sources_file = "{sources}"')
    settings = load(config, {"ESC_RECEIVER_POSTGRES_DSN_FILE": str(secret)})
    assert settings.postgres_dsn == DSN
    assert settings.all_sources["lab1"].tokens == ("sesame",)


def test_sources_are_tables_or_json(tmp_path: Path) -> None:
    """Both ways of writing them mean the same."""
    table = '[sources.lab1]\ntokens = ["a", "b"]\nbasic = ["user:secret"]\nallow = ["10.1.0.0/16", "::1"]'
    as_json = {"lab1": {"tokens": ["a", "b"], "basic": ["user:secret"], "allow": ["10.1.0.0/16", "::1"]}}
    by_table = load(toml(tmp_path, table), HAS_DSN)
    by_json = load(None, HAS_DSN | {"ESC_RECEIVER_SOURCES": json.dumps(as_json)})
    assert by_table.sources == by_json.sources
    assert by_table.sources["lab1"].allow == (ip_network("10.1.0.0/16"), ip_network("::1"))


@pytest.mark.parametrize("answer", ["202", '"204"', "true"])
def test_a_source_is_answered_with_200_or_204(answer: str) -> None:
    """And with nothing else."""
    (fault,) = faults({"POSTGRES_DSN": DSN, "SOURCES": '{"lab": {"answer": ' + answer + "}}"})
    assert fault == "ESC_RECEIVER_SOURCES.lab.answer: should be 200 or 204"


def test_lists_may_be_written_with_commas() -> None:
    """An environment variable has no brackets."""
    settings = load(None, HAS_DSN | {"ESC_RECEIVER_TRUSTED_PROXIES": "10.0.0.1, 192.168.0.0/16"})
    assert settings.trusted_proxies == (ip_network("10.0.0.1"), ip_network("192.168.0.0/16"))


def test_all_faults_are_named_at_once_as_they_were_written(tmp_path: Path) -> None:
    """Nobody mends one setting to be told of the next."""
    config = toml(
        tmp_path,
        'prt = 1\nkeepalive_timeout_s = -1\n[sources.lab1]\ntokns = []\nbasic = ["hunter2"]\n[sources."a b"]\n',
    )
    environ = {"BODY_BYTES_MAX": "many", "NATS_ULR": "x", "LOG_FORMAT": "", "NATS_CREDENTIALS_FILE": "/nowhere"}
    assert faults(environ, config) == [
        f"prt in {config}: no such setting; did you mean port?",
        "ESC_RECEIVER_NATS_ULR: no such setting; did you mean ESC_RECEIVER_NATS_URL?",
        "ESC_RECEIVER_LOG_FORMAT: is empty; unset it or give it a value",
        "ESC_RECEIVER_NATS_CREDENTIALS_FILE: /nowhere cannot be read: No such file or directory",
        "ESC_RECEIVER_POSTGRES_DSN: not set. PostgreSQL to keep callbacks in: `postgresql://user:password@host/database`.",
        f"sources.lab1.basic.0 in {config}: must be of the form user:secret",
        f"sources.lab1.tokns in {config}: no such setting; did you mean tokens?",
        f"sources.a b in {config}: a source's name is 1 to 64 letters, digits or any of '._-', not first",
        "ESC_RECEIVER_BODY_BYTES_MAX: should be a valid integer, unable to parse string as an integer (it is 'many')",
        f"keepalive_timeout_s in {config}: should be greater than 0 (it is -1)",
    ]


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        ({"SOURCES": '{"lab1": {"tokens": ["hunter2"'}, "ESC_RECEIVER_SOURCES: not valid JSON"),
        ({"SOURCES": '{"lab1": {"tokens": ["hunter2/hunter2"]}}'}, "ESC_RECEIVER_SOURCES.lab1.tokens.0: a token is"),
        ({"SOURCES": '{"lab1": {"basic": "hunter2"}}'}, "ESC_RECEIVER_SOURCES.lab1.basic: should be a list"),
        ({"SOURCES": '{"lab1": "hunter2"}'}, "ESC_RECEIVER_SOURCES.lab1: should be a table"),
        ({"POSTGRES_DSN_FILE": "x"}, "ESC_RECEIVER_POSTGRES_DSN_FILE: given besides ESC_RECEIVER_POSTGRES_DSN"),
    ],
)
def test_no_fault_shows_a_secret(environ: dict[str, str], fault: str) -> None:
    """What is wrong with a secret is told without it."""
    said = faults({"POSTGRES_DSN": DSN} | environ)
    assert said[0].startswith(fault)
    assert "hunter2" not in "".join(said)


def test_settings_do_not_show_secrets() -> None:
    """Neither in a log nor in a traceback."""
    settings = Settings.model_validate({"postgres_dsn": DSN, "sources": {"lab1": {"tokens": ["hunter2"]}}})
    assert "hunter2" not in repr(settings) + str(settings) + repr(settings.sources)


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        (
            {"HEADER_FIELD_BYTES_MAX": "300000"},
            "ESC_RECEIVER_HEADER_FIELD_BYTES_MAX: exceeds header_bytes_max (262144)",
        ),
        ({"LEDGER_RETENTION_DAYS": "1"}, "ESC_RECEIVER_CALLBACKS_RETENTION_DAYS: exceeds ledger_retention_days (1)"),
        ({"ADMIN_PORT": "9010"}, "ESC_RECEIVER_ADMIN_PORT: is that of port; leave it unset"),
        (
            {"NATS_MONITOR_URLS": "http://nats:8222, nats:8222"},
            "ESC_RECEIVER_NATS_MONITOR_URLS: 'nats:8222' is no http:// or https:// address",
        ),
        (
            {"NATS_MONITOR_URLS": "https://"},
            "ESC_RECEIVER_NATS_MONITOR_URLS: 'https://' is no http:// or https:// address",
        ),
        ({"ADMIN_HOST": "127.0.0.1"}, "ESC_RECEIVER_ADMIN_HOST: is of no use without admin_port"),
        ({"DEFAULT_SOURCE": "off"}, "ESC_RECEIVER_DEFAULT_SOURCE: is off and no source is listed"),
        (
            {"DEFAULT_SOURCE": "off", "SOURCES": '{"default": {}}'},
            "ESC_RECEIVER_DEFAULT_SOURCE: is off, yet sources lists `default`",
        ),
    ],
)
def test_settings_that_clash_are_named(environ: dict[str, str], fault: str) -> None:
    """Each is right by itself."""
    assert faults({"POSTGRES_DSN": DSN} | environ)[0].startswith(fault)


@pytest.mark.parametrize("text", ["port = ", "port = 1\nport = 2"])
def test_a_file_that_is_no_toml_is_one_line(tmp_path: Path, text: str) -> None:
    """The parser's own message tells where."""
    config = toml(tmp_path, text)
    (said,) = faults({"POSTGRES_DSN": DSN}, config)
    assert said.startswith(f"{config}: not valid TOML: ")


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """As is a folder in its place."""
    assert faults({"POSTGRES_DSN": DSN}, tmp_path / "none.toml") == [
        f"{tmp_path / 'none.toml'}: cannot be read: No such file or directory"
    ]
    assert faults({"POSTGRES_DSN": DSN}, tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]


@pytest.mark.parametrize(
    ("default_source", "sources", "all_sources"),
    [
        (None, None, {"default"}),
        (None, '{"lab1": {}}', {"lab1"}),
        ("on", '{"lab1": {}}', {"default", "lab1"}),
        ("off", '{"lab1": {}}', {"lab1"}),
    ],
)
def test_the_default_source_gives_way_to_named_ones(
    default_source: str | None, sources: str | None, all_sources: set[str]
) -> None:
    """An open door beside protected ones is there only if it is switched on."""
    given = {"ESC_RECEIVER_DEFAULT_SOURCE": default_source, "ESC_RECEIVER_SOURCES": sources}
    environ = HAS_DSN | {name: value for name, value in given.items() if value}
    assert set(load(None, environ).all_sources) == all_sources


def test_the_default_source_can_be_protected() -> None:
    """Listing it takes the place of the open one."""
    environ = HAS_DSN | {"ESC_RECEIVER_SOURCES": '{"default": {"tokens": ["sesame"]}}'}
    assert load(None, environ).all_sources["default"].protected
