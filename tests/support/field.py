"""Callbacks as people who run ESC report them, in shorthand: a few words make a POST with ESC's headers.

`dep` is a stage of a deployment, `ev` an event with whatever stands inside it. What they make can be posted, stored in
PostgreSQL, or decided without either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from uuid_utils.compat import uuid7

from receiver.model.entities import Decision
from receiver.model.envelope import Envelope
from receiver.model.notification import Notification
from receiver.parsing.parsed_callback import ParsedCallback, read
from tests.support.batches import decisions, keeping
from tests.support.lifecycle import World
from tests.support.samples import RECEIVED_AT, envelope

DEPTH_MAX = 64
NAMES = (
    "<deployment_name>dep</deployment_name><external_deployment_id>e1</external_deployment_id>"
    "<internal_deployment_id>d1</internal_deployment_id><internal_tenant_id>ten</internal_tenant_id>"
)
"""Of the one deployment that these callbacks are about."""


@dataclass(frozen=True, slots=True)
class Post:
    """One POST: where to, its body, and the headers of ESC."""

    path: str
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def envelope(self, number: int = 0, at_s: float | None = None) -> Envelope:
        """As it is received; `number` tells apart what is posted twice, and orders it in time."""
        raw = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        at = RECEIVED_AT + timedelta(seconds=number if at_s is None else at_s)
        receipt = uuid7(nanoseconds=int(at.timestamp() * 1_000) * 1_000_000)
        return envelope(self.body.encode(), raw, received_at=at, receipt=receipt)


def dep(
    txn: str,
    stage: str,
    service: str,
    vm: str = "",
    uuid: str = "",
    state: str = "",
    *,
    code: int = 200,
    group: str = "",
) -> Post:
    """`dep TXN STAGE SERVICE_STATE [VM UUID VM_STATE] [CODE]`."""
    said = {"vm_name": vm, "vm_uuid": uuid, "vm_group_name": group, "vm_state_machine_state": state}
    details = "".join(f"<{name}>{value}</{name}>" for name, value in said.items() if value)
    body = (
        f"<deployment>{NAMES}<deployment_details>{details}</deployment_details><deployment_stage>{stage}"
        f"</deployment_stage><service_state_machine_state>{service}</service_state_machine_state></deployment>"
    )
    return Post("/esc/default/callback", body, _headers(txn, code))


def ev(txn: str, event: str, inner: str = "", code: int = 200, names: str = NAMES) -> Post:
    """`ev TXN EVENT INNER [CODE]`."""
    body = f"<esc_event>{names}<event_type>{event}</event_type>{inner}</esc_event>"
    return Post("/esc/default/events", body, _headers(txn, code))


def source(name: str = "", uuid: str = "", group: str = "") -> str:
    """The block `vm_source`."""
    return _side("vm_source", name, uuid, group)


def target(uuid: str = "", host: str = "", group: str = "", name: str = "") -> str:
    """The block `vm_target`."""
    return _side("vm_target", name, uuid, group, host)


def living(*names: str) -> list[Post]:
    """A service that is up, with these VMs (one, `a`, unless named), each of group `g-<name>`, by operation `d`."""
    posts = []
    for name in names or ("a",):
        said = (name, f"u-{name}")
        posts += [
            dep("d", "VM_DEPLOYED", "SERVICE_DEPLOYING_STATE", *said, "VM_INERT_STATE", group=f"g-{name}"),
            dep("d", "VM_ALIVE", "SERVICE_INERT_STATE", *said, "VM_ALIVE_STATE", group=f"g-{name}"),
        ]
    return [*posts, dep("d", "SERVICE_ALIVE", "SERVICE_ACTIVE_STATE")]


def notifications(posts: Iterable[Post], first: int = 0) -> list[Notification]:
    """What they say, received in this order, one a second."""
    callbacks = (read(post.envelope(number), DEPTH_MAX) for number, post in enumerate(posts, first))
    return [callback.notification for callback in callbacks if callback.notification]


def world(*posts: Post) -> World:
    """What is known after them, decided without a database."""
    known = World()
    known.hear(*notifications(posts))
    return known


async def stored(
    dsn: str, posts: Iterable[Post], together: int = 1, *, first: int = 0, **settings: Any
) -> list[Decision]:
    """Decided and written in PostgreSQL as a receiver does, so many in one transaction; the first at second `first`."""
    waiting: list[ParsedCallback] = [read(post.envelope(number), DEPTH_MAX) for number, post in enumerate(posts, first)]
    decided: list[Decision] = []
    async with keeping(dsn, **settings) as writer:
        for begin in range(0, len(waiting), together):
            decided += await decisions(writer, waiting[begin : begin + together])
    return decided


def _headers(txn: str, code: int | None) -> dict[str, str]:
    said = {"ESC-Transaction-Id": txn, "ESC-Status-Code": str(code or ""), "ESC-Status-Message": "a message"}
    return {name: value for name, value in said.items() if value}


def _side(block: str, name: str, uuid: str, group: str, host: str = "") -> str:
    said = {"vm_name": name, "vm_uuid": uuid, "vm_group_name": group, "host_name": host}
    return f"<{block}>{''.join(f'<{key}>{value}</{key}>' for key, value in said.items() if value)}</{block}>"
