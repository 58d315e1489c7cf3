"""The callbacks in `tests/callbacks/`: printed, repaired, reconstructed and broken ones, and replays of them.

`index.tsv` says of each what it is; `sequences.tsv` lists replays with the expected end. Values only.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from uuid import UUID

from receiver.model.envelope import Envelope, read_head

FOLDER = Path(__file__).parents[1] / "callbacks"
HEADER_BYTES_MAX = 262_144
RECEIVED_AT = datetime(2026, 1, 1, tzinfo=UTC)
RECEIPT = UUID("01960000-0000-7000-8000-000000000000")


@dataclass(frozen=True, slots=True)
class Sample:
    """One callback, and its row of the index."""

    name: str
    """The file without its ending, e.g. `seed-04-deploy-vm-deployed` or `malformed/xxe`."""
    body: bytes
    headers: Mapping[str, str]
    family: str
    channel: str
    event: str
    """The stage or event type as the body spells it; empty when it has none."""
    provenance: str
    notes: str

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """As a server hands them on."""
        return [(name.encode(), value.encode()) for name, value in self.headers.items()]


@dataclass(frozen=True, slots=True)
class Sequence:
    """A replay, and how it ends, in words."""

    scenario: str
    samples: tuple[Sample, ...]
    expected_end: str


def envelope_of(sample: Sample, **changed: object) -> Envelope:
    """The sample as it is kept; `changed` takes the place of fields."""
    return envelope(sample.body, sample.raw_headers, **changed)


def envelope(body: bytes, raw_headers: list[tuple[bytes, bytes]] | None = None, **changed: object) -> Envelope:
    """Bytes as they are kept when they are posted to `/`."""
    whole = Envelope.of(
        read_head(raw_headers or [], HEADER_BYTES_MAX), receipt=RECEIPT, received_at=RECEIVED_AT, source="default",
        channel=None, remote="127.0.0.1", ref=None, body=body, redacted=False,
    )  # fmt: skip
    return whole._replace(**changed)  # type: ignore[arg-type]  # a wrong field fails at once


def _rows(file: str) -> list[dict[str, str]]:
    with (FOLDER / file).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def _sample(row: Mapping[str, str]) -> Sample:
    path = FOLDER / row["file"]
    return Sample(
        name=row["file"].rpartition(".")[0],
        body=path.read_bytes(),
        headers=MappingProxyType(json.loads(path.with_suffix(".headers").read_text(encoding="utf-8"))),
        family=row["family"],
        channel=row["channel"],
        event=row["stage_or_event_type"].partition(" ")[0],
        provenance=row["provenance"],
        notes=row["notes"] or "",
    )


SAMPLES: Mapping[str, Sample] = MappingProxyType(
    {sample.name: sample for sample in map(_sample, _rows("index.tsv"))},
)
MALFORMED = tuple(sample for sample in SAMPLES.values() if sample.family == "malformed")
WELL_FORMED = tuple(sample for sample in SAMPLES.values() if sample.family != "malformed")
SEQUENCES = tuple(
    Sequence(
        row["scenario"],
        tuple(SAMPLES[file.removesuffix(".xml")] for file in row["files_in_order"].split()),
        row["expected_end"],
    )
    for row in _rows("sequences.tsv")
)
