"""Every operation of every chapter of the ESC document, as rows of one table."""

from __future__ import annotations

from collections.abc import Sequence

from esc_lab.emulator.endpoint_model import Row
from esc_lab.emulator.endpoint_tables.deployments import DEPLOYMENTS
from esc_lab.emulator.endpoint_tables.resources import RESOURCES
from esc_lab.emulator.endpoint_tables.snapshots import SNAPSHOTS
from esc_lab.emulator.endpoint_tables.system import SYSTEM

ROWS: Sequence[Row] = tuple(sorted((*RESOURCES, *DEPLOYMENTS, *SNAPSHOTS, *SYSTEM), key=lambda row: row.chapter))
"""In the order of the document's chapters."""
