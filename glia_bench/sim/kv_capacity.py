"""How many KV blocks a replica has: GPU memory times utilisation, minus weights, minus activations.

As engines compute it, except that they measure the activations in a trial run of a full batch; here they are counted:
what the widest layer holds for every token of the batch, and the logits of every running request in 4 bytes. Left out:
CUDA graphs, communication buffers and fragmentation (a few hundred MiB, which engines take from the same share).
"""

from glia_bench.errors import InvalidSpecError
from glia_bench.sim.latency_parts import Gpu, Model

_BYTES = 2
_LOGIT_BYTES = 4


def weight_bytes(model: Model, tp: int) -> int:
    """Return the bytes of the weights on each of `tp` GPUs: layers, norms, embedding and LM head."""
    layers = model.layers * (model.layer_weights_on(tp) + 2 * model.hidden)
    tables = 2 * model.vocabulary * model.hidden // tp
    return _BYTES * (layers + tables + model.hidden)


def activation_bytes(model: Model, tp: int, *, token_budget: int, max_running: int) -> int:
    """Return the bytes that a full batch takes on each of `tp` GPUs beside weights and KV cache."""
    per_token = 3 * model.hidden + 3 * model.ffn // tp
    return _BYTES * token_budget * per_token + _LOGIT_BYTES * max_running * model.vocabulary


def kv_bytes_per_token(model: Model, tp: int) -> int:
    """Return the bytes of one token's keys and values on each of `tp` GPUs."""
    _, kv_heads = model.heads_on(tp)
    return 2 * _BYTES * model.layers * kv_heads * model.head_size


def kv_capacity_blocks(
    gpu: Gpu,
    model: Model,
    *,
    tp: int = 1,
    token_budget: int,
    max_running: int,
    utilisation: float = 0.9,
    block_size_tokens: int = 16,
) -> int:
    """Return the KV blocks of a replica of `tp` GPUs.

    Args:
        gpu: Each GPU.
        model: The model, shared out over them.
        tp: Tensor-parallel degree.
        token_budget: Most tokens in one iteration.
        max_running: Most requests that run at once.
        utilisation: Share of the memory that the engine may take.
        block_size_tokens: Tokens per block.

    Raises:
        InvalidSpecError: If the heads cannot be shared out, a number is out of range, or no block fits.
    """
    if not 0 < utilisation <= 1:
        raise InvalidSpecError(f"utilisation must be above 0 and at most 1 (got {utilisation})")
    for name, value in (
        ("token_budget", token_budget),
        ("max_running", max_running),
        ("block_size", block_size_tokens),
    ):
        if value < 1:
            raise InvalidSpecError(f"{name} must be at least 1 (got {value})")
    per_block = kv_bytes_per_token(model, tp) * block_size_tokens
    weights = weight_bytes(model, tp)
    activations = activation_bytes(model, tp, token_budget=token_budget, max_running=max_running)
    allowed = int(gpu.memory_bytes * utilisation)
    blocks = (allowed - weights - activations) // per_block
    if blocks < 1:
        raise InvalidSpecError(
            f"{model.title} at TP {tp} leaves no memory for KV blocks on {tp} x {gpu.title}: {_gib(allowed)} allowed, "
            f"{_gib(weights)} of weights, {_gib(activations)} of activations; use a higher TP or a larger GPU"
        )
    return blocks


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
