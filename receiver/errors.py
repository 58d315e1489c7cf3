"""Every error this project raises on purpose.

An error says what went wrong and whether sending again can help. Must not know status codes or exit codes:
`http.server` maps errors to answers, `cli` maps them to one line and exit status 2.
"""

from __future__ import annotations


def describe(error: BaseException) -> str:
    """The message of an error; its class where it has none, as with a TimeoutError."""
    return str(error) or type(error).__name__


class ReceiverError(Exception):
    """The root of all errors raised on purpose."""

    sending_again_helps = False


class NotXmlError(ReceiverError):
    """The body is not a well-formed XML document that we are willing to read."""


class UndecodableBodyError(ReceiverError):
    """The body could not be decoded as its Content-Encoding says; it is kept as received."""


class LimitError(ReceiverError):
    """A request exceeds a limit; the message names the setting that holds it."""


class BodyTooLargeError(LimitError):
    """The body, as sent or as unpacked, is larger than `body_bytes_max`."""


class HeaderTooLargeError(LimitError):
    """The header is larger than its limits."""


class BodyTooSlowError(LimitError):
    """The body was not complete within `body_timeout_s`."""


class BodyCutOffError(LimitError):
    """The connection ended before the body did."""


class BodyReadersBusyError(LimitError):
    """As many large bodies of this source wait as `body_readers_queue_max` allows."""

    sending_again_helps = True


class NoConnectionLeftError(LimitError):
    """Only connections that are kept for callbacks are left, and this request is none."""

    sending_again_helps = True


class QuotaError(LimitError):
    """The source has sent as much as it may; there is room again after `retry_after_s`."""

    sending_again_helps = True

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AccessError(ReceiverError):
    """The sender may not post here."""


class UnknownSourceError(AccessError):
    """No source of this name is configured."""


class CredentialsError(AccessError):
    """The path token or the HTTP Basic credentials are missing or wrong."""


class BasicCredentialsError(CredentialsError):
    """The path token, if one is asked for, is right; the HTTP Basic credentials are not."""


class CertificateError(AccessError):
    """No client certificate was shown, or one of another subject."""


class AddressError(AccessError):
    """The sender's address is outside the ranges the source allows."""


class CannotKeepError(ReceiverError):
    """The callback could not be made durable, so it must not be acknowledged."""

    sending_again_helps = True


class RefusedError(CannotKeepError):
    """PostgreSQL works and refuses this one callback, even undecided: it would refuse it again."""


class SpoolFullError(CannotKeepError):
    """The spool holds as many bytes as `spool_bytes_max` allows."""


class SpoolBrokenError(CannotKeepError):
    """The spool's disk or file fails; callbacks that are in it stay there."""


class SettingsError(ReceiverError):
    """One or more settings are missing or wrong; the message names them all."""


class SetupError(ReceiverError):
    """Something that the command needs is missing or unreachable."""


class SpoolInUseError(SetupError):
    """Another process has the spool's folder."""


class SchemaTooNewError(SetupError):
    """The database was migrated by a newer program than this one."""


class SchemaDriftError(SetupError):
    """A migration that was applied is not the one this program carries."""


class OutboxError(ReceiverError):
    """PostgreSQL cannot be reached, or did not do what the relay asked of it."""

    sending_again_helps = True


class DisconnectedError(ReceiverError):
    """NATS cannot be reached now."""

    sending_again_helps = True


class NotAcknowledgedError(ReceiverError):
    """JetStream did not acknowledge in time; whether it has the message shows in the stream."""

    sending_again_helps = True


class StreamRefusedError(ReceiverError):
    """JetStream refuses what the relay publishes, and trying again cannot help."""


class NotAllowedError(StreamRefusedError):
    """NATS does not allow it to this user; the message names the permission."""


class StreamLostError(StreamRefusedError):
    """The stream lacks what it had acknowledged: it was emptied, truncated or made anew."""


class LedgerBehindError(StreamRefusedError):
    """The stream has entries of this database that its ledger does not have: PostgreSQL has gone back in time."""


class StreamTakenError(StreamRefusedError):
    """The stream or the bucket holds another database's messages."""


class ConsumerLostError(ReceiverError):
    """A consumer that was there is gone from the stream, or the place where it stood is."""


class DeposedError(ReceiverError):
    """Another relay has published, so this one must begin again from the stream's tail."""


class CannotAskError(ReceiverError):
    """An ESC cannot be asked, or gives no answer that could be believed; the message says why."""


class NotAuthorisedError(CannotAskError):
    """ESC does not take our user and password."""


class ArchiveError(ReceiverError):
    """The archive of the ledger, or its key, cannot be read or written."""
