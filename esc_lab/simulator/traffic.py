"""All the traffic of a run, from one seed: the same lives, ids, messages and faults every time.

Each life draws from a generator of its own, so neither the speed of sending nor the faults change what happens in it.
This file must not know how a receiver judges the messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random

from esc_lab.simulator.delivery_faults import Faults, PlannedDelivery, inject_faults
from esc_lab.simulator.esc_messages import HEADER_STYLES
from esc_lab.simulator.fleet import make_tenant
from esc_lab.simulator.lives import Habits, deployment_life, resource_life
from receiver.errors import SettingsError

TENANTS_PER_SOURCE = 3


@dataclass(frozen=True, slots=True)
class Life:
    """All operations of one deployment, or of one series of resources. Every iteration gives the same ones."""

    number: int
    source: str
    length: int
    """How many operations it has."""
    seed: int
    habits: Habits
    faults: Faults
    of_resources: bool

    def __iter__(self) -> Iterator[PlannedDelivery]:
        rng = Random(f"{self.seed}/{self.number}")  # noqa: S311 -- must be repeatable, guards nothing
        fault_rng = Random(f"{self.seed}/{self.number}/faults")  # noqa: S311 -- likewise
        tenant = make_tenant(self.source, rng.randrange(TENANTS_PER_SOURCE))
        live = resource_life if self.of_resources else deployment_life
        for operation in live(self.source, tenant, f"{self.number:04d}", self.length, habits=self.habits, rng=rng):
            yield inject_faults(operation, self.faults, fault_rng)


class Traffic:
    """The lives of a run: `deployments` of deployments and, for every four of them, one of resources."""

    def __init__(
        self,
        seed: int,
        *,
        sources: Sequence[str] = ("default",),
        deployments: int = 10,
        operations: int = 8,
        faults: Faults | None = None,
        header_style: str = "printed",
        suspected: bool = False,
    ) -> None:
        """Raises SettingsError for options that make no traffic."""
        if not sources or deployments < 1 or operations < 1:
            raise SettingsError("there must be at least one source, one deployment and one operation")
        if header_style not in HEADER_STYLES:
            raise SettingsError(f"header style {header_style!r} is none of {', '.join(HEADER_STYLES)}")
        self.seed = seed
        self.sources = tuple(sources)
        self.deployments = deployments
        self.operations = operations
        self.faults = faults or Faults()
        self.habits = Habits(header_style, suspected)
        self.size = deployments + max(1, deployments // 4)
        """How many lives run side by side."""

    def lives(self, *, endless: bool = False) -> Iterator[Life]:
        """The `size` lives of the run; `endless`: one after the other for ever."""
        return map(self.life, count()) if endless else map(self.life, range(self.size))

    def life(self, number: int) -> Life:
        """The life of this number, in any order."""
        # The lives of resources stand among the others, not behind them.
        of_resources = number % self.size % 5 == min(4, self.size - 1)
        source = self.sources[number % len(self.sources)]
        return Life(number, source, self.operations, self.seed, self.habits, self.faults, of_resources)
