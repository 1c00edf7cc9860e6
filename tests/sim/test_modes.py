"""The named engine modes: their rules against the systems that they are called after, and the sizes these ship with."""

from dataclasses import asdict

import pytest

from glia_bench.cluster import EngineSpec
from glia_bench.errors import InvalidSpecError
from glia_bench.sim.modes import MODES, ModeRules, default_sizes, engine, with_mode

SIZES = {"token_budget": 8192, "max_running": 128, "num_blocks": 2240, "block_size_tokens": 16}


def differing(mode: str) -> dict[str, object]:
    """Return the rules in which a mode differs from a plain engine of chunked prefill that admits whatever fits."""
    plain = EngineSpec(
        mode=mode, order="admission", watermark=0.0, admit_after_preemption=True, spare_block=False, **SIZES
    )
    mine = asdict(engine(mode, **SIZES))
    return {name: value for name, value in mine.items() if value != getattr(plain, name)}


@pytest.mark.parametrize(
    ("mode", "rules"),
    [
        ("vllm_v1", {"admit_after_preemption": False}),
        ("vllm_v0", {"watermark": 0.01, "spare_block": True, "chunked_prefill": False, "prefill_first": True}),
        (
            "vllm_v0_vidur",
            {
                "order": "arrival",
                "watermark": 0.01,
                "spare_block": True,
                "chunked_prefill": False,
                "prefill_first": True,
                "padded_budget": True,
            },
        ),
        ("sarathi", {"order": "arrival", "watermark": 0.01}),
        ("sarathi_vidur", {"order": "arrival", "watermark": 0.01, "spare_block": True}),
        ("orca", {"chunked_prefill": False, "reserve_output": True}),
    ],
)
def test_rules(mode: str, rules: dict[str, object]) -> None:
    """Each row says in what its system differs from the plain engine."""
    assert differing(mode) == rules


def test_rows_are_complete() -> None:
    """A row has every rule of the engine, so that changing the mode leaves nothing of the old one."""
    sizes = {"mode", "token_budget", "max_running", "num_blocks", "block_size_tokens", "prefix_caching"}
    for rules in MODES.values():
        assert set(rules) == set(ModeRules.__annotations__) == set(EngineSpec.__dataclass_fields__) - sizes


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("other", MODES)
def test_another_mode_keeps_the_sizes(mode: str, other: str) -> None:
    """`with_mode` gives what `engine` gives for the other mode and the same sizes, prefix caching included."""
    before = engine(mode, prefix_caching=True, **SIZES)
    assert with_mode(before, other) == engine(other, prefix_caching=True, **SIZES)


@pytest.mark.parametrize(
    ("mode", "memory_gib", "is_a100", "sizes"),
    [
        ("vllm_v1", 24, False, (2048, 256)),
        ("vllm_v1", 80, False, (8192, 1024)),
        ("vllm_v1", 80, True, (2048, 256)),
        ("vllm_v1", 192, False, (16384, 1024)),
        ("vllm_v0", 80, False, (4096, 256)),
        ("vllm_v0_vidur", 80, False, (4096, 128)),
        ("sarathi", 80, False, (512, 128)),
        ("sarathi_vidur", 24, False, (512, 128)),
        ("orca", 80, False, (4096 + 128, 128)),
    ],
)
def test_default_sizes(mode: str, memory_gib: float, is_a100: bool, sizes: tuple[int, int]) -> None:
    """Budgets and caps by GPU and by a model of 4096 tokens; every system can be built with its own."""
    found = default_sizes(mode, gpu_memory_gib=memory_gib, max_model_len=4096, is_a100=is_a100)
    assert (found["token_budget"], found["max_running"]) == sizes
    assert engine(mode, num_blocks=1000, **found).max_request_tokens >= 4096


def test_a_short_model_still_fills_a_batch() -> None:
    """The V0 engine of vLLM takes at least 2048 tokens."""
    assert default_sizes("vllm_v0", gpu_memory_gib=24, max_model_len=1024)["token_budget"] == 2048


def test_whole_prompts_bound_the_requests() -> None:
    """Without chunked prefill nothing longer than the budget can be served; with it, memory alone decides."""
    sizes = SIZES | {"token_budget": 2048}
    assert engine("vllm_v1", **sizes).max_request_tokens == 2240 * 16
    assert with_mode(engine("vllm_v1", **sizes), "orca").max_request_tokens == 2048


@pytest.mark.parametrize(
    "ask",
    [
        lambda: engine("vlm_v1", **SIZES),
        lambda: with_mode(engine("orca", **SIZES), "vlm_v1"),
        lambda: default_sizes("vlm_v1", gpu_memory_gib=80, max_model_len=4096),
    ],
)
def test_unknown_modes(ask: object) -> None:
    """A mistyped mode suggests the nearest."""
    with pytest.raises(InvalidSpecError, match=r"no engine mode 'vlm_v1' \(known: sarathi,.*did you mean 'vllm_v1'\?"):
        ask()  # type: ignore[operator]


def test_an_engine_of_the_named_mode_stays_as_it_is() -> None:
    """A task may ship an engine with rules of its own under a mode's name; naming that mode changes nothing."""
    own = EngineSpec(
        mode="vllm_v1", order="arrival", watermark=0.0, admit_after_preemption=False, spare_block=False, **SIZES
    )
    assert with_mode(own, "vllm_v1") is own
    assert with_mode(own, "sarathi").watermark == 0.01
