"""Which function does what, by the names that the rows of the table use. This file must not know what they do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from receiver.emulator.esc import Esc
from receiver.emulator.handlers import configuration, deployments, mappings, resources, snapshots, system, vims, vms
from receiver.emulator.work import Call, Reply

Handler = Callable[[Esc, Call], Reply]

HANDLERS: Mapping[str, Handler] = {
    **configuration.HANDLERS,
    **deployments.HANDLERS,
    **mappings.HANDLERS,
    **resources.HANDLERS,
    **snapshots.HANDLERS,
    **system.HANDLERS,
    **vims.HANDLERS,
    **vms.HANDLERS,
}
