"""nats-servers that ask for something: TLS, a client's certificate, credentials; or that forbid something."""

from __future__ import annotations

import base64
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]
import orjson
import psutil

from receiver.embedded.servers import EmbeddedNats

ADMIN = {"user": "admin", "password": "secret-of-admin"}
INBOX = ["_INBOX.>"]
FEED_PERMISSIONS = [
    "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.UPDATE.*", "$JS.API.STREAM.PURGE.*",
    "$JS.API.STREAM.NAMES", "$JS.API.STREAM.MSG.GET.*", "$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.INFO.>",
    "$JS.API.CONSUMER.MSG.NEXT.>", "$JS.API.CONSUMER.LIST.*", "esc.v1.>", "$KV.esc-state.>",
]  # fmt: skip
"""What a receiver publishes to (docs/operations.md#nats-permissions)."""


class ConfiguredNats(EmbeddedNats):
    """One whose configuration the test completes; without accounts or credentials it asks for the usual secret."""

    def __init__(self, folder: Path, *, open_to_all: bool = False, **configuration: Any) -> None:
        super().__init__(folder)
        self._given = configuration
        self._open = open_to_all

    @property
    def url(self) -> str:
        """For whoever may do everything."""
        return self.url_of(**ADMIN) if "authorization" in self._given else super().url

    def url_of(self, user: str = "", password: str = "", scheme: str = "nats") -> str:
        """For this user."""
        account = f"{user}:{password}@" if user else ""
        return f"{scheme}://{account}127.0.0.1:{self.port}"

    def _configuration(self) -> dict[str, object]:
        usual = super()._configuration()
        if self._open or {"authorization", "accounts", "operator"} & set(self._given):
            usual.pop("authorization")
        return usual | self._given


def users_with(publish: Sequence[str], subscribe: Sequence[str] = INBOX) -> dict[str, object]:
    """An administrator, and `esc` who may do no more than this."""
    permissions = {"publish": {"allow": list(publish)}, "subscribe": {"allow": list(subscribe)}}
    return {"users": [ADMIN, {"user": "esc", "password": "secret-of-esc", "permissions": permissions}]}


class Operator:
    """Keys and tokens of a NATS with an operator: its configuration, and the credentials of its one user."""

    def __init__(self) -> None:
        operator, system, account, user = (_key(prefix) for prefix in ("O", "A", "A", "U"))
        everything = {
            "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1, "subs": -1, "conn": -1, "data": -1,
            "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "leaf": -1,
        }  # fmt: skip
        operator_token = _token(operator, operator, "operator", {})
        system_token = _token(operator, system, "account", {})
        account_token = _token(operator, account, "account", {"limits": everything})
        user_token = _token(account, user, "user", {"subs": -1, "data": -1, "payload": -1})
        seed = user.seed.decode()
        self.credentials = (
            f"-----BEGIN NATS USER JWT-----\n{user_token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
        self.configuration: dict[str, Any] = {
            "operator": operator_token, "resolver": "MEMORY", "system_account": _id(system),
            "resolver_preload": {_id(account): account_token, _id(system): system_token},
        }  # fmt: skip


def _key(kind: str) -> Any:
    prefixes = {"O": nkeys.PREFIX_BYTE_OPERATOR, "A": nkeys.PREFIX_BYTE_ACCOUNT, "U": nkeys.PREFIX_BYTE_USER}
    return nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), prefixes[kind])))


def _id(key: Any) -> str:
    return str(key.public_key.decode())


def _token(issuer: Any, subject: Any, kind: str, facts: Mapping[str, Any]) -> str:
    claims = {"jti": "x", "iat": int(time.time()), "iss": _id(issuer), "name": kind, "sub": _id(subject),
              "nats": {"type": kind, "version": 2, **facts}}  # fmt: skip
    said = f"{_text(orjson.dumps({'typ': 'JWT', 'alg': 'ed25519-nkey'}))}.{_text(orjson.dumps(claims))}"
    return f"{said}.{_text(issuer.sign(said.encode()))}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@asynccontextmanager
async def frozen_nats(folder: Path) -> AsyncIterator[EmbeddedNats]:
    """A server that takes connections, and says nothing."""
    async with EmbeddedNats(folder) as server:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            yield server
        finally:
            os.kill(server.pid, signal.SIGCONT)


async def is_connected(port: int) -> bool:
    """Whether this process has a connection to it."""
    connections = psutil.Process().net_connections()
    return any(one.raddr[1:] == (port,) and one.status == psutil.CONN_ESTABLISHED for one in connections)
