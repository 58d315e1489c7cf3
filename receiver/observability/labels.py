"""The closed sets that labels may take. Must not know which metric has which label."""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from typing import Final

UNKNOWN_SOURCE: Final = "(unknown)"
"""Stands for every source that is not configured: a name from outside must not become a label."""
OTHER: Final = "(other)"
"""Stands for what came when a label had as many values as it may have."""
ROOT_CHANNEL: Final = "root"
"""Posted to `/`: the channel is not known before the body is read."""


LABEL_BYTES_MAX: Final = 128
"""Of a value in UTF-8. Prometheus drops the whole scrape for one over its `label_value_length_limit`, often 200."""
_HASH_DIGITS: Final = 16


def cut(value: str) -> str:
    """A value from outside, as long as a label may be; the end of a longer one is a hash of all of it."""
    if len(value) * 4 <= LABEL_BYTES_MAX or len(encoded := value.encode()) <= LABEL_BYTES_MAX:
        return value
    begin = encoded[: LABEL_BYTES_MAX - _HASH_DIGITS - 1].decode(errors="ignore")
    return f"{begin}~{sha256(encoded).hexdigest()[:_HASH_DIGITS]}"


class Mode(StrEnum):
    """Where callbacks are written now."""

    DIRECT = "direct"
    """To PostgreSQL."""
    SPOOLING = "spooling"
    """To the spool; PostgreSQL takes none."""
    DRAINING = "draining"
    """To the spool, behind those that are being drained to PostgreSQL."""


class Refused(StrEnum):
    """Why a callback that reached a callback path was not kept."""

    UNKNOWN_SOURCE = "unknown-source"
    CREDENTIALS = "credentials"
    ADDRESS = "address"
    CERTIFICATE = "certificate"
    HEADER_TOO_LARGE = "header-too-large"
    BODY_TOO_LARGE = "body-too-large"
    BODY_TOO_SLOW = "body-too-slow"
    BODY_CUT_OFF = "body-cut-off"
    BODY_READERS_BUSY = "body-readers-busy"
    QUOTA = "quota"
    CANNOT_KEEP = "cannot-keep"
    INTERNAL_ERROR = "internal-error"


class Rejected(StrEnum):
    """Why a request was turned away before it was routed."""

    BROKEN_HEAD = "broken-head"
    REQUEST_LINE_TOO_LONG = "request-line-too-long"
    HEADER_FIELD_TOO_LARGE = "header-field-too-large"
    TOO_MANY_HEADERS = "too-many-headers"
    HEADER_TOO_LARGE = "header-too-large"
    TOO_MANY_CONNECTIONS = "too-many-connections"
    TOO_MANY_OF_ADDRESS = "too-many-of-address"
    HEAD_TOO_SLOW = "head-too-slow"


class CommitFailure(StrEnum):
    """Why a batch was not committed at the first attempt."""

    RACE = "race"
    """Another receiver was quicker: it is decided again."""
    CONNECTION_LOST = "broken"
    """The connection broke: it is tried again."""
    UNAVAILABLE = "away"
    """PostgreSQL is unavailable: it goes to the spool."""
    SPLIT = "split"
    """One of its callbacks fails: it is halved until that one is alone."""


class Published(StrEnum):
    """The two streams that the relay publishes to."""

    FEED = "feed"
    KV = "kv"


class Fsynced(StrEnum):
    """Whether NATS has written a message through to its disk before it acknowledges it."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class PublishFailure(StrEnum):
    """Why a publish was not acknowledged."""

    TIMEOUT = "timeout"
    REFUSED = "refused"
    DEPOSED = "deposed"
    DISCONNECTED = "disconnected"
    LOST = "lost"
    TAKEN = "taken"
    """The stream holds another database's messages."""
    BEHIND = "behind"
    """The stream has entries that the ledger does not have."""


class Mended(StrEnum):
    """Why messages are published again that the stream had acknowledged."""

    EMPTIED = "emptied"
    CUT_SHORT = "cut-short"
    HOLE = "hole"
    """Found missing by a comparison with the ledger."""
    BUCKET = "bucket"
    """Not in the stream, but in the KV bucket: items that are put again."""


class Attempt(StrEnum):
    """What came of one delivery to a webhook."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    """An answer that is no 2xx."""
    REDIRECTED = "redirected"
    GONE = "gone"
    """410: it wants no more."""
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    ADDRESS_REFUSED = "address-refused"
    """A private address, which is not allowed: nothing was sent."""


class RecoveryEnd(StrEnum):
    """How ESC's recovery of a VM ended."""

    RECOVERED = "recovered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """The VM came back by itself."""
    MANUAL = "manual"
    """Its policy is manual: it waits for a person."""


class RecoveryStep(StrEnum):
    """What a recovery tries, in this order."""

    REBOOT = "reboot"
    UNDEPLOY = "undeploy"
    DEPLOY = "deploy"


class Step(StrEnum):
    """A step of a lifecycle that people wait for, from one state to the next."""

    VM_INERT_ALIVE = "vm-inert-alive"
    VM_RECOVERING_ALIVE = "vm-recovering-alive"
    VM_RECOVERING_ERROR = "vm-recovering-error"
    VM_ERROR_ALIVE = "vm-error-alive"
    VM_STOPPED_ALIVE = "vm-stopped-alive"
    DEPLOYMENT_DEPLOYING_INERT = "deployment-deploying-inert"
    DEPLOYMENT_DEPLOYING_ACTIVE = "deployment-deploying-active"
    DEPLOYMENT_INERT_ACTIVE = "deployment-inert-active"


class Taken(StrEnum):
    """What a connection of the pool does."""

    USED = "used"
    IDLE = "idle"


class Kept(StrEnum):
    """The two tables that are partitioned by time."""

    CALLBACKS = "callbacks"
    TRANSITIONS = "transitions"


class Asked(StrEnum):
    """What came of asking an ESC."""

    AGREED = "agreed"
    """What it says was known."""
    MENDED = "mended"
    FAILED = "failed"
