"""The bot as in production, on this machine: several processes behind nginx, on their own engines.

``python -m infra.cluster`` starts one to try; tests and benchmarks use :class:`Cluster`.
"""

from infra.cluster.cluster import Cluster, ClusterError

__all__ = ["Cluster", "ClusterError"]
