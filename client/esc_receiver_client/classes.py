"""The classes of `models`, which are loaded when the first of them is used.

To make them takes the processor as long as all else that is imported here. Who reads JSON, or the attributes of events,
never needs them. A type checker sees the classes themselves.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esc_receiver_client.models import *  # noqa: F403 - all of them, by their own names
else:

    def __getattr__(name: str) -> Any:
        """One of them; then it stands here."""
        found = globals()[name] = getattr(import_module("esc_receiver_client.models"), name)
        return found
