"""What things cost: processor time, memory and disk, each with where it was measured. The only constants of the model.

Core. Processor time is in us of one core of a shared x86-64 machine, memory in bytes. They are of runs that were made
together, of commit 82814d7; a run on a slower day (`python -m deploy.capacity --measured` says how far they are from
one, and what they would have to be) is no reason to change some of them. `tests/capacity` holds them to docs/results.
"""

from __future__ import annotations

from typing import Final

GATEWAY_DELIVERY_US: Final = 7.4
"""One frame to one session through a gateway: `make bench-gateway`, one message at a time."""
GATEWAY_COPY_US: Final = 210.0
"""One envelope taken from RabbitMQ by one node, decoded, encoded once: `make bench-10k`, less the deliveries.

With less to do at once it is more: 700 to 1,000 at 108/s, a node's idle work among it (`make bench-scale`, nodes).
"""
GATEWAY_SEND_US: Final = 210.0
"""One message taken from its sender, judged, put into the log and acknowledged: `make bench-10k`, less the rest."""
GATEWAY_SESSION_US_PER_S: Final = 4.0
"""An idle session: a heartbeat each 41 s and its share of checkpoints."""
GATEWAY_SESSION_BYTES: Final = 5_500
"""An idle session: `make bench-gateway` at 10,000."""
GATEWAY_BASE_BYTES: Final = 95_000_000
"""A node without sessions: `make bench-10k`."""
NGINX_DELIVERY_US: Final = 8.9
"""One frame through the front door: `make bench-10k`."""
NGINX_SESSION_BYTES: Final = 17_500
"""One WebSocket through the front door: `make bench-10k`."""
HISTORY_US: Final = 635.0
"""One message in a busy worker: `make bench-10k`. One that has few at once to store needs more (1,960 at 137/s)."""
DATABASE_US: Final = 1_710.0
"""One message on the embedded database, in a channel of its own: `make bench-10k`."""
BROKER_US: Final = 943.0
"""One message through RabbitMQ: the log's quorum queue, the exchange and its copies: `make bench-10k`."""
BROKER_COPY_US: Final = 58.0
"""One more copy of an envelope for one more node, of a busy broker, whose copies go together: estimated.

At 108/s, where each goes alone, it is 300 (`make bench-scale`, nodes).
"""
GROUPS_US: Final = 20.0
"""What groups is asked per message, for authors whom a worker has not heard for a while: `make bench-10k`."""
JOIN_US: Final = {"gateway": 257.0, "broker": 123.0, "database": 97.0, "groups": 47.0, "history": 30.0, "redis": 10.0}
"""One session that comes: `make bench-gateway`, a join of who is bound still."""
MESSAGE_BYTES: Final = 350
"""One message on disk, of about 80 characters: `make bench-history`, 263 to 473."""
REDIS_US: Final = 17.0
"""What one message leaves in Redis: checkpoints of positions, shared by all of their time: `make bench-10k`."""
MEMBERSHIP_BYTES: Final = 2_500
"""One user in one group on disk, streams and projections: as seeded by `make bench-10k`."""
FRAME_BYTES: Final = 640
"""A message of about 80 characters as a frame."""
FEWEST_SHARDS: Final = 16
MOST_SHARDS: Final = 256
"""What the settings allow (`STARLING_BUS__SHARDS`)."""
