"""What is configured of a webhook: where events are posted, which, and what they are signed with.

Values only, checked when settings are read. This file must not know HTTP or NATS.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from re import fullmatch, sub
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from receiver.config.setting import secret, setting
from receiver.config.sources import AddressRanges
from receiver.config.text_forms import parse_json, split_list

PREFIX_OF_SECRETS = "whsec_"
SECRET_BYTES = (24, 64)
"""The least and the most that Standard Webhooks allows."""
_SUBJECT = r"[^\s.*>]+|\*|>"


def _url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a webhook's url is an http:// or https:// address")
    if parts.username or parts.password:
        raise ValueError("no user or password belongs into a webhook's url: deliveries are signed")
    _ = parts.port  # raises ValueError
    return url


def _secret(secret: str) -> bytes:
    least, most = SECRET_BYTES
    try:
        text = secret.removeprefix(PREFIX_OF_SECRETS)
        key = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (Base64Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX_OF_SECRETS) or not least <= len(key) <= most:
        raise ValueError(f"a webhook's secret is `{PREFIX_OF_SECRETS}` and {least} to {most} random bytes in base64")
    return key


def _checked_secret(secret: str) -> str:
    _secret(secret)
    return secret


def _subject(subject: str) -> str:
    tokens = subject.split(".")
    if not all(fullmatch(_SUBJECT, token) for token in tokens) or ">" in tokens[:-1]:
        raise ValueError("a subject is tokens with dots between, each a word, `*`, or at the end `>`")
    return subject


def _name(name: str) -> str:
    if not fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise ValueError("a webhook's name is 1 to 64 letters, digits or any of '_-', not first")
    return name


class Webhook(BaseModel):
    """Where events are posted. Every secret signs, so that one can be changed without a gap."""

    # Deferred, because `Settings` is built with all its parts in it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    name: Annotated[str, AfterValidator(_name)]
    """Its place in the stream is remembered under it; not given: the host of the url, dots as hyphens."""
    url: Annotated[str, AfterValidator(_url)] = Field(repr=False)
    secret: Annotated[
        tuple[Annotated[str, AfterValidator(_checked_secret)], ...], BeforeValidator(split_list), Field(min_length=1)
    ] = Field(repr=False)
    subjects: Annotated[tuple[Annotated[str, AfterValidator(_subject)], ...], BeforeValidator(split_list)] = ()
    """Of the feed; none: all."""
    ca_file: Path | None = None
    """Authorities that may sign the certificate of an https url, PEM, instead of the system's."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if isinstance(values, dict) and "name" not in values and isinstance(url := values.get("url"), str):
            host = urlsplit(url).hostname or "" if url.isprintable() else ""
            return values | {"name": sub(r"[^A-Za-z0-9_-]", "-", host).strip("-")[:64] or "webhook"}
        return values

    @property
    def keys(self) -> tuple[bytes, ...]:
        """What is signed with."""
        return tuple(map(_secret, self.secret))

    @property
    def shown_url(self) -> str:
        """Without its query, in which others may keep a secret."""
        return urlsplit(self.url)._replace(query="", fragment="").geturl()

    def shown(self) -> dict[str, Any]:
        """What differs from the defaults, without secrets: how many there are."""
        chosen = self.model_dump(mode="json", exclude_defaults=True)
        return chosen | {"url": self.shown_url, "secret": f"({len(self.secret)})"}


Webhooks = Annotated[tuple[Webhook, ...], BeforeValidator(parse_json)]


class WebhookSettings(BaseModel):
    """A part of `settings.Settings`."""

    webhooks: Webhooks = secret(
        (), "Where events are posted, for who has no NATS: TOML tables `[[webhooks]]`, or a JSON list."
    )
    webhook_timeout_s: PositiveFloat = setting(10, "Time for a webhook to answer one delivery.")
    webhook_retry_first_s: PositiveFloat = setting(
        5, "First pause before a delivery that failed is tried again; it doubles."
    )
    webhook_retry_max_s: PositiveFloat = setting(900, "Longest such pause.")
    webhook_retry_after_max_s: PositiveFloat = setting(
        3_600, "Longest pause that a webhook may ask for by `Retry-After`."
    )
    webhook_retry_for_s: PositiveFloat = setting(
        86_400, "Time after which an event that a webhook does not take disables the webhook."
    )
    webhook_pending_max: PositiveInt = setting(
        256, "Most events of a webhook that are under way or wait for their retry; beyond it no other is begun."
    )
    webhook_concurrency_max: PositiveInt = setting(8, "Most deliveries to one webhook at once.")
    webhook_ack_wait_s: PositiveFloat = setting(
        30,
        "Time after which JetStream gives the events of a receiver that is gone to the next one; at least twice "
        "`webhook_timeout_s`.",
    )
    webhook_check_s: PositiveFloat = setting(
        1, "How often a webhook's place and state are written down, and commands looked for."
    )
    webhook_response_bytes_max: PositiveInt = setting(4_096, "Most bytes of a webhook's answer that are read.")
    webhook_allow: AddressRanges = setting(
        (),
        "Private, loopback and link-local addresses that webhooks may have nevertheless; ranges, separated by commas.",
    )


def webhook_faults(webhooks: Iterable[Webhook], subject_prefix: str) -> Iterable[str]:
    """What is wrong with them together, or with the other settings."""
    webhooks = tuple(webhooks)
    twice = [name for name, number in Counter(one.name for one in webhooks).items() if number > 1]
    if twice:
        yield f"{len(webhooks)} webhooks, and more than one is called {twice[0]}: give each a `name`"
    for one in webhooks:
        for subject in one.subjects:
            if not subject.startswith(f"{subject_prefix}."):
                yield f"{one.name}: subject {subject} does not begin with subject_prefix ({subject_prefix})"
        for first, second in combinations(one.subjects, 2):
            if overlap(first, second):
                yield f"{one.name}: subjects {first} and {second} have messages in common; JetStream takes no such pair"


def overlap(first: str, second: str) -> bool:
    """Whether a message could match both subjects."""
    ours, theirs = first.split("."), second.split(".")
    for one, other in zip(ours, theirs, strict=False):
        if ">" in (one, other):
            return True
        if one != other and "*" not in (one, other):
            return False
    return len(ours) == len(theirs)
