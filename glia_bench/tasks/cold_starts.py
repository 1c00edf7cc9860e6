"""How long new replicas take: five presets from a restored snapshot to a node that must be booted first.

Each is a median; a start's two parts share one lognormal factor of sigma 0.2. Provisioning is what happens before the
engine runs (node, container image, scheduling), loading the rest: weights, compilation, CUDA graphs, warm-up. The
totals are chosen here; so is their split, from these published parts.

Sources:
    Weights: 16 GB in 3 to 8 s from local NVMe at 2 to 5 GB/s, 140 GB in 70 to 140 s from an object store at 1 to 2 GB/s
    (sizes over bandwidths). torch.compile 30 to 70 s cold, 5 to 15 s cached, CUDA graphs 10 to 60 s, and measured
    starts of 34 s (3B, compile cache present) and 215 s (70B FP8 on 8 GPUs, page cache hot): issues 20264 and 19824 of
    github.com/vllm-project/vllm. Loading takes 155 s in the simulator of SageServe (SIGMETRICS 2026).
"""

from glia_bench.cluster import ColdStart

FAST = ColdStart(name="fast", provision_s=2.0, load_s=8.0)
"""A warm container and weights from host memory or a peer GPU."""

WARM = ColdStart(name="warm", provision_s=10.0, load_s=35.0)
"""An 8B model on a node that has the image, the compile cache, and the weights on NVMe."""

TYPICAL = ColdStart(name="typical", provision_s=30.0, load_s=120.0)
"""A node in the pool with the image; weights from an object store, compiled anew."""

LARGE = ColdStart(name="large", provision_s=60.0, load_s=240.0)
"""A 70B model on four or eight GPUs."""

COLD_NODE = ColdStart(name="cold_node", provision_s=450.0, load_s=150.0)
"""A node that must be allocated first, and an image that must be pulled."""
