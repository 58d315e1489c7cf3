"""The player and the command, against real HTTP servers that write down what comes."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from click.testing import CliRunner
from lxml import etree
from rich.console import Console

from esc_lab.simulator import Faults, SimulateOptions, Summary, Traffic, simulate
from esc_lab.simulator.report import Latency, print_summary
from receiver.cli.main import main
from receiver.errors import SettingsError, SetupError


@dataclass(frozen=True, slots=True)
class Post:
    """One POST as it arrived."""

    path: str
    transaction: str
    body: bytes


@dataclass(slots=True)
class Target:
    """A server that answers as a receiver would, and keeps every POST in the order of arrival."""

    url: str = ""
    posts: list[Post] = field(default_factory=list)
    answer: Callable[[Post], Awaitable[web.StreamResponse]] | None = None

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Keeps the POST and gives a receipt, unless the test answers itself."""
        post = Post(request.path, request.headers.get("ESC_TRANSACTION_ID", ""), await request.read())
        self.posts.append(post)
        if self.answer is not None:
            return await self.answer(post)
        return web.json_response({}, headers={"ESC-Receipt-Id": f"receipt-{len(self.posts)}"})


@asynccontextmanager
async def serving(target: Target) -> AsyncIterator[Target]:
    """The target on a port of its own; source "closed" wants a token, source "stranger" is unknown."""

    async def knock(request: web.Request) -> web.Response:
        if request.match_info["source"] == "stranger":
            return web.Response(status=404)
        return web.Response(
            status=401 if request.path.startswith("/esc/closed/") and "/s3 cret" not in request.path else 204
        )

    application = web.Application()
    for path in ("/esc/{source}/{channel}", "/esc/{source}/{channel}/{token}"):
        application.router.add_get(path, knock)
        application.router.add_post(path, target.post)
    async with TestServer(application) as server:
        target.url = str(server.make_url("/"))
        yield target


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    """A target that takes everything."""
    async with serving(Target()) as target:
        yield target


def options(target: Target) -> SimulateOptions:
    """A short run without any limit of speed."""
    return SimulateOptions(target=target.url, seed=7, deployments=6, operations=4, rate=0.0, keep_audit_log=True)


def expected(options: SimulateOptions) -> dict[str, list[bytes]]:
    """The bodies of each transaction, in order."""
    traffic = Traffic(
        options.seed, deployments=options.deployments, operations=options.operations, faults=options.faults
    )
    return {
        performance.operation.transaction: [sending.message.body for sending in performance.sendings]
        for life in traffic.lives()
        for performance in life
    }


def arrived(target: Target) -> dict[str, list[bytes]]:
    """The bodies of each transaction, as they came."""
    bodies: dict[str, list[bytes]] = defaultdict(list)
    for post in target.posts:
        bodies[post.transaction].append(post.body)
    return bodies


async def test_everything_arrives_in_the_order_of_its_operation(target: Target) -> None:
    """Each operation's messages arrive once, byte for byte and in order, and those of different lives interleave."""
    summary = await simulate(options(target))
    assert arrived(target) == expected(options(target))
    assert summary.sent == {"real": len(target.posts)} == {"real": summary.answers["200"]}
    assert not summary.surprises
    transactions = [post.transaction for post in target.posts]
    changes = sum(before != after for before, after in pairwise(transactions))
    assert changes > len(set(transactions))


async def test_faults_arrive_as_planned(target: Target) -> None:
    """Repeats, wrong order and gaps reach the target exactly as the seed has them."""
    spoilt = replace(options(target), faults=Faults.of("duplicate=0.3,reorder=0.5,gap=0.1"))
    await simulate(spoilt)
    assert arrived(target) == {transaction: bodies for transaction, bodies in expected(spoilt).items() if bodies}


async def test_truth_and_receipts_are_kept_for_an_auditor(target: Target) -> None:
    """Every answer's receipt is written down with the bytes it stands for, and truth knows every operation."""
    summary = await simulate(options(target))
    assert summary.audit_log is not None
    assert [
        receipt.body for receipt in sorted(summary.audit_log.receipts, key=lambda one: int(one.receipt.split("-")[1]))
    ] == [post.body for post in target.posts]
    assert len(summary.audit_log.expected.entities["operation"]) == summary.operations.total() == 7 * 4
    json.dumps(summary.audit_log.as_dict())


async def test_sources_channels_and_tokens_make_the_path(target: Target) -> None:
    """Each source posts to its own paths, with its own token, escaped; a wrong token goes where it is asked for."""
    faults = Faults(wrong_token=1.0)
    tokens = {"closed": "s3 cret", "": "x"}
    await simulate(replace(options(target), sources=("closed", "lab"), tokens=tokens, faults=faults))
    assert {post.path for post in target.posts} == {
        f"/esc/{source}/{channel}/{token}"
        for source, right in (("closed", "s3 cret"), ("lab", "x"))
        for channel in ("callback", "events")
        for token in (right, "not-the-token")
    }


async def test_unexpected_answers_are_counted_by_status(target: Target) -> None:
    """An answer other than such a message should get is a surprise, and truth knows that the message was not kept."""

    async def refuse(_: Post) -> web.StreamResponse:
        return web.Response(status=404)

    target.answer = refuse
    summary = await simulate(options(target))
    assert summary.surprises == {"404 to a real message": summary.sent.total()}
    assert summary.audit_log is not None
    assert summary.audit_log.expected.sent == {("real", "lost"): summary.sent.total()}
    assert summary.audit_log.expected.check({"deployments": {}, "vms": {}, "operations": {}, "resources": {}}) == []


async def test_right_refusals_are_no_surprise(target: Target) -> None:
    """400 to a malformed body is as it should be."""

    async def judge(post: Post) -> web.StreamResponse:
        try:
            etree.fromstring(post.body)
        except etree.XMLSyntaxError:
            return web.Response(status=400)
        return web.Response(status=400 if b"<!DOCTYPE" in post.body else 200)

    target.answer = judge
    summary = await simulate(replace(options(target), faults=Faults(malformed=0.5)))
    assert summary.answers["400"] == summary.sent["malformed"] > 0
    assert not summary.surprises


async def test_a_retry_may_repeat_a_message(target: Target) -> None:
    """A message refused with 503 is sent again when asked for, and is then kept."""
    refused: set[bytes] = set()

    async def refuse_once(post: Post) -> web.StreamResponse:
        first = post.body not in refused
        refused.add(post.body)
        return web.Response(status=503 if first else 200)

    target.answer = refuse_once
    summary = await simulate(replace(options(target), deployments=1, operations=1, retries=1))
    assert summary.sent == {"real": len(target.posts) // 2}
    assert not summary.surprises


async def test_a_broken_connection_leaves_the_message_unsure(target: Target) -> None:
    """Without an answer nobody knows whether the message was kept."""

    async def abort(request: web.Request) -> web.StreamResponse:
        await request.read()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    application = web.Application()
    application.router.add_post("/esc/{source}/{channel}", abort)
    async with TestServer(application) as server:
        summary = await simulate(replace(options(target), target=str(server.make_url("/")), deployments=1))
    assert summary.answers == {"connection broke": summary.sent.total()}
    assert summary.audit_log is not None
    assert summary.audit_log.expected.sent == {("real", "unsure"): summary.sent.total()}


async def test_no_more_than_the_limit_is_under_way(target: Target) -> None:
    """The target never sees more requests at once than `concurrency`, and does see that many."""
    under_way, most, all_there = 0, 0, asyncio.Event()

    async def hold(_: Post) -> web.StreamResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == 3:
            all_there.set()
        await all_there.wait()
        under_way -= 1
        return web.Response()

    target.answer = hold
    await simulate(replace(options(target), concurrency=3))
    assert most == 3


async def test_a_stopped_run_knows_what_it_sent(target: Target) -> None:
    """An endless run that is stopped in the middle of operations tells truth which messages never went out."""
    stop = asyncio.Event()

    async def stop_it(_: Post) -> web.StreamResponse:
        if len(target.posts) == 200:
            stop.set()
        return web.Response()

    target.answer = stop_it
    summary = await simulate(replace(options(target), loop=True), stop=stop)
    assert summary.audit_log is not None
    assert summary.audit_log.expected.sent == {("real", "kept"): len(target.posts)}
    assert summary.cut_short > 0


async def test_an_unreachable_target_is_told_before_anything_is_sent() -> None:
    """Nobody listening is one clear line."""
    with pytest.raises(SetupError, match=r"nothing answers at http://127\.0\.0\.1:\d+"):
        await simulate(SimulateOptions(target=f"http://127.0.0.1:{unused_port()}"))


@pytest.mark.parametrize(("source", "reason"), [("closed", "refuses source"), ("stranger", "knows no source")])
async def test_a_target_that_refuses_is_told_before_anything_is_sent(target: Target, source: str, reason: str) -> None:
    """A missing token and an unknown source are told by name, and nothing is posted."""
    with pytest.raises(SetupError, match=f"{reason} '{source}'"):
        await simulate(replace(options(target), sources=(source,)))
    assert not target.posts


@pytest.mark.parametrize("wrong", [{"faults": Faults(wrong_token=0.1)}, {"target": "127.0.0.1:9010"}])
async def test_options_that_cannot_be_played_are_told(target: Target, wrong: dict[str, object]) -> None:
    """Wrong tokens without a right one, or a target that is no URL, are refused."""
    with pytest.raises(SettingsError):
        await simulate(replace(options(target), **wrong))  # type: ignore[arg-type]  # each is of its field's type


# What people see


async def test_a_terminal_shows_progress(target: Target) -> None:
    """On a terminal a bar tells how many operations and messages have been played."""
    console = Console(file=StringIO(), force_terminal=True, width=120)
    await simulate(options(target), console)
    assert isinstance(console.file, StringIO)
    assert "28 operations" in console.file.getvalue()


async def test_the_summary_names_kinds_answers_and_surprises(target: Target) -> None:
    """The tables show what was played and how it was answered, and anything that was not as expected."""
    summary = await simulate(options(target))
    summary.surprises["404 to a real message"] = 3
    console = Console(file=StringIO(), width=120)
    print_summary(summary, console)
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    for words in ("deploy", "succeeded", "real", "200", "seed 7", "p99", "3 times 404 to a real message"):
        assert words in text


def test_an_empty_summary_can_be_printed() -> None:
    """A run in which nothing was answered still has a summary."""
    console = Console(file=StringIO())
    print_summary(Summary(1, "http://nowhere"), console)
    assert isinstance(console.file, StringIO)
    assert "none answered" in console.file.getvalue()


def test_percentiles_are_right_to_two_percent() -> None:
    """Of 1 to 1,000 ms the median is 500 ms and the 99th percentile 990 ms, each within 2%."""
    latency = Latency()
    assert latency.percentile_ms(0.5) is None
    for milliseconds in range(1, 1001):
        latency.add(milliseconds / 1000)
    assert latency.percentile_ms(0.5) == pytest.approx(500, rel=0.021)
    assert latency.percentile_ms(0.99) == pytest.approx(990, rel=0.021)


def test_help_has_examples() -> None:
    """`--help` shows how the command is used."""
    result = CliRunner().invoke(main, ["simulate", "--help"])
    assert result.exit_code == 0
    assert "esc-receiver simulate --deployments 200" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", f"http://127.0.0.1:{unused_port()}"], "nothing answers at"),
        (["--faults", "flood=1"], "faults: cannot read flood=1"),
        (["--sources", ","], "at least one source"),
    ],
)
def test_what_cannot_be_played_is_one_line_and_status_2(arguments: list[str], words: str) -> None:
    """A wrong option or an unreachable target ends with one clear line."""
    result = CliRunner().invoke(main, ["simulate", *arguments])
    assert result.exit_code == 2
    assert words in result.output
    assert result.output.startswith("esc-receiver: ")
    assert len(result.output.splitlines()) == 1


async def command(*arguments: str) -> asyncio.subprocess.Process:
    """The command in a process of its own."""
    pipe = asyncio.subprocess.PIPE
    program = (sys.executable, "-m", "receiver", "simulate")
    return await asyncio.create_subprocess_exec(*program, *arguments, stdout=pipe, stderr=pipe)


async def test_the_command_prints_json_and_writes_the_truth(target: Target, tmp_path: Path) -> None:
    """`--json` is for scripts, `--truth` for an auditor in another process; all well is status 0."""
    file = tmp_path / "truth.json"
    fixed = ("--target", target.url, "--seed", "7", "--deployments", "6", "--operations", "4", "--rate", "0")
    process = await command(*fixed, "--json", "--truth", str(file))
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert json.loads(output)["messages"] == len(target.posts)
    assert len(json.loads(file.read_text())["receipts"]) == len(target.posts)
    assert arrived(target) == expected(options(target))


async def test_ctrl_c_ends_an_endless_run_with_its_summary(target: Target) -> None:
    """After an interrupt the command says what it did and ends with status 0."""
    enough = asyncio.Event()

    async def count(_: Post) -> web.StreamResponse:
        if len(target.posts) >= 50:
            enough.set()
        return web.Response()

    target.answer = count
    process = await command("--target", target.url, "--loop", "--rate", "0", "--json")
    await enough.wait()
    process.send_signal(signal.SIGINT)
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert json.loads(output)["messages"] == len(target.posts)
