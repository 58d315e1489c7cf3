"""Quotas of a source: callbacks a second and bytes a day; over them 429, by name and counted."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from receiver.config.sources import Source
from receiver.errors import QuotaError
from receiver.http.quotas import Quotas
from tests.support.ingress import serving

DAY_S = 86_400


def quotas(clock: Any = lambda: 0.0, **source: Any) -> Quotas:
    """Of one source, `lab`."""
    return Quotas({"lab": Source.model_validate(source), "free": Source()}, clock)


async def test_over_its_rate_a_source_is_answered_429() -> None:
    """With the time after which there is room; other sources, and who may not post for this one, change nothing."""
    sources = {"lab": {"tokens": ["t"], "rate_per_s": 0.01}}
    async with serving(sources=sources) as server:
        assert (await server.request("POST", "/esc/lab/callback/wrong", b"<a/>")).status == 401
        assert (await server.request("POST", "/esc/lab/callback/t", b"<a/>")).status == 200
        answer = await server.request("POST", "/esc/lab/callback/t", b"<a/>")
        assert (answer.status, answer.json["type"]) == (429, "urn:esc-receiver:problem:quota")
        assert 90 < int(answer.headers["retry-after"]) <= 100
        assert "rate_per_s" in answer.json["detail"]
        assert (await server.request("POST", "/", b"<a/>")).status == 200
        assert server.count("refused_total", reason="quota") == 1
        assert server.counts() == {"received": 4, "stored": 2, "refused": 2, "in_flight": 0}


async def test_over_its_bytes_a_source_is_answered_429() -> None:
    """Until the day ends (UTC). What is refused is not counted: a smaller body may have room."""
    async with serving(sources={"lab": {"tokens": ["t"], "bytes_per_day": 10}}) as server:
        path = "/esc/lab/callback/t"
        answers = [await server.request("POST", path, body) for body in (b"<a/>", b"<a>12</a>", b"<abcd/>", b"<a/>")]
        assert [answer.status for answer in answers] == [200, 429, 429, 200]
        assert 0 < int(answers[1].headers["retry-after"]) <= DAY_S
        assert "bytes_per_day" in answers[1].json["detail"]
        assert server.count("refused_total", reason="quota") == 2


def test_a_burst_is_let_through() -> None:
    """Twice as many as in a second."""
    limited = quotas(rate_per_s=5)
    for _ in range(10):
        limited.take_callback("lab")
    with pytest.raises(QuotaError) as error:
        limited.take_callback("lab")
    assert error.value.retry_after_s == 1
    limited.take_callback("free")


def test_each_day_has_its_bytes() -> None:
    """From midnight UTC on."""
    now_s = [DAY_S - 10.5]
    limited = quotas(lambda: now_s[0], bytes_per_day=100)
    limited.take_bytes("lab", 100)
    with pytest.raises(QuotaError) as error:
        limited.take_bytes("lab", 1)
    assert error.value.retry_after_s == 11
    with pytest.raises(QuotaError):
        limited.take_callback("lab")
    now_s[0] = DAY_S
    limited.take_callback("lab")
    limited.take_bytes("lab", 100)


@pytest.mark.parametrize(
    "wrong", [{"rate_per_s": 0}, {"rate_per_s": -1}, {"rate_per_s": "inf"}, {"rate_per_s": "nan"}, {"bytes_per_day": 0}]
)
def test_a_quota_of_nothing_is_refused(wrong: dict[str, Any]) -> None:
    """It would refuse all that ESC sends."""
    with pytest.raises(ValidationError):
        Source.model_validate(wrong)
