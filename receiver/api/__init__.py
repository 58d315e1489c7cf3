"""The query API: answers for programs (`/api/v1`), and its document for people (`/api/docs`).

`routes` mounts what `endpoints` lists. A request passes `guard` (limits, `tokens`, `parameters`), is answered from
`entity_lists`, `ledger_lists`, `explanation` or `stats` through `read_pool`, and leaves through `answers`. Beside the
requests `ledger_follower` follows the ledger: it wakes `waiters` and feeds `live_feed`. The SQL is in `api.sql`; that
of the lists is put together by `list_sql`.
"""
