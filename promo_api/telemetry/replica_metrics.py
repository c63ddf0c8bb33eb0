"""The metric of reads from replicas."""

from prometheus_client import Counter

from promo_api.telemetry.metrics import REGISTRY

# A replica has served the read, or why the primary has: the replica lacked a write of the account, was too far behind,
# did not find something, or failed.
RESULTS = ("replica", "own_write", "lag", "not_found", "failed")
_READS = Counter(
    "promo_replica_reads_total", "Reads that a replica may serve, by result", ["result"], registry=REGISTRY
)
# Exist from the start, so that rates include the first event.
_reads = {result: _READS.labels(result) for result in RESULTS}


def replica_read(result: str) -> None:
    """Count a read that a replica may serve."""
    _reads[result].inc()
