"""What goes wrong on purpose: by chance, from the seed, or the next few times, as the control API arms it.

Faults of the work (`vm-fails`, `vm-silent`, `work-fails`, `vm-dies`, `vim-down`) change what happens; faults of the
delivery (`delay`, `double`, `reorder`, `drop`, `truncate`) change what a receiver gets; faults of answers (`answer-…`)
what somebody is told who asks for deployments.
This file must not know any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from esc_lab.chances import happens, read_chances

WORK: Mapping[str, str] = {
    "vm-fails": "a VM of the next deploy or update cannot be made; the failure names no VM",
    "vm-silent": "a VM of the next deploy is made and never answers its monitor",
    "work-fails": "the next work on a resource, a service or a VM fails",
    "vm-dies": "a watched VM of the next deployment dies as soon as that is active, and recovers",
    "vim-down": "the next request that needs the VIM is answered 503, or 500 where the operation has no 503",
}
DELIVERY: Mapping[str, str] = {
    "delay": "the next callback comes later (`--delay`), and others overtake it",
    "double": "the next callback is sent twice",
    "reorder": "the next callback changes place with the one after it",
    "drop": "the next callback is never sent",
    "truncate": "of the next callback only the first half of the body is sent",
}
ANSWERS: Mapping[str, str] = {
    "answer-late": "the next answer about deployments comes only after `--delay`, at whatever pace",
    "answer-wrong": "the next one tells of every deployment and VM that it is in error",
    "answer-empty": "the next one tells of no deployment",
    "answer-garbled": "the next one is a web page, with status 200",
    "answer-cut": "the next one ends in the middle, and with it the connection",
    "answer-huge": "the next one never seems to end: 64 MiB",
    "answer-elsewhere": "the next one is a redirect to another host",
    "answer-401": "the next request for deployments is answered 401, whatever its credentials",
    "answer-503": "the next one is answered 503",
}
NAMES = (*WORK, *DELIVERY, *ANSWERS)


@dataclass(slots=True)
class Faults:
    """`chances` from 0 to 1 by name, and how often each is still to happen for certain."""

    chances: dict[str, float] = field(default_factory=dict)
    armed: dict[str, int] = field(default_factory=dict)
    delay_s: float = 10.0

    @classmethod
    def of(cls, text: str, delay_s: float = 10.0) -> Faults:
        """Reads `vm-fails=0.1,drop=0.05`; raises SettingsError naming every part that is wrong."""
        return cls(read_chances(text, NAMES), delay_s=delay_s)

    def happens(self, name: str, rng: Random) -> bool:
        """Whether this fault is to happen now; one that was armed is used up."""
        if self.armed.get(name, 0):
            self.armed[name] -= 1
            return True
        return happens(self.chances.get(name, 0.0), rng)
