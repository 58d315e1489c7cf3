"""Reads the settings from the environment and one TOML file; the environment wins.

All faults are named at once, each in one line that begins with the setting as the user wrote it, and never with a
secret in it. Not with pydantic-settings: its reader of the environment stops at the first value that it cannot decode,
passes over variables that are no setting, and does not know the `…_FILE` twins of secrets. Nothing else in the package
reads the environment.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from receiver.config.overdue_after import OVERDUE_AFTER_S
from receiver.config.settings import PREFIX, Settings, is_secret
from receiver.config.sources import Source
from receiver.config.text_forms import parse_json
from receiver.config.webhook_settings import Webhook, webhook_faults
from receiver.errors import SettingsError

CONFIG = PREFIX + "CONFIG"
NOT_SETTINGS = frozenset({CONFIG, PREFIX + "URL", PREFIX + "TOKEN"})
"""Environment variables of commands: which file to read, which receiver to ask."""
HIDDEN = "(secret)"
UNUSABLE = object()
"""The value of a setting whose fault is named already."""


@dataclass(frozen=True, slots=True)
class _Written:
    """A value as found, with the name as the user wrote it and, where the name does not tell, the place."""

    value: Any
    name: str
    place: str = ""

    def fault(self, message: str, inside: str = "") -> str:
        return f"{self.name}{inside}{self.place}: {message}"


def load(config: Path | None, environ: Mapping[str, str], *, required: tuple[str, ...] = ("postgres_dsn",)) -> Settings:
    """The settings from `config` (else the file that ESC_RECEIVER_CONFIG names) and `environ`.

    `required` names what this command cannot do without. Raises SettingsError, which names all faults,
    one a line.
    """
    faults: list[str] = []
    written = _written(config, environ, faults)
    faults += [
        f"{PREFIX}{name.upper()}: not set. {Settings.model_fields[name].description}"
        for name in required
        if name not in written
    ]
    settings = _validated(written, faults)
    if faults or settings is None:
        raise SettingsError("\n".join(faults))
    return settings


class Effective(NamedTuple):
    """A setting as it would be used; `value` is not that of a secret."""

    name: str
    value: Any
    origin: str


def effective(config: Path | None, environ: Mapping[str, str]) -> tuple[list[Effective], list[str]]:
    """Every setting with its value and origin, and the faults, one a line; what is at fault is shown as written."""
    faults: list[str] = []
    written = _written(config, environ, faults)
    settings = _validated(written, faults)
    return [_effective(name, written.get(name), settings) for name in Settings.model_fields], faults


def _effective(name: str, written: _Written | None, settings: Settings | None) -> Effective:
    origin = f"{written.name}{written.place}" if written else "default"
    if written and written.value is UNUSABLE:
        return Effective(name, "not usable", origin)
    value = getattr(settings, name) if settings else written.value if written else Settings.model_fields[name].default
    if written and is_secret(name):
        value = _shown(name, value) if settings else "not valid" if name in ("sources", "webhooks") else HIDDEN
    return Effective(name, _plain(value), origin)


def _shown(name: str, value: Any) -> Any:
    """What can be shown of a secret."""
    if name == "sources":
        return {source: one.shown() for source, one in value.items()}
    if name == "webhooks":
        return {one.name: one.shown() for one in value}
    return HIDDEN


def _plain(value: Any) -> Any:
    """As a file of settings or JSON can hold it."""
    return value if isinstance(value, bool | int | float | str | dict | None) else str(value)


def _written(config: Path | None, environ: Mapping[str, str], faults: list[str]) -> dict[str, _Written]:
    """What file and environment say, by setting; faults are added."""
    path = config or (Path(environ[CONFIG]) if environ.get(CONFIG) else None)
    found = _known_settings(_file(path, faults), faults) | _known_settings(_environment(environ), faults)
    if "webhooks" in found:
        found["webhooks"] = _with_secret_files(found["webhooks"], faults)
    return found


def _environment(environ: Mapping[str, str]) -> dict[str, _Written]:
    ours = {name: value for name, value in environ.items() if name.startswith(PREFIX) and name not in NOT_SETTINGS}
    return {name.removeprefix(PREFIX).lower(): _Written(value, name) for name, value in ours.items()}


def _file(path: Path | None, faults: list[str]) -> dict[str, _Written]:
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        faults.append(f"{path}: cannot be read: {error.strerror}")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{path}: not valid TOML: {error}")
        return {}
    return {name: _Written(value, name, f" in {path}") for name, value in values.items()}


def _known_settings(named: Mapping[str, _Written], faults: list[str]) -> dict[str, _Written]:
    """By the setting's name, a `…_FILE` twin with the content of its file; faults of names and files are added."""
    found: dict[str, _Written] = {}
    for name, written in named.items():
        setting = name if name in Settings.model_fields else name.removesuffix("_file")
        try:
            _check_name(setting, name, named)
            value = written.value if setting == name else _content(Path(written.value))
        except ValueError as error:
            faults.append(written.fault(str(error)))
            value = UNUSABLE
        if setting in Settings.model_fields:
            found[setting] = replace(written, value=value)
    return found


def _with_secret_files(webhooks: _Written, faults: list[str]) -> _Written:
    """Webhooks with `secret_file` replaced by what the file holds; other faults are named where values are checked."""
    try:
        items = parse_json(webhooks.value)
    except ValueError:
        return webhooks
    if not isinstance(items, list):
        return webhooks
    try:
        return replace(webhooks, value=[_with_secret_file(item) for item in items])
    except ValueError as error:
        faults.append(webhooks.fault(str(error), ".secret_file"))
        return replace(webhooks, value=UNUSABLE)


def _with_secret_file(item: Any) -> Any:
    if not isinstance(item, dict) or "secret_file" not in item:
        return item
    if "secret" in item:
        raise ValueError("given besides secret; only one can count")
    rest = {name: value for name, value in item.items() if name != "secret_file"}
    return rest | {"secret": _content(Path(str(item["secret_file"])))}


def _check_name(setting: str, name: str, named: Mapping[str, _Written]) -> None:
    if setting not in Settings.model_fields or (setting != name and not is_secret(setting)):
        prefix = PREFIX if named[name].name.startswith(PREFIX) else ""
        raise ValueError(f"no such setting{_did_you_mean(name, Settings.model_fields, prefix)}")
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


def _did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {prefix}{close[0].upper() if prefix else close[0]}?" if close else ""


def _validated(written: Mapping[str, _Written], faults: list[str]) -> Settings | None:
    try:
        settings = Settings(**{name: found.value for name, found in written.items() if found.value is not UNUSABLE})
    except ValidationError as error:
        faults += [_fault(details, written) for details in error.errors(include_url=False)]
        return None
    faults += [
        written.get(name, _Written(None, PREFIX + name.upper())).fault(text) for name, text in _clashes(settings)
    ]
    return settings


_SHAPES = dict.fromkeys(
    ("dict_type", "model_type"), "should be a table (in the environment a JSON object)"
) | dict.fromkeys(("tuple_type", "list_type"), "should be a list")
"""By kinds of pydantic's faults, which speak of Python."""


def _fault(details: ErrorDetails, written: Mapping[str, _Written]) -> str:
    name, *inside = map(str, details["loc"])
    where = "".join(f".{part}" for part in inside if part != "[key]")
    if details["type"] == "extra_forbidden":
        known = (Webhook if name == "webhooks" else Source).model_fields
        return written[name].fault(f"no such setting{_did_you_mean(inside[-1], known)}", where)
    message = _SHAPES.get(details["type"]) or details["msg"].removeprefix("Value error, ").removeprefix("Input ")
    got = "" if is_secret(name) else f" (it is {details['input']!r})"
    return written[name].fault(message + got, where)


def _clashes(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings that are right by themselves and wrong together."""
    if settings.header_field_bytes_max > settings.header_bytes_max:
        yield "header_field_bytes_max", f"exceeds header_bytes_max ({settings.header_bytes_max})"
    window_s = settings.reorder_window_s
    for kind, limit_s in settings.overdue_after_s.items():
        if limit_s < window_s and limit_s != OVERDUE_AFTER_S[kind]:
            yield "overdue_after_s", f"{kind} ({limit_s:g}) is less than reorder_window_s ({window_s:g})"
            break  # they are often all the same
    if settings.callbacks_retention_days > settings.ledger_retention_days:
        yield "callbacks_retention_days", f"exceeds ledger_retention_days ({settings.ledger_retention_days})"
    yield from _tls_clashes(settings)
    yield from _webhook_clashes(settings)
    monitored = filter(None, map(str.strip, settings.nats_monitor_urls.split(",")))
    if wrong := next((url for url in monitored if not re.match(r"https?://[^/?#\s]", url)), None):
        yield "nats_monitor_urls", f"{wrong!r} is no http:// or https:// address"
    if settings.admin_host and settings.admin_port is None:
        yield "admin_host", "is of no use without admin_port"
    if settings.admin_port and settings.admin_port == settings.port and settings.admin_host in (None, settings.host):
        yield "admin_port", "is that of port; leave it unset, and one port serves all"
    if "default" in settings.sources and settings.default_source is False:
        yield "default_source", "is off, yet sources lists `default`"
    if not settings.all_sources:
        yield "default_source", "is off and no source is listed, so nobody could post"


def _webhook_clashes(settings: Settings) -> Iterator[tuple[str, str]]:
    for fault in webhook_faults(settings.webhooks, settings.subject_prefix):
        yield "webhooks", fault
    if settings.webhook_ack_wait_s < 2 * settings.webhook_timeout_s:
        yield "webhook_ack_wait_s", f"is less than twice webhook_timeout_s ({settings.webhook_timeout_s:g})"


def _tls_clashes(settings: Settings) -> Iterator[tuple[str, str]]:
    for name, needed in (
        ("tls_cert_file", "tls_key_file"), ("tls_key_file", "tls_cert_file"), ("tls_client_ca_file", "tls_cert_file"),
        ("nats_cert_file", "nats_key_file"), ("nats_key_file", "nats_cert_file"),
    ):  # fmt: skip
        if getattr(settings, name) is not None and getattr(settings, needed) is None:
            yield name, f"is of no use without {needed}"
    named = [name for name, source in settings.sources.items() if source.subjects]
    if named and settings.tls_client_ca_file is None:
        yield "sources", f"subjects of {named[0]} are of no use without tls_client_ca_file"
