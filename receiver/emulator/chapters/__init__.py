"""Every operation of every chapter of the ESC document, as rows of one table."""

from __future__ import annotations

from collections.abc import Sequence

from receiver.emulator.chapters.deployments import DEPLOYMENTS
from receiver.emulator.chapters.resources import RESOURCES
from receiver.emulator.chapters.snapshots import SNAPSHOTS
from receiver.emulator.chapters.system import SYSTEM
from receiver.emulator.chapters.vims import VIMS
from receiver.emulator.table import Row

ROWS: Sequence[Row] = tuple(sorted((*RESOURCES, *DEPLOYMENTS, *SNAPSHOTS, *SYSTEM, *VIMS), key=lambda row: row.chapter))
"""In the order of the document's chapters."""
