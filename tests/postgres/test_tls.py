"""PostgreSQL with TLS: `sslmode` and `sslrootcert` of the DSN do as libpq's, with a real server."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from receiver.config.settings import Settings
from receiver.embedded.servers import EmbeddedPostgres, _account, _give
from receiver.errors import SettingsError, SetupError
from receiver.observability.metrics import Metrics
from receiver.postgres.database import Database
from tests.support.certificates import Authority

PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
"""Debian's: the bundled one is built without TLS."""
ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One that the server's user may read."""
    made = tmp_path / "postgres"
    made.mkdir(mode=0o711)
    return made


async def test_the_dsn_says_whom_to_trust(tmp_path: Path, folder: Path) -> None:
    """The server's own authority is trusted; another, or another name, is one line without the password."""
    signer, stranger = Authority(folder, "signer"), Authority(tmp_path, "stranger")
    trusted, (cert, key) = signer.file, signer.certify("server")
    for file in (cert, key):
        file.chmod(0o600)
        _give(file, _account(folder))
    options = {"ssl": "on", "ssl_cert_file": str(cert), "ssl_key_file": str(key)}
    async with EmbeddedPostgres(folder, options=options, programs=PROGRAMS) as postgres:
        for query, encrypted in (
            ("", True),
            ("?sslmode=disable", False),
            ("?sslmode=require", True),
            (f"?sslmode=verify-ca&sslrootcert={quote(str(trusted))}", True),
            (f"?sslmode=verify-full&sslrootcert={quote(str(trusted))}", True),
        ):
            database = Database(Settings(postgres_dsn=postgres.dsn + query), Metrics())
            await database.open()
            async with database.acquire() as connection:
                assert await connection.fetchval(ENCRYPTED) is encrypted, query
            await database.ping()
            await database.close()
        for query, word in ((f"?sslmode=verify-full&sslrootcert={quote(str(stranger.file))}", "certificate"),):
            database = Database(Settings(postgres_dsn=postgres.dsn + query), Metrics())
            await database.open()
            with pytest.raises(SetupError, match=word) as caught:
                await database.ping()
            assert "\n" not in str(caught.value)
            assert postgres.dsn.split("@")[0] not in str(caught.value)
            await database.close()


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("sslrootcert={folder}/nothing", "/nothing cannot be read: No such file or directory (sslrootcert)"),
        ("sslrootcert={folder}/text", "/text holds no certificate (PEM) that can be read (sslrootcert)"),
        ("sslrootcert={folder}/past.crt", " UTC (sslrootcert)"),
        ("sslcert={folder}/nothing", "/nothing cannot be read: No such file or directory (sslcert)"),
        ("sslcert={folder}/expired.crt", " UTC (sslcert)"),
    ],
)
async def test_each_wrong_file_is_one_line_at_start(tmp_path: Path, query: str, fault: str) -> None:
    """It begins with the setting and shows no password."""
    Authority(tmp_path, "past", days=-1)
    Authority(tmp_path).certify("expired", days=-1)
    (tmp_path / "text").write_text("nothing")
    dsn = f"postgresql://esc:secret@127.0.0.1:1/esc?sslmode=verify-full&{query.format(folder=tmp_path)}"
    with pytest.raises(SettingsError) as caught:
        await Database(Settings(postgres_dsn=dsn), Metrics()).open()
    assert str(caught.value).startswith(f"ESC_RECEIVER_POSTGRES_DSN: {tmp_path}")
    assert str(caught.value).endswith(fault)
    assert "secret" not in str(caught.value)
