"""The windows: what the receiver knows, for programs (`/api/v1`) and, as a document, for people (`/api/docs`).

`routes` mounts what `catalogue` lists. A question passes `guard` (limits, `tokens`, `parameters`), is answered from
`entity_lists`, `ledger_lists`, `explain` or `stats` through `reader`, and leaves through `answers`. Beside the
requests `follower` follows the ledger: it wakes `waiters` and feeds `feed`. `openapi` and `docs` are written from
`catalogue`. The SQL is in `receiver/api/api.sql`, but for the lists' conditions, which stand with the lists.
"""

from receiver.api.routes import Api

__all__ = ["Api"]
