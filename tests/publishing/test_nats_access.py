"""NATS with private authorities, client certificates, credentials and permissions, each with a real server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nats
import pytest
from nats.aio.client import Client
from structlog.testing import capture_logs

from chaos.wire import Wire
from esc_receiver_client.connection import Connection
from receiver.app import App
from receiver.config.settings import Settings
from receiver.embedded.child_process import free_port
from receiver.errors import DisconnectedError, NotAllowedError, SettingsError, StreamRefusedError, StreamTakenError
from receiver.observability.metrics import Metrics
from receiver.publishing.broker import Broker
from receiver.publishing.consumers import readers_of
from receiver.publishing.jetstream import JetStream
from receiver.publishing.jetstream_api import call_api
from receiver.publishing.nats_access import NatsAccess
from tests.cli.test_tail import some_of_each, tail
from tests.support import feed
from tests.support.certificates import Authority
from tests.support.nats_servers import FEED_PERMISSIONS, ConfiguredNats, Operator, frozen_nats, is_connected, users_with
from tests.support.relays import Place
from tests.support.served_feed import ServedFeed, quick_settings
from tests.support.waiting import until

DATABASE = "00000000-0000-0000-0000-00000000000a"
STRANGER = "00000000-0000-0000-0000-00000000000b"


@pytest.fixture
def signer(tmp_path: Path) -> Authority:
    """Who signs for both sides."""
    return Authority(tmp_path, "signer")


def tls_of(signer: Authority, **more: Any) -> dict[str, Any]:
    """The configuration of a server that was certified by `signer`."""
    cert, key = signer.certify("nats")
    return {"tls": {"cert_file": str(cert), "key_file": str(key), **more}}


@asynccontextmanager
async def brokered(url: str, **settings: Any) -> AsyncIterator[Broker]:
    """A connection that waits for NATS for a second."""
    chosen: dict[str, Any] = {"nats_url": url, "nats_connect_timeout_s": 1, "publish_timeout_s": 5}
    broker = Broker(Settings(**chosen | settings), Metrics())
    try:
        yield broker
    finally:
        await broker.close()


async def fault_of(url: str, **settings: Any) -> str:
    """Why it cannot be connected to; one line. Asked again where a server that closes at once cut off what it said."""
    for _ in range(10):
        async with brokered(url, **settings) as broker:
            with pytest.raises(DisconnectedError) as caught:
                await broker.client()
        said = str(caught.value)
        if not re.search("reset by peer|Broken pipe", said):
            break
    assert "\n" not in said
    return said


async def test_one_that_cannot_be_reached_is_told_at_once() -> None:
    """Who asks how NATS is does not wait for as long as connecting may take."""
    async with brokered("nats://127.0.0.1:1", nats_connect_timeout_s=3600) as broker:
        for _ in range(2):  # while it is tried for the first time, and later
            with pytest.raises(DisconnectedError, match="Connect call failed"):
                await asyncio.wait_for(broker.ping(), 60)


# TLS.


@pytest.mark.parametrize("first", [False, True])
async def test_tls_with_a_private_authority(tmp_path: Path, signer: Authority, first: bool) -> None:
    """The right authority connects, before or after the server's greeting; any other is named with its setting."""
    stranger = Authority(tmp_path, "stranger")
    async with ConfiguredNats(tmp_path / "nats", **tls_of(signer, handshake_first=first)) as server:
        async with brokered(server.url, nats_ca_file=signer.file, nats_tls_first=first) as broker:
            await broker.ping()
        wrong = await fault_of(server.url, nats_ca_file=stranger.file, nats_tls_first=first)
        assert "NATS_CA_FILE" in wrong
        assert "certificate is not accepted" in wrong
        assert "NATS_CA_FILE" in await fault_of(server.url, nats_tls_first=first)


async def test_tls_that_the_other_side_does_not_have(tmp_path: Path, signer: Authority) -> None:
    """A plain server hears no secret of ours, and TLS at the wrong moment is told."""
    async with ConfiguredNats(tmp_path / "plain") as server:
        assert "offers no TLS" in await fault_of(server.url, nats_ca_file=signer.file)
        assert "NATS_TLS_FIRST" in await fault_of(server.url, nats_ca_file=signer.file, nats_tls_first=True)
        secret = server.url.partition("://")[2]
        assert "offers no TLS" in await fault_of(f"tls://{secret}")


async def test_client_certificates(tmp_path: Path, signer: Authority) -> None:
    """One that the server accepts connects; none, and another's, are told as what they are."""
    stranger = Authority(tmp_path / "..", "stranger")
    cert, key = signer.certify("receiver")
    foreign_cert, foreign_key = stranger.certify("foreign")
    demanding = tls_of(signer, ca_file=str(signer.file), verify=True)
    async with ConfiguredNats(tmp_path / "nats", **demanding) as server:
        trusted = {"nats_ca_file": signer.file}
        async with brokered(server.url, nats_cert_file=cert, nats_key_file=key, **trusted) as broker:
            await broker.ping()
        assert "NATS_CERT_FILE" in await fault_of(server.url, **trusted)
        foreign = await fault_of(server.url, nats_cert_file=foreign_cert, nats_key_file=foreign_key, **trusted)
        assert "does not accept our certificate (NATS_CERT_FILE)" in foreign


async def test_what_was_said_of_a_certificate_holds_while_connections_are_only_cut(
    tmp_path: Path, signer: Authority
) -> None:
    """A reset names no setting."""
    demanding = tls_of(signer, ca_file=str(signer.file), verify=True)
    calls: list[bool] = []
    is_cut = False

    async with ConfiguredNats(tmp_path / "nats", **demanding) as server:

        def server_port() -> int:
            calls.append(is_cut)
            if is_cut:
                wire.tear(0)
            return urlsplit(server.url).port or 0

        wire = Wire(server_port)
        async with wire.laid(), brokered(_through(wire, server.url), nats_ca_file=signer.file) as broker:

            async def says_why() -> bool:
                with pytest.raises(DisconnectedError) as caught:
                    await broker.ping()
                return "NATS_CERT_FILE" in str(caught.value)

            await feed.until(says_why)
            is_cut = True

            async def is_cut_often() -> bool:
                return calls.count(True) > 3

            await feed.until(is_cut_often)
            assert await says_why()


def _through(wire: Wire, url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{wire.port}")).geturl()


async def test_files_are_read_again_at_each_connection(tmp_path: Path, signer: Authority) -> None:
    """A renewed certificate needs no restart; a wrong one leaves the one before in use, in one line."""
    cert, key = signer.certify("receiver")
    demanding = tls_of(signer, ca_file=str(signer.file), verify=True)
    async with ConfiguredNats(tmp_path / "nats", **demanding) as server:
        files = {"nats_ca_file": signer.file, "nats_cert_file": cert, "nats_key_file": key}
        async with brokered(server.url, **files) as broker:
            await broker.ping()
            for text, lines in ((signer.certify("receiver")[0].read_text(), 0), ("nothing", 1)):
                cert.write_text(text)
                connections = broker.connections
                with capture_logs() as logs:
                    await server.stop()
                    await server.start()
                    await until(partial(_is_beyond, broker, connections))
                told = [line["why"] for line in logs if "files for NATS" in line["event"]]
                assert len(told) == lines
                assert all("ESC_RECEIVER_NATS_CERT_FILE" in why for why in told)


async def _is_beyond(broker: Broker, connections: int) -> bool:
    return broker.connections > connections


def test_each_wrong_file_is_one_line_that_names_its_setting(tmp_path: Path, signer: Authority) -> None:
    """Before anything connects, all of them at once."""
    cert, key = signer.certify("receiver")
    expired, expired_key = signer.certify("expired", days=-1)
    _, other_key = signer.certify("other")
    old = Authority(tmp_path, "old", days=-1)
    empty, nowhere = tmp_path / "empty", tmp_path / "nowhere"
    empty.touch()
    for files, setting, what in (
        ({"ca_file": nowhere}, "NATS_CA_FILE", "cannot be read: No such file"),
        ({"ca_file": empty}, "NATS_CA_FILE", "holds no certificate"),
        ({"ca_file": key}, "NATS_CA_FILE", "holds no certificate"),
        ({"ca_file": cert}, "NATS_CA_FILE", "no certificate of an authority"),
        ({"ca_file": old.file}, "NATS_CA_FILE", "expired on"),
        ({"cert_file": cert}, "NATS_CERT_FILE", "is of no use without ESC_RECEIVER_NATS_KEY_FILE"),
        ({"key_file": key}, "NATS_KEY_FILE", "is of no use without ESC_RECEIVER_NATS_CERT_FILE"),
        ({"cert_file": nowhere, "key_file": key}, "NATS_CERT_FILE", "cannot be read"),
        ({"cert_file": expired, "key_file": expired_key}, "NATS_CERT_FILE", "expired on"),
        ({"cert_file": cert, "key_file": nowhere}, "NATS_KEY_FILE", "cannot be read"),
        ({"cert_file": cert, "key_file": cert}, "NATS_KEY_FILE", "holds no private key"),
        ({"cert_file": cert, "key_file": other_key}, "NATS_KEY_FILE", "is not the key of the certificate"),
        ({"cert_file": tmp_path, "key_file": key}, "NATS_CERT_FILE", "cannot be read: Is a directory"),
        ({"credentials": "secret-stuff"}, "NATS_CREDENTIALS", "is no credentials file"),
        ({"credentials": Operator().credentials.replace("SU", "secret-")}, "NATS_CREDENTIALS", "NKEY seed"),
    ):
        with pytest.raises(SettingsError) as caught:
            NatsAccess("nats://127.0.0.1:1", **files).checked()
        (line,) = str(caught.value).splitlines()
        assert line.startswith(f"ESC_RECEIVER_{setting}: "), line
        assert what in line
        assert "secret-" not in line
    with pytest.raises(SettingsError) as caught:
        NatsAccess("nats://127.0.0.1:1", "no", nowhere, cert, other_key).checked()
    assert len(str(caught.value).splitlines()) == 3


# Credentials.


async def test_credentials_of_an_operators_nats(tmp_path: Path) -> None:
    """The text of a `.creds` file; without it, and with another's, NATS says that it does not know us."""
    operator = Operator()
    async with ConfiguredNats(tmp_path / "nats", **operator.configuration) as server:
        async with brokered(server.url_of(), nats_credentials=operator.credentials) as broker:
            await broker.ping()
            assert (await JetStream(broker, Settings()).feed(DATABASE)).owner == DATABASE
        for credentials in ("", Operator().credentials):
            assert "Authorization Violation" in await fault_of(server.url_of(), nats_credentials=credentials)


async def test_tail_has_the_same(tmp_path: Path, signer: Authority) -> None:
    """By options and by the receiver's own variables."""
    cert, key = signer.certify("reader")
    demanding = tls_of(signer, ca_file=str(signer.file), verify=True)
    async with ConfiguredNats(tmp_path / "nats", **demanding) as server:
        access = NatsAccess(server.url, "", signer.file, cert, key)
        client = await nats.connect(server.url, tls=access.checked())
        await client.jetstream().add_stream(name="ESC", subjects=["esc.v1.>"])
        await client.jetstream().publish("esc.v1.vm.alive.lab1._.dep-1.vm-1", b"{}", headers={"ce-id": "1"})
        await client.close()
        files = {"NATS_CA_FILE": signer.file, "NATS_CERT_FILE": cert, "NATS_KEY_FILE": key}
        following = ("--nats-url", server.url, "--from-start", "--limit", "1", "--json")
        options = [part for name, file in files.items() for part in (f"--{name.lower().replace('_', '-')}", str(file))]
        status, output, errors = await tail(*following, *options)
        assert (status, errors) == (0, "")
        assert '"id":"1"' in output
        by_environment = await tail(*following, **{f"ESC_RECEIVER_{name}": str(file) for name, file in files.items()})
        assert by_environment == (status, output, errors)
        status, _, errors = await tail(*following)
        assert (status, len(errors.splitlines())) == (2, 1)
        assert "NATS_CA_FILE" in errors
        status, _, errors = await tail(*following, "--nats-ca-file", str(tmp_path / "nowhere"))
        assert status == 2
        assert "ESC_RECEIVER_NATS_CA_FILE" in errors


@asynccontextmanager
async def _receivers_client(url: str) -> AsyncIterator[Client]:
    async with brokered(url) as broker:
        yield await broker.client()


@asynccontextmanager
async def _consumers_client(url: str) -> AsyncIterator[Client]:
    connection = Connection(url, name="test", connect_timeout_s=feed.PATIENCE_S)
    await connection.open()
    yield connection.client
    await connection.close()


@pytest.mark.parametrize("connected", [_receivers_client, _consumers_client])
async def test_a_cancellation_that_comes_with_the_answer_is_one(
    nats_url: str, connected: Callable[[str], AbstractAsyncContextManager[Client]]
) -> None:
    """`wait_for` of Python 3.11 drops it: a background task went on for ever, and the program did not end."""
    async with connected(nats_url) as client:
        await client.request("$JS.API.INFO", b"", 5)
        asking = asyncio.create_task(client.request("$JS.API.INFO", b"", 5))
        while not client._resp_map:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        (answer,) = client._resp_map.values()
        answer.add_done_callback(lambda _: asking.cancel())
        with pytest.raises(asyncio.CancelledError):
            await asking


async def _ping(url: str) -> None:
    async with brokered(url) as broker:
        await broker.ping()


async def _open(url: str) -> None:
    await Connection(url, name="test", connect_timeout_s=feed.PATIENCE_S).open()


@pytest.mark.parametrize("connect", [_ping, _open])
async def test_who_is_connecting_ends_when_told_to(connect: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    """A proxy takes connections for a NATS that is not there, and ends each: that comes with the cancellation."""
    wire = Wire(free_port)
    async with wire.laid():
        for turns in range(120):
            connecting = asyncio.create_task(connect(f"nats://127.0.0.1:{wire.port}"))
            for _ in range(turns % 40):
                await asyncio.sleep(0)
            connecting.cancel()
            await asyncio.wait([connecting], timeout=feed.PATIENCE_S)
            assert connecting.done(), f"after {turns} turns"


async def test_a_connection_that_is_given_up_half_way_is_closed(tmp_path: Path) -> None:
    """NATS takes it, and says nothing."""
    async with frozen_nats(tmp_path / "nats") as server:
        async with brokered(server.url, nats_connect_timeout_s=0.2) as broker:
            with pytest.raises(DisconnectedError):
                await broker.client()
            await until(partial(is_connected, server.port))
        assert not await is_connected(server.port)


# Permissions.


async def test_what_docs_say_is_enough(tmp_path: Path, postgres_dsn: str, connection: feed.Connection) -> None:
    """A receiver whose user has these permissions and no others publishes, mends, checks and reads consumers."""
    async with ConfiguredNats(tmp_path / "nats", authorization=users_with(FEED_PERMISSIONS)) as server:
        field = ServedFeed(quick_settings(postgres_dsn, tmp_path), connection, server)
        access = {"nats_url": server.url_of("esc", "secret-of-esc"), "verify_interval_s": 0.5}
        field.settings = field.settings.model_copy(update=access)
        with capture_logs() as logs:
            async with field.served() as app:
                await field.traffic(app, 1)
                await field.remove(3)
                try:
                    await until(partial(_has_mended, app))
                except TimeoutError:
                    pytest.fail(f"the hole is not mended: {logs}")
                await readers_of(await app.broker.client(), "ESC")
                # Mended counts what was put into the outbox again: the receiver must be there to publish it.
                await field.assert_complete()
        assert not [line for line in logs if "Permissions" in str(line) or "permissions" in str(line)]


async def _has_mended(app: App) -> bool:
    return bool(app.metrics.registry.get_sample_value("esc_receiver_feed_mended_total", {"loss": "hole"}))


@pytest.mark.parametrize(
    ("lacking", "named"),
    [
        ("$JS.API.STREAM.INFO.*", '"$JS.API.STREAM.INFO.ESC"'),
        ("$JS.API.STREAM.CREATE.*", '"$JS.API.STREAM.CREATE.ESC"'),
        ("esc.v1.>", '"esc.v1.vm.'),
        ("$KV.esc-state.>", '"$KV.esc-state.vm.'),
    ],
)
async def test_a_permission_that_is_lacking_is_named_at_once(
    tmp_path: Path, postgres_dsn: str, connection: feed.Connection, lacking: str, named: str
) -> None:
    """In the words of NATS, long before anything would time out."""
    allowed = [subject for subject in FEED_PERMISSIONS if subject != lacking]
    async with ConfiguredNats(tmp_path / "nats", authorization=users_with(allowed)) as server:
        place = Place(postgres_dsn, server.url_of("esc", "secret-of-esc"), connection)
        async with place.clean_up:
            relay = place.relay(publish_timeout_s=600)
            await place.insert([feed.event(feed.vm())])
            with pytest.raises(NotAllowedError) as caught:
                await relay.run_once()
    assert f"Permissions Violation for Publish to {named}" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_answers_that_may_not_be_heard_are_named_at_once(tmp_path: Path) -> None:
    """Without `_INBOX.>` every request would time out."""
    allowed = users_with(FEED_PERMISSIONS, subscribe=["esc.v1.>"])
    async with ConfiguredNats(tmp_path / "nats", authorization=allowed) as server:
        url = server.url_of("esc", "secret-of-esc")
        async with brokered(url) as broker:
            jetstream = JetStream(broker, Settings(publish_timeout_s=600))
            for _ in range(2):
                with pytest.raises(NotAllowedError, match=r'Violation for Subscription to "_INBOX\.'):
                    await jetstream.feed(DATABASE)
        status, _, errors = await tail("--nats-url", url)
        assert (status, len(errors.splitlines())) == (2, 1)
        assert "permissions violation" in errors


async def test_a_stream_that_an_administrator_made_is_used_as_it_is(
    tmp_path: Path, postgres_dsn: str, connection: feed.Connection
) -> None:
    """With other limits and no right to change them: one warning names what differs and the permission."""
    allowed = [subject for subject in FEED_PERMISSIONS if "CREATE.*" not in subject and "UPDATE" not in subject]
    async with ConfiguredNats(tmp_path / "nats", authorization=users_with(allowed)) as server:
        client = await nats.connect(server.url)
        await client.jetstream().add_stream(name="ESC", subjects=["esc.v1.>"], max_msgs=1_000_000)
        await client.jetstream().create_key_value(bucket="esc-state")
        await client.close()
        place = Place(postgres_dsn, server.url_of("esc", "secret-of-esc"), connection)
        with capture_logs() as logs:
            async with place.clean_up:
                relay = place.relay()
                for number in range(3):
                    await place.insert([feed.event(feed.vm(f"vm-{number}"))])
                    while (await relay.run_once()).marked:
                        pass
        warned = {line["stream"]: line["why"] for line in logs if "used as it is" in line["event"]}
        assert len([line for line in logs if "used as it is" in line["event"]]) == len(warned) == 2
        assert "max_msgs is 1000000, not -1" in warned["ESC"]
        assert 'Permissions Violation for Publish to "$JS.API.STREAM.UPDATE.ESC"' in warned["ESC"]
        assert len(await feed.stored(server.url)) == 3


async def test_a_stream_that_acknowledges_what_is_not_written_is_refused(nats_url: str) -> None:
    """`persist_mode: async` of nats-server 2.12: an acknowledgement would mean nothing."""
    config = {"name": "ESC", "subjects": ["esc.v1.>"], "persist_mode": "async", "storage": "file"}
    async with brokered(nats_url) as broker:
        await call_api(await broker.client(), "STREAM.CREATE.ESC", config, 5)
        with pytest.raises(StreamRefusedError, match="persist_mode async"):
            await JetStream(broker, Settings()).feed(DATABASE)


# Two databases on one account.


async def test_two_databases_with_the_same_stream(nats_url: str) -> None:
    """The second is told whose it is and what to do; the first one's stream stays as it was."""
    async with brokered(nats_url) as broker:
        first = await JetStream(broker, Settings()).feed(DATABASE)
        with pytest.raises(StreamTakenError, match="SUBJECT_PREFIX") as caught:
            await JetStream(broker, Settings(stream_age_max_s=60)).feed(STRANGER)
        assert "\n" not in str(caught.value)
        assert await JetStream(broker, Settings()).look(DATABASE) == first


async def test_two_databases_with_the_same_subjects(nats_url: str) -> None:
    """JetStream's error 10065 says neither which stream has them, nor what to do."""
    other = {"stream_name": "OTHER", "kv_bucket": "other"}
    async with brokered(nats_url) as broker:
        first = await JetStream(broker, Settings()).feed(DATABASE)
        with pytest.raises(StreamTakenError, match=r"esc\.v1\.> belongs to stream ESC .*SUBJECT_PREFIX"):
            await JetStream(broker, Settings(**other)).feed(STRANGER)  # type: ignore[arg-type]
        apart = JetStream(broker, Settings(subject_prefix="esc.cell-b.v1", **other))  # type: ignore[arg-type]
        assert (await apart.feed(STRANGER)).owner == STRANGER
        assert await JetStream(broker, Settings()).look(DATABASE) == first


async def test_subject_prefix(place: Place) -> None:
    """All subjects of the feed begin with it, for `tail` and for whoever looks a message up, too."""
    relay = place.relay(subject_prefix="esc.cell-b.v1")
    rows = some_of_each()
    await place.insert(rows)
    await relay.run_once()
    found = [message.subject for message in await feed.stored(place.nats_url)]
    assert found == [row.subject.replace("esc.v1.", "esc.cell-b.v1.", 1) for row in rows]
    arguments = ("--nats-url", place.nats_url, "--from-start", "--limit", "1", "--entity", "vm")
    status, output, _ = await tail(*arguments, "--subject-prefix", "esc.cell-b.v1")
    assert status == 0
    assert "vm-1" in output
