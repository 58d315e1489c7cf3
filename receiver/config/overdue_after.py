"""How long each kind of operation may be silent before it is overdue: the defaults, and how they are checked.

Values only. This file must not know when an operation is of which kind (`lifecycle`), nor what is done when it is
overdue. A test compares its kinds with those of the lifecycle's tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PositiveFloat

from receiver.config.text_forms import parse_json

OVERDUE_AFTER_S: Mapping[str, float] = MappingProxyType(
    # A VM is seen alive `bootup_time` (300 s) after it was created, and ESC tries to recover it 3 times, by reboot and
    # then anew, before it gives up: most of an hour, of which the deploy's own messages may tell nothing.
    dict.fromkeys(("deploy", "update", "scale_out", "recovery", "resource", "default"), 3_600)
    # All that was heard so far may be an update's first step: monitoring alone is done with its first message.
    | dict.fromkeys(("enable_monitoring", "disable_monitoring"), 3_600)
    | dict.fromkeys(("start", "reboot", "start_vm", "reboot_vm", "undeploy", "scale_in"), 1_800)
    | dict.fromkeys(("stop", "stop_vm", "registration", "unregistration"), 900)
)
"""In seconds, by kind (docs/esc-callbacks.md#6.4); `resource` is for tenants, networks …, `default` for what is not
listed."""


def _checked(given: dict[str, float]) -> dict[str, float]:
    """The time of every kind: as given, else the given `default`, else our default."""
    for kind in given.keys() - OVERDUE_AFTER_S.keys():
        close = get_close_matches(kind, OVERDUE_AFTER_S, n=1)
        raise ValueError(f"no kind of operation is called {kind}" + (f"; did you mean {close[0]}?" if close else ""))
    others = dict.fromkeys(OVERDUE_AFTER_S, given["default"]) if "default" in given else OVERDUE_AFTER_S
    return {**others, **given}


OverdueAfter = Annotated[dict[str, PositiveFloat], BeforeValidator(parse_json), AfterValidator(_checked)]
