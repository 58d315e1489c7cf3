"""What an event carries, as classes: which there is for which entity.

It loads all of them. Must not know how an event came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from esc_receiver_client.models import (
    CallbackEvent,
    DeploymentEvent,
    LedgerEvent,
    OperationEvent,
    ResourceEvent,
    SourceEvent,
    VmEvent,
)


class OtherEvent(BaseModel):
    """What this version of the client does not know: all fields are in `model_extra`."""

    model_config = ConfigDict(extra="allow")
    entity: str | None = None


Data: TypeAlias = (
    DeploymentEvent | VmEvent | OperationEvent | ResourceEvent | SourceEvent | CallbackEvent | LedgerEvent | OtherEvent
)
KINDS: Mapping[str, type[Data]] = {
    "deployment": DeploymentEvent,
    "vm": VmEvent,
    "operation": OperationEvent,
    "resource": ResourceEvent,
    "source": SourceEvent,
    "callback": CallbackEvent,
    "ledger": LedgerEvent,
}
"""The class of each entity's events."""


def data_of(document: Mapping[str, Any], payload: bytes) -> Data:
    """A payload, which says this document."""
    model = KINDS.get(str(document.get("entity")), OtherEvent)
    try:
        return model.model_validate_json(payload)
    except ValidationError:
        return OtherEvent.model_construct(**document)
