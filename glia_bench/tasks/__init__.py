"""Tasks: a cluster, a workload, an objective and references, versioned; `catalog` finds them by id."""
