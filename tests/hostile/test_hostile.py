"""The whole service holds against the corpus, and a bystander hardly notices. Times are asked of `make hostile`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.corpus import corpus
from tests.hostile.judge import MEMORY_MB_MAX, fault, faults
from tests.hostile.trial import LATE_S_MAX, Seen, tried
from tests.support.ingress import Answer
from tests.support.servers import passable


async def test_the_service_holds_and_a_bystander_hardly_notices(tmp_path: Path) -> None:
    """One run of the corpus, judged as a whole.

    Never 500, no traceback in the log, every callback of the bystander answered 2xx, the counts add up; memory stays,
    whatever bombs unpack to; no input makes the loop late by work of the process's own (what other programs take of
    the machine does not count).
    """
    report = await tried(passable(tmp_path), corpus())
    assert faults(report) == []
    assert len(report.seen) == len(corpus())
    assert (report.memory_most - report.memory_before) / 1e6 < MEMORY_MB_MAX
    assert {name: round(seen.late_s * 1e3) for name, seen in report.seen.items() if seen.late_s > LATE_S_MAX} == {}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        Answer(500, {"content-type": "application/problem+json"}, b'{"type": "x:internal-error"}'),
        Answer(400, {"content-type": "text/plain"}, b"no"),
        Answer(413, {"content-type": "application/problem+json"}, b'{"type": "x:too-large"}'),
    ],
)
async def test_a_wrong_answer_is_noticed(answer: Answer | None) -> None:
    """None, a fault of ours, one that is no problem document, and a limit without its name."""
    assert fault("body: x", Seen(answer, 0))
