"""The workers of ``harness study run``: processes of this machine, or a Dask cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands import console
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.engines.training import TrainingResult
    from harness.study.config import StudyConfig
    from harness.workers.dask import Cluster
    from harness.workers.dask_connection import Tls
    from harness.workers.local import Workers


def pool(
    config: StudyConfig, workers: int | None, cluster: str | None, **tls: Path | None
) -> Workers[TrainingResult] | Cluster:
    """Return the workers that train a study: processes of this machine, or a Dask cluster.

    Raises:
        UsageError: Options contradict each other, or the packages for a cluster are not installed.
    """
    if cluster is None:
        from harness.engines import training
        from harness.workers.local import Workers, default_count

        if any(tls.values()):
            raise UsageError(
                "--tls-ca, --tls-cert and --tls-key need --cluster",
                "Give the address of the cluster: --cluster ADDRESS.",
            )
        return Workers(workers or default_count(), config.engine, training.run, config.shape)
    if workers is not None:
        cause = "--workers and --cluster cannot be used together"
        raise UsageError(cause, "Give only one of them. A cluster has its own workers.")
    with console.cluster_packages():
        from harness.workers.dask import Cluster

    return Cluster(cluster, config.engine, config.shape, _tls(**tls))


def _tls(tls_ca: Path | None, tls_cert: Path | None, tls_key: Path | None) -> Tls | None:
    if tls_ca is None and tls_cert is None and tls_key is None:
        return None
    if tls_ca is None or tls_cert is None or tls_key is None:
        raise UsageError("--tls-ca, --tls-cert and --tls-key must be given together", "Give all three, or none.")
    from harness.workers.dask_connection import Tls

    return Tls(tls_ca, tls_cert, tls_key)
