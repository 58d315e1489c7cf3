"""How fast the receiver is, told by comparison: `make bench`.

Machines differ, and so does one machine from minute to minute; so only ratios count, of programs that were
measured in one run, in rounds that alternate. Beside this service (`serve`, with its relay) stand

- nothing: an aiohttp server that answers 204 and does nothing: what HTTP alone costs in Python;
- ordinary: what one would write first: an aiohttp handler with the same reader and the same statements (without an
  outbox), one transaction for each request, then a JetStream publish that is awaited.

All three have a process and a database of their own, on one PostgreSQL (`fsync` and `synchronous_commit` on) and one
NATS that the run starts in a throw-away folder. A process of its own sends the load: callbacks of 1.2 kB, each the
VM_DEPLOYED of another VM in one of thousands of deployments that are there and whose operation is open. So every
callback is another one, costs one ledger entry and one message on the feed, and waits for no other's row.

A round is closed-loop: each connection sends its next callback when the one before is answered, for a few seconds.
Latency is from the last byte sent to the last byte received. The figures are medians over the rounds; a ratio is the
median of the ratios within each round. After a round of the service its relay is let finish, and what it had left
when the load ended is told: a service that puts work off until after the round would look faster than it is.

Then the time from a POST to its message at a JetStream consumer, at a fixed rate, from the moment the POST was due;
and how quickly a relay publishes what has piled up, while another session holds its lock.
"""
