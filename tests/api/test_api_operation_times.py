"""Beside an operation stands how long one like it usually takes, and when it is overdue."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tests.lifecycle.test_source import IN, OUT
from tests.support.field import ev, living, source, stored
from tests.support.query_api import deploy, running_api, store

LEARNED = "INSERT INTO learned_durations VALUES ($1, $2, $3, 50, $4, $5, $6)"


def at(text: str) -> datetime:
    """A time of an answer."""
    return datetime.fromisoformat(text)


async def test_an_open_operation_says_what_is_usual_and_when_it_is_due(postgres_dsn: str, connection: Any) -> None:
    """In the list, by itself, and in the explanation of its VM; of the class of its size where that is known."""
    await connection.execute(LEARNED, "default", "deploy", 0, 41.5, 120, 187.0)
    await store(postgres_dsn, deploy("dep-a")[:1])
    async with running_api(postgres_dsn, reorder_window_s=10) as api:
        (listed,) = (await api.get("/operations")).items
        assert (listed["usual_s"], listed["longest_s"]) == (41.5, 187.0)
        assert at(listed["due_at"]) - at(listed["last_seen_at"]) == timedelta(seconds=360)
        alone = (await api.get(f"/operations/default/{listed['transaction_id']}")).body
        assert listed.items() <= alone.items()
        (vm,) = (await api.get("/vms")).items
        story = (await api.get(f"/explain/default/{vm['vm_name']}")).body
        assert (story["operation"], story["expected"]["by"]) == (listed, listed["due_at"])
        assert "A deploy usually takes 42 s there, and 3 min 7 s at the longest." in story["words"]
        due = at(listed["due_at"])
        assert f"It is overdue at {due:%Y-%m-%d %H:%M:%S} UTC if nothing more is heard of it." in story["words"]
    await connection.execute(LEARNED, "default", "deploy", 1, 20.0, 60, 70.0)
    async with running_api(postgres_dsn, reorder_window_s=10) as api:
        (listed,) = (await api.get("/operations")).items
        assert (listed["usual_s"], listed["longest_s"]) == (20.0, 70.0)


async def test_an_ended_one_is_not_due_and_nothing_is_made_up(postgres_dsn: str, connection: Any) -> None:
    """Before anything is learned the setting is the limit, and usual is not known."""
    await store(postgres_dsn, deploy("dep-a"))
    await store(postgres_dsn, deploy("dep-b")[:1])
    async with running_api(postgres_dsn, overdue_after_s={"default": 1_000, "deploy": 2_000}) as api:
        ended, begun = (await api.get("/operations")).items
    assert (ended["due_at"], ended["usual_s"], begun["usual_s"], begun["longest_s"]) == (None, None, None, None)
    assert at(begun["due_at"]) - at(begun["last_seen_at"]) == timedelta(seconds=2_000)


async def test_nothing_is_due_while_the_esc_is_out_of_service(postgres_dsn: str) -> None:
    """Silence begins anew when it is back."""
    await stored(postgres_dsn, [*living(), ev("r", "VM_RECOVERY_INIT", source("a")), OUT])
    async with running_api(postgres_dsn, overdue_after_s={"default": 1_000}) as api:
        (open_one,) = (await api.get("/operations?state=OPEN")).items
        assert open_one["due_at"] is None
        await stored(postgres_dsn, [IN], first=100)
        (open_one,) = (await api.get("/operations?state=OPEN")).items
        (back,) = (await api.get("/sources")).items
        assert at(open_one["due_at"]) == at(back["since"]) + timedelta(seconds=1_000) > at(open_one["last_seen_at"])
