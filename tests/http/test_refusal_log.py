"""Refused callbacks in the log: a few lines, and one that sums up the others."""

from __future__ import annotations

from structlog.testing import capture_logs

from receiver.config.settings import Settings
from receiver.http.refusal_log import KINDS_MAX, RefusalLog
from tests.support.ingress import serving

LAB = {"lab": {"tokens": ["t"]}}


async def test_a_scanner_does_not_fill_the_log() -> None:
    """Many refused requests are a few lines, each is counted, and another address still has lines of its own."""
    with capture_logs() as lines:
        async with serving(trusted_proxies=["127.0.0.1"], sources=LAB, log_refused_max=3) as server:
            for number in range(200):
                scanner = [("X-Forwarded-For", "192.0.2.1")]
                await server.request("POST", f"/esc/lab/callback/{number}", b"<a/>", scanner)
            await server.request("POST", "/esc/lab/callback/wrong", b"<a/>", [("X-Forwarded-For", "192.0.2.2")])
            assert server.count("refused_total", reason="credentials") == 201
    refused = [line["peer"] for line in lines if line["event"] == "callback refused"]
    assert refused == ["192.0.2.1"] * 3 + ["192.0.2.2"]


async def test_what_has_no_line_of_its_own_is_summed_up() -> None:
    """By reason and address, once an interval; the next one begins with lines again."""
    summary = RefusalLog(Settings(log_refused_max=2, log_refused_interval_s=600))
    with capture_logs() as lines:
        for peer in ("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"):
            summary.write("credentials", peer, source="lab")
        summary.sum_up()
        summary.sum_up()
        summary.write("credentials", "192.0.2.1", source="lab")
    assert [(line["event"], line["peer"], line.get("times")) for line in lines] == [
        ("callback refused", "192.0.2.1", None),
        ("callback refused", "192.0.2.1", None),
        ("callback refused", "192.0.2.2", None),
        ("more callbacks refused", "192.0.2.1", 2),
        ("callback refused", "192.0.2.1", None),
    ]


async def test_many_addresses_are_one_in_the_log() -> None:
    """Beyond so many, those of one reason are summed up together."""
    summary = RefusalLog(Settings(log_refused_max=1, log_refused_interval_s=600))
    with capture_logs() as lines:
        for number in range(KINDS_MAX + 500):
            summary.write("address", str(number))
        summary.sum_up()
    assert len(lines) == KINDS_MAX + 2
    assert (lines[-1]["event"], lines[-1]["peer"], lines[-1]["times"]) == ("more callbacks refused", "(other)", 499)
