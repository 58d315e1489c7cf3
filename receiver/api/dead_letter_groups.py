"""`GET quarantine`: dead letters by source and by why they are some, how many, and how many wait for a person.

The latest are counted, up to a limit. This file must not know HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from receiver.api.read_pool import Reader
from receiver.model.notification import Outcome

COUNTED_MAX = 10_000
GROUPS_MAX = 500
GROUP_TYPES: Mapping[str, Any] = {
    "source": str, "outcome": Outcome, "rule": str, "reason": str, "callbacks": int, "unacknowledged": int,
    "first_at": datetime, "latest_at": datetime, "latest_receipt": UUID,
}  # fmt: skip


async def groups(reader: Reader, query: Mapping[str, Any]) -> dict[str, Any]:
    """The groups with the most that wait first, and the sums of all."""
    rows = await reader.rows(
        "dead_letter_groups", COUNTED_MAX, query["source"], query["outcome"], query["acknowledged"], GROUPS_MAX
    )
    items = [{name: row[name] for name in GROUP_TYPES} for row in rows]
    return {
        "items": items, "callbacks": sum(one["callbacks"] for one in items),
        "unacknowledged": sum(one["unacknowledged"] for one in items), "counted_max": COUNTED_MAX,
    }  # fmt: skip
