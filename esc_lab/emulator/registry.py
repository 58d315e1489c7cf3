"""Which function does what, by the names that the rows of the table use. This file must not know what they do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from esc_lab.emulator.esc import Esc
from esc_lab.emulator.handlers import configuration, deployments, mappings, resources, snapshots, system, vims, vms
from esc_lab.emulator.work_items import Call, Reply

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
