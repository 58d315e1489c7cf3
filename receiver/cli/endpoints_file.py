"""`endpoints.json` in the folder of an embedded receiver: where it, its PostgreSQL and its NATS listen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from receiver.embedded.private_files import write_private
from receiver.errors import SetupError

if TYPE_CHECKING:
    from receiver.config.settings import Settings

ENDPOINTS = "endpoints.json"


def forget_endpoints(folder: Path) -> None:
    """Nothing is served from here now, or not yet."""
    (folder / ENDPOINTS).unlink(missing_ok=True)


def write_endpoints(folder: Path, url: str, admin_url: str, settings: Settings) -> None:
    """For other programs on this machine; only the user may read it, as it holds passwords."""
    found = {"http": url, "admin": admin_url, "postgres_dsn": settings.postgres_dsn, "nats_url": settings.nats_url}
    write_private(folder / ENDPOINTS, orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())


def read_endpoints(folder: Path, *names: str, what: str) -> dict[str, str]:
    """Those of these names. Raises SetupError, in which `what` says what was looked for."""
    path = folder / ENDPOINTS
    try:
        found = orjson.loads(path.read_bytes())
        return {name: str(found[name]) for name in names}
    except OSError as error:
        raise SetupError(f"{path} cannot be read ({error.strerror}): is an embedded receiver running there?") from error
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise SetupError(f"{path} does not say where {what}") from error
