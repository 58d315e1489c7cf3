"""HTTPS: what clients see, who may post with which certificate, wrong files, and files that change."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from structlog.testing import capture_logs

from receiver.config.loading import load as load_settings
from receiver.config.settings import Settings
from receiver.errors import SettingsError, SetupError
from receiver.http.tls import ListenerTls
from receiver.observability.metrics import Metrics
from receiver.tls.certificates import subject_of, validity_of
from tests.support.certificates import Authority
from tests.support.ingress import serving
from tests.support.waiting import until

PATH = "/esc/default/callback"


class Served:
    """A listener with TLS, and clients of it."""

    def __init__(self, port: int, tls: ListenerTls, metrics: Metrics) -> None:
        self.port, self.tls, self.metrics = port, tls, metrics

    async def post(self, authority: Path, client: tuple[Path, Path] | None = None, path: str = PATH) -> int:
        """The status of a POST by a client that trusts this authority."""
        context = ssl.create_default_context(cafile=authority)
        if client:
            context.load_cert_chain(*client)
        async with aiohttp.ClientSession() as session:
            url = f"https://127.0.0.1:{self.port}{path}"
            async with session.post(url, data=b"<a/>", ssl=context) as answer:
                return answer.status

    async def has_another_expiry(self, before_s: float) -> bool:
        """Whether new files are in use."""
        return self.expiry_s() != before_s

    def expiry_s(self) -> float:
        """As a scrape shows it."""
        return self.metrics.registry.get_sample_value("esc_receiver_tls_certificate_expiry_timestamp_seconds") or 0


@asynccontextmanager
async def served(pair: tuple[Path, Path], **settings: Any) -> AsyncIterator[Served]:
    """A listener with this certificate and key."""
    cert, key = pair
    async with serving(tls_cert_file=cert, tls_key_file=key, tls_check_s=0.02, **settings) as server:
        assert server.tls
        watching = asyncio.create_task(server.tls.run())
        try:
            yield Served(server.port, server.tls, server.metrics)
        finally:
            watching.cancel()


async def test_callbacks_come_over_tls(tmp_path: Path) -> None:
    """A client that trusts the authority posts; one that trusts another does not."""
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    async with served(authority.certify("receiver")) as listener:
        assert await listener.post(authority.file) == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await listener.post(stranger.file)


async def test_curl_posts(tmp_path: Path) -> None:
    """TLS 1.2 and 1.3; older versions are refused."""
    authority = Authority(tmp_path)
    async with served(authority.certify("receiver")) as listener:
        url = f"https://127.0.0.1:{listener.port}{PATH}"
        for versions, status in (
            (["--tlsv1.2", "--tls-max", "1.2"], 0),
            (["--tlsv1.3"], 0),
            (["--tls-max", "1.1"], 35),
        ):
            command = ["curl", "-sSf", "--cacert", str(authority.file), *versions, "-d", "<a/>", url]
            curl = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL, stdout=-3)
            assert await curl.wait() == status


async def test_plain_http_is_not_answered_by_a_tls_listener(tmp_path: Path) -> None:
    """The connection ends; the next client is served."""
    authority = Authority(tmp_path)
    async with served(authority.certify("receiver")) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n<a/>")
        assert b"200" not in await reader.read()
        writer.close()
        assert await listener.post(authority.file) == 200


async def test_with_an_authority_of_clients_who_posts_needs_a_certificate(tmp_path: Path) -> None:
    """Of any subject, or of one that its source names; other paths need none."""
    authority, clients, stranger = Authority(tmp_path), Authority(tmp_path, "clients"), Authority(tmp_path, "stranger")
    sources = {
        "lab": {"subjects": ["CN=esc-1, O=Example\\, Inc.", "CN=esc-2"]},
        "any": {},
    }
    one, two, three = (clients.certify(f"esc-{number}") for number in (1, 2, 3))
    async with served(authority.certify("receiver"), tls_client_ca_file=clients.file, sources=sources) as listener:
        lab = "/esc/lab/callback"
        assert [await listener.post(authority.file, who, lab) for who in (one, two, three, None)] == [
            200,
            200,
            403,
            403,
        ]
        assert [await listener.post(authority.file, who, "/esc/any/events") for who in (three, None)] == [200, 403]
        assert [await listener.post(authority.file, who, "/esc/nosuch/events") for who in (three, None)] == [202, 403]
        assert await listener.post(authority.file, None, "/nowhere") == 404
        assert listener.metrics.registry.get_sample_value("esc_receiver_refused_total", {"reason": "certificate"}) == 4
        for wrong in (stranger.certify("esc-1"), clients.certify("old", days=-1)):
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await listener.post(authority.file, wrong, lab)


async def test_new_files_are_used_without_a_restart(tmp_path: Path) -> None:
    """For new connections, the authority of clients too; the metric follows; those that are open go on."""
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    cert, key = old.certify("receiver", days=5)
    clients = tmp_path / "clients.crt"
    clients.write_bytes(old.file.read_bytes())
    async with served((cert, key), tls_client_ca_file=clients) as listener:
        before_s = listener.expiry_s()
        of_old, of_new = old.certify("esc-old"), new.certify("esc-new")
        async with aiohttp.ClientSession() as session:
            context = ssl.create_default_context(cafile=old.file)
            context.load_cert_chain(*of_old)
            url = f"https://127.0.0.1:{listener.port}{PATH}"
            async with session.post(url, data=b"<a/>", ssl=context) as answer:
                assert answer.status == 200
            new.certify("receiver", days=20)
            clients.write_bytes(new.file.read_bytes())
            await until(partial(listener.has_another_expiry, before_s))
            async with session.post(url, data=b"<a/>", ssl=context) as answer:
                assert answer.status == 200
        assert await listener.post(new.file, of_new) == 200
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await listener.post(new.file, of_old)
        assert listener.expiry_s() == pytest.approx(before_s + 15 * 86_400, abs=60)


async def test_wrong_files_change_nothing_and_are_told(tmp_path: Path) -> None:
    """In one line that names the setting, and by `/readyz`, until they are right again."""
    authority = Authority(tmp_path)
    cert, key = authority.certify("receiver")
    async with served((cert, key)) as listener:
        good = cert.read_bytes()
        cert.write_text("nothing")
        with capture_logs() as lines:
            await listener.tls.reload()
        assert [(line["log_level"], line["why"].split(":")[0]) for line in lines] == [
            ("error", "ESC_RECEIVER_TLS_CERT_FILE")
        ]
        with pytest.raises(SetupError, match="ESC_RECEIVER_TLS_CERT_FILE"):
            await listener.tls.ping()
        assert await listener.post(authority.file) == 200
        cert.write_bytes(good)
        await listener.tls.reload()
        await listener.tls.ping()


WRONG = {
    "no such file": ("tls_cert_file", "no-file", "cannot be read: No such file or directory"),
    "a folder": ("tls_key_file", ".", "cannot be read: Is a directory"),
    "no certificate": ("tls_cert_file", "text", r"holds no certificate \(PEM\) that can be read"),
    "a key for a certificate": ("tls_cert_file", "receiver.key", r"holds no certificate \(PEM\) that can be read"),
    "cut off": ("tls_cert_file", "cut", r"holds no certificate \(PEM\) that can be read"),
    "expired": ("tls_cert_file", "old.crt", r"expired on \d{4}-\d\d-\d\d [\d:]+ UTC"),
    "no key": ("tls_key_file", "receiver.crt", r"holds no private key \(PEM\)"),
    "a broken key": ("tls_key_file", "broken-key", r"cannot be used \(.+\)"),
    "a passphrase": ("tls_key_file", "locked-key", "has a passphrase, which nobody could type in; .*"),
    "another's key": ("tls_key_file", "other.key", "is not the key of the certificate in .*receiver.crt"),
    "no authority": ("tls_client_ca_file", "text", r"holds no certificate \(PEM\) that can be read"),
    "an expired authority": ("tls_client_ca_file", "past.crt", "expired on .*"),
}


@pytest.mark.parametrize(("setting", "name", "fault"), WRONG.values(), ids=WRONG)
def test_each_wrong_file_is_one_line_at_start(tmp_path: Path, setting: str, name: str, fault: str) -> None:
    """It begins with the setting."""
    authority = Authority(tmp_path)
    Authority(tmp_path, "past", days=-1)
    authority.certify("old", days=-1)
    authority.certify("other")
    cert, key = authority.certify("receiver")
    (tmp_path / "text").write_text("nothing")
    (tmp_path / "cut").write_bytes(cert.read_bytes()[:200])
    (tmp_path / "broken-key").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    (tmp_path / "locked-key").write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    files = {"tls_cert_file": cert, "tls_key_file": key, "tls_client_ca_file": authority.file}
    with pytest.raises(SetupError) as caught:
        ListenerTls(Settings.model_validate(files | {setting: tmp_path / name}), Metrics()).open()
    assert re.fullmatch(f"ESC_RECEIVER_{setting.upper()}: {re.escape(str(tmp_path / name))} {fault}", str(caught.value))


def test_all_wrong_files_are_named_at_once(tmp_path: Path) -> None:
    """A line each."""
    files = {name: tmp_path / name for name in ("tls_cert_file", "tls_key_file", "tls_client_ca_file")}
    with pytest.raises(SetupError) as caught:
        ListenerTls(Settings.model_validate(files), Metrics()).open()
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        ({"TLS_CERT_FILE": "c"}, "ESC_RECEIVER_TLS_CERT_FILE: is of no use without tls_key_file"),
        ({"TLS_KEY_FILE": "k"}, "ESC_RECEIVER_TLS_KEY_FILE: is of no use without tls_cert_file"),
        ({"TLS_CLIENT_CA_FILE": "a"}, "ESC_RECEIVER_TLS_CLIENT_CA_FILE: is of no use without tls_cert_file"),
        (
            {"SOURCES": '{"lab": {"subjects": ["CN=x"]}}'},
            "ESC_RECEIVER_SOURCES: subjects of lab are of no use without tls_client_ca_file",
        ),
        (
            {"SOURCES": '{"lab": {"subjects": ["esc-1"]}}'},
            "ESC_RECEIVER_SOURCES.lab.subjects.0: a subject is of the form CN=esc-1,O=Example",
        ),
    ],
)
def test_settings_that_are_of_no_use_alone_are_named(environ: dict[str, str], fault: str) -> None:
    """Before any file is read."""
    given = {"ESC_RECEIVER_POSTGRES_DSN": "postgresql://db/esc"} | {f"ESC_RECEIVER_{k}": v for k, v in environ.items()}
    with pytest.raises(SettingsError) as caught:
        load_settings(None, given)
    assert str(caught.value) == fault


def test_dates_are_those_that_the_library_reads(tmp_path: Path) -> None:
    """Also beyond 2049, where they are written another way."""
    authority = Authority(tmp_path, days=20_000)
    for file in (authority.file, authority.certify("a", days=3)[0]):
        known = x509.load_pem_x509_certificate(file.read_bytes())
        (found,) = validity_of(file.read_text())
        assert found == (known.not_valid_before_utc.timestamp(), known.not_valid_after_utc.timestamp())


def test_a_subject_is_read_as_python_tells_it() -> None:
    """Known attributes by their short names."""
    told = {"subject": ((("organizationName", "Example, Inc."),), (("commonName", "esc-1"), ("serialNumber", "7")))}
    assert subject_of(told) == {("O", "Example, Inc."), ("CN", "esc-1"), ("SERIALNUMBER", "7")}
