"""The old name of `esc_lab.fixtures`, kept for one release: `pytest_plugins = ["receiver.testing"]` still works.

The service must not import its laboratory, so the new module is only looked up when somebody asks for the old one.
"""

import warnings
from importlib import import_module
from typing import Any

warnings.warn(
    "receiver.testing is now esc_lab.fixtures, and will be gone in the next release", DeprecationWarning, stacklevel=2
)
pytest_plugins = ["esc_lab.fixtures"]


def __getattr__(name: str) -> Any:
    return getattr(import_module("esc_lab.fixtures"), name)
