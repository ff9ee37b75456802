"""The states that a payment goes through, and the keys of the index where those in flight are.

    validated -> processing -> processed
                      |-----> declined
                      \\-----> pending -> processed, declined or canceled
    validated -> canceled

Nothing goes back to validated: a payment whose charge did not come to an end stays in processing,
with a lease that expires, and in the index of what is in flight, so that someone finds it. A
payment is pending while its customer, or a bank, has yet to do something; it is in the index too,
with the moment of the next look as the end of its lease.
"""

from __future__ import annotations

import zlib

VALIDATED = "validated"
PROCESSING = "processing"
PROCESSED = "processed"
DECLINED = "declined"
PENDING = "pending"
CANCELED = "canceled"
SETTLED = frozenset({PROCESSED, DECLINED, CANCELED})

IN_FLIGHT_SHARDS = 16
IN_FLIGHT_KEYS = tuple(f"{PROCESSING}#{shard}" for shard in range(IN_FLIGHT_SHARDS))
# Of their own, so that the release before this one, which does not know them, leaves them alone.
PENDING_KEYS = tuple(f"{PENDING}#{shard}" for shard in range(IN_FLIGHT_SHARDS))

# The index keys of payments that the scheduled run only counts, until somebody looks after them.
STUCK = "stuck"
MISMATCHED = "mismatched"
UNREADABLE = "unreadable"
ASIDE_KEYS = (STUCK, MISMATCHED, UNREADABLE)
# The index key of payments that have been pending for longer than a day. They are counted like
# those above, and looked at all the same.
OVERDUE = "overdue"


def in_flight_key(transaction_id: str) -> str:
    """Return the index key of a payment in processing, stable for its id."""
    return IN_FLIGHT_KEYS[_shard(transaction_id)]


def pending_key(transaction_id: str) -> str:
    """Return the index key of a pending payment, stable for its id."""
    return PENDING_KEYS[_shard(transaction_id)]


def _shard(transaction_id: str) -> int:
    return zlib.crc32(transaction_id.encode()) % IN_FLIGHT_SHARDS
