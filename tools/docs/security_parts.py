"""The parts of docs/security.md that follow from the code: warnings, limits, secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from receiver.config.exposure import open_doors
from receiver.config.settings import PREFIX, Settings
from receiver.redaction import secret_names
from tools.docs.settings_tables import setting_default

LIMIT_ENDS = ("_max", "_timeout_s", "_reserved", "_retention_days", "_window_s", "_rate_per_s", "_pool_size", "s_max")
LIMITS = ("session_s", "stream_age_max_s", "postgres_silence_s", "body_readers", "duplicate_bodies_max")
"""Settings that are limits besides those that end so."""


DEMANDS = {
    "anybody can post to it": "a token, credentials or an address range for every source "
    "([ingress.md](ingress.md#protection)); `default_source = false` where only named sources post",
    "anybody can read": "a read token ([settings.md](settings.md))",
}
"""What is to be done about a warning that says this."""


def warnings() -> str:
    """What `/readyz` says of a receiver that is open to all, and what is to be done about each. Raises StopIteration
    for a warning about which nothing is said here."""
    rows = [
        f"| {warning} | {next(done for said, done in DEMANDS.items() if said in warning)} |"
        for warning in open_doors(Settings(host="0.0.0.0"))  # noqa: S104 - nothing is served
    ]
    return "\n".join(["| warning | what to do |", "| --- | --- |", *rows])


def limits() -> str:
    """Every limit: setting, default, what it stops."""
    rows = [
        f"| `{PREFIX}{name.upper()}` | {setting_default(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
        if name.endswith(LIMIT_ENDS) or name in LIMITS
    ]
    return "\n".join(["| setting | default | limits |", "| --- | --- | --- |", *rows])


def secrets() -> str:
    """The catalogue of names and patterns."""
    rows = [
        ("anywhere in a name", secret_names.ANYWHERE),
        ("at its end (an `s` or digits may follow)", secret_names.AT_THE_END),
        ("as a word of it (`pwd_hash`, `tokenId`)", secret_names.AS_A_WORD),
        ("as its last word", secret_names.AS_LAST_WORD),
        ("elements whose values are secret, whatever their names", sorted(secret_names.BAGS)),
        ("what names the value beside it", sorted(secret_names.LABELS)),
        ("such values", sorted(secret_names.VALUES)),
        ("header fields besides", sorted(secret_names.HEADERS)),
        ("header fields in which a URL's token and query are overwritten", sorted(secret_names.PATH_HEADERS)),
    ]
    return "\n".join(
        ["| where | what |", "| --- | --- |", *(f"| {where} | {_words(words)} |" for where, words in rows)]
    )


def _words(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


SECURITY_PARTS: Mapping[str, Callable[[], str]] = {
    "security-warnings": warnings,
    "security-limits": limits,
    "security-secrets": secrets,
}
