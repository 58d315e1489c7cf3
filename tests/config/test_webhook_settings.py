"""Webhooks in the settings: read from file and environment, each fault named in its line, secrets never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.config.loading import effective, load
from receiver.config.webhook_settings import overlap
from receiver.errors import SettingsError

SECRET, OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "QUJD" * 8
ENVIRON = {"ESC_RECEIVER_POSTGRES_DSN": "postgresql://x"}


def written(tmp_path: Path, text: str) -> Path:
    """A file of settings."""
    (tmp_path / "esc.toml").write_text(text)
    return tmp_path / "esc.toml"


def test_a_webhook_of_the_file(tmp_path: Path) -> None:
    """Its name is that of the host; a secret may lie in a file, several on lines of it."""
    (tmp_path / "secret").write_text(f"{SECRET}\n{OTHER}\n")
    text = f"""
    [[webhooks]]
    url = "https://orders.example.com/esc?key=1"
    secret_file = "{tmp_path}/secret"
    [[webhooks]]
    name = "two"
    url = "http://10.0.0.1:8000/"
    subjects = ["esc.v1.vm.>", "esc.v1.operation.failed.>"]
    secret = "{SECRET}"
    """
    first, second = load(written(tmp_path, text), ENVIRON).webhooks
    assert (first.name, first.subjects, first.keys[1]) == ("orders-example-com", (), b"ABC" * 8)
    assert (second.name, len(second.subjects), second.keys) == ("two", 2, first.keys[:1])


def test_the_same_as_json_in_the_environment() -> None:
    """As sources have it."""
    given = f'[{{"url": "https://hooks.example", "secret": ["{SECRET}"]}}]'
    assert load(None, ENVIRON | {"ESC_RECEIVER_WEBHOOKS": given}).webhooks[0].name == "hooks-example"


def test_what_is_shown_has_no_secret(tmp_path: Path) -> None:
    """`config` says how many there are; a query may hold one, too."""
    text = f'[[webhooks]]\nname = "a"\nurl = "https://h.example/x?token=t0ken"\nsecret = "{SECRET}"'
    shown = next(one for one in effective(written(tmp_path, text), ENVIRON)[0] if one.name == "webhooks")
    assert shown.value == {"a": {"name": "a", "url": "https://h.example/x", "secret": "(1)"}}
    assert "t0ken" not in repr(load(tmp_path / "esc.toml", ENVIRON))


FAULTS = {
    'url = "ftp://h.example"': "webhooks.0.url",
    'url = "https://u:p@h.example"': "no user or password belongs into a webhook's url",
    'url = "https://h.example:99999"': "webhooks.0.url",
    'url = "https://h.example"\nname = "a.b"': "webhooks.0.name",
    'url = "https://h.example"\nsubjects = ["esc.v1.vm.>.x"]': "webhooks.0.subjects.0",
    'url = "https://h.example"\nsubjects = ["other.vm.>"]': "does not begin with subject_prefix (esc.v1)",
    'url = "https://h.example"\nsubjects = ["esc.v1.vm.>", "esc.v1.*.error.>"]': "have messages in common",
    'url = "https://h.example"\nurls = "x"': "no such setting; did you mean url?",
    'url = "https://h.example"\nsecret_file = "/nosuch"': "given besides secret; only one can count",
}


@pytest.mark.parametrize("wrong", FAULTS)
def test_a_fault_is_named_and_no_secret_shown(tmp_path: Path, wrong: str) -> None:
    """In the line of the setting."""
    with pytest.raises(SettingsError, match="webhooks") as raised:
        load(written(tmp_path, f'[[webhooks]]\nsecret = "{SECRET}"\n{wrong}'), ENVIRON)
    assert FAULTS[wrong] in str(raised.value)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "secret", ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_QUJD", "whsec_?", f"whsec_{'QUJD' * 22}"]
)
def test_what_is_no_secret(tmp_path: Path, secret: str) -> None:
    """Without the prefix, no base64, too short or too long: `whsec_` and 24 to 64 bytes."""
    text = f'[[webhooks]]\nurl = "https://h.example"\nsecret = "{secret}"'
    with pytest.raises(SettingsError, match=r"webhooks\.0\.secret") as raised:
        load(written(tmp_path, text), ENVIRON)
    assert not secret or secret not in str(raised.value)


def test_two_of_a_name_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Their places in the stream would be one."""
    one = f'[[webhooks]]\nurl = "https://h.example"\nsecret = "{SECRET}"\n'
    with pytest.raises(SettingsError, match="more than one is called h-example: give each a `name`"):
        load(written(tmp_path, one + one), ENVIRON)
    with pytest.raises(SettingsError, match="/nosuch cannot be read"):
        load(written(tmp_path, '[[webhooks]]\nurl = "https://h.example"\nsecret_file = "/nosuch"'), ENVIRON)


def test_a_webhook_needs_its_secret_and_its_time(tmp_path: Path) -> None:
    """JetStream must not give an event to another receiver while this one waits for an answer."""
    with pytest.raises(SettingsError, match=r"webhooks\.0\.secret.*required"):
        load(written(tmp_path, '[[webhooks]]\nurl = "https://h.example"'), ENVIRON)
    with pytest.raises(SettingsError, match=r"is less than twice webhook_timeout_s \(20\)"):
        load(None, ENVIRON | {"ESC_RECEIVER_WEBHOOK_TIMEOUT_S": "20"})


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("a.>", "a.b", True), ("a.*", "a.b", True), ("a.b", "a.b", True), ("a.*.c", "a.b.*", True),
        ("a.b", "a.c", False), ("a.b", "a.b.c", False), ("a.b.>", "a.b", False), ("a.*", "b.*", False),
    ],
)  # fmt: skip
def test_which_subjects_overlap(first: str, second: str, expected: bool) -> None:
    """As JetStream judges it, whichever comes first."""
    assert overlap(first, second) is overlap(second, first) is expected
