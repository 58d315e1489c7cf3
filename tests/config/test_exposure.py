"""Which settings leave a door open to anybody beyond this machine."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.config.exposure import open_doors
from receiver.config.settings import Settings

TOKENS, SOURCES = {"read_tokens": ["sesame"]}, {"sources": {"lab": {"tokens": ["sesame"]}}}


def doors(**settings: Any) -> list[str]:
    """The first words of each line."""
    return [" ".join(line.split()[:2]) for line in open_doors(Settings.model_validate(settings))]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_nobody_else_reaches_a_loopback_address(host: str) -> None:
    """So there is nothing to warn of."""
    assert doors(host=host) == []


@pytest.mark.parametrize(
    "reached",
    [{"host": "0.0.0.0"}, {"host": "::"}, {"host": "receiver"}, {"trusted_proxies": "127.0.0.1"}],  # noqa: S104
)
def test_what_others_reach_asks_for_something(reached: dict[str, Any]) -> None:
    """Beyond loopback, or through a proxy on this machine: read tokens, and protection of each source."""
    assert doors(**reached) == ["the query", "source default"]
    assert doors(**reached, **TOKENS) == ["source default"]
    assert doors(**reached, **SOURCES) == ["the query"]
    assert doors(**reached, **SOURCES, **TOKENS) == []
    assert doors(**reached, **SOURCES, **TOKENS, default_source=True) == ["source default"]


def test_each_port_is_judged_by_its_own_address() -> None:
    """The API may stay on loopback while callbacks come from everywhere, and the other way round."""
    everywhere, here = {"host": "0.0.0.0", "admin_port": 9011}, {"host": "127.0.0.1", "admin_port": 9011}  # noqa: S104
    assert doors(**everywhere) == ["the query", "source default"]
    assert doors(**everywhere, admin_host="127.0.0.1") == ["source default"]
    assert doors(**here, admin_host="0.0.0.0") == ["the query"]  # noqa: S104
