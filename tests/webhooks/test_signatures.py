"""Signatures as Standard Webhooks has them."""

from __future__ import annotations

import time
from base64 import b64encode

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from receiver.webhooks.signatures import signed_headers

KEYS = (b"a" * 24, b"b" * 32)
BODY = '{"reason":"größer als 5 s"}'.encode()


def secret_of(key: bytes) -> str:
    """As it stands in the settings."""
    return f"whsec_{b64encode(key).decode()}"


def test_the_example_of_the_specification() -> None:
    """The values printed in it."""
    key = Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [key._whsecret])
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("key", KEYS)
def test_who_knows_one_of_the_secrets_can_verify(key: bytes) -> None:
    """With the library of Standard Webhooks, also while a secret is being changed."""
    headers = signed_headers("id-1", int(time.time()), BODY, KEYS)
    assert Webhook(secret_of(key)).verify(BODY, headers) == {"reason": "größer als 5 s"}


@pytest.mark.parametrize("change", [{"webhook-id": "id-2"}, {"webhook-timestamp": str(int(time.time()) - 1)}, {}])
def test_what_was_changed_is_found_out(change: dict[str, str]) -> None:
    """Id, time and body are signed."""
    headers = signed_headers("id-1", int(time.time()), BODY, KEYS) | change
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_of(KEYS[0])).verify(BODY if change else BODY + b" ", headers)
