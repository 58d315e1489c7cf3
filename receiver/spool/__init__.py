"""Where callbacks wait on this machine's disk while PostgreSQL does not take them: one SQLite file.

`spool` is what others use, on the event loop; `spool_file` works in the spool's one thread (`executor`), and knows
what to do when disk or file fail; `table` holds the statements, `records` the form of a callback; `folder` keeps the
files private and whole; `salvage` finds damage that SQLite would pass over and takes over what is left, `page_reader`
reads it past SQLite; `spool_state` is what is known of it: counts, sizes, quota, when it is tried again. `router`
chooses the way of new callbacks, `drainer` brings those in the spool to PostgreSQL.

To look into it by hand, as the receiver's own user, also while the receiver runs:

    sqlite3 -readonly DATA_DIR/spool/spool.db 'SELECT * FROM readable LIMIT 10'

The table behind this view is `callbacks`: `position` (the order of arrival, never used twice), `head` (JSON: receipt,
received_at, source, channel, headers and all else but the body), `body` (the bytes as received, secrets overwritten)
and `checksum` (CRC-32 of head and body). A row is deleted when PostgreSQL has it. Change nothing by hand, and copy the
file together with its `-wal`, which holds the newest rows. Files named `…damaged-…` are what a damaged spool was set
aside as, after what could be read of it was taken over; the receiver never deletes them, nor counts them towards
`spool_bytes_max`.
"""

from receiver.spool.spool import Spool

__all__ = ["Spool"]
