"""PostgreSQL with TLS: `sslmode` and `sslrootcert` of the DSN do as libpq's, with a real server."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from receiver.config.settings import Settings
from receiver.embedded.servers import EmbeddedPostgres, _account, _give
from receiver.errors import SetupError
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
        for query, word in (
            (f"?sslmode=verify-full&sslrootcert={quote(str(stranger.file))}", "certificate"),
            (f"?sslmode=verify-full&sslrootcert={quote(str(tmp_path / 'nothing'))}", "sslrootcert|No such file|root"),
        ):
            database = Database(Settings(postgres_dsn=postgres.dsn + query), Metrics())
            await database.open()
            with pytest.raises(SetupError, match=word) as caught:
                await database.ping()
            assert "\n" not in str(caught.value)
            assert postgres.dsn.split("@")[0] not in str(caught.value)
            await database.close()
