"""The whole service holds against the corpus, and a bystander hardly notices. Times are asked of `make hostile`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.hostile.corpus import corpus
from tests.hostile.judge import MEMORY_MB_MAX, fault, faults
from tests.hostile.trial import LATE_S_MAX, Report, Seen, tried
from tests.support.ingress import Answer
from tests.support.servers import passable

pytestmark = [pytest.mark.xdist_group("hostile"), pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="session", loop_scope="session")  # other tests come between those of a group
async def report(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Report]:
    """One run of the corpus."""
    yield await tried(passable(Path(tmp_path_factory.mktemp("hostile"))), corpus())


async def test_every_input_is_kept_or_refused_by_name_and_the_bystander_is_served(report: Report) -> None:
    """Never 500, no traceback in the log, every callback of the bystander answered 2xx, and the counts add up."""
    assert faults(report) == []
    assert len(report.seen) == len(corpus())


async def test_memory_stays(report: Report) -> None:
    """Whatever bombs unpack to."""
    assert (report.memory_most - report.memory_before) / 1e6 < MEMORY_MB_MAX


async def test_no_input_makes_the_loop_late(report: Report) -> None:
    """By work of the process's own: what other programs take of the machine does not count."""
    late = {name: round(seen.late_s * 1e3) for name, seen in report.seen.items() if seen.late_s > LATE_S_MAX}
    assert late == {}


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
