"""Starved groups: who is compared with whom, and by how much."""

from typing import Any

from glia_bench.scoring.starvation import starved_groups


def trial(seed: int, groups: dict[str, dict[str, tuple[int, float]]], status: str = "ok") -> dict[str, Any]:
    """Return what is read of a trial record: groups as kind to name to (requests, mean slowdown)."""
    found = {
        kind: {name: {"num_requests": count, "slowdown_mean": slowdown} for name, (count, slowdown) in of_kind.items()}
        for kind, of_kind in groups.items()
    }
    return {"seed": seed, "load": 1.0, "status": status, "groups": found}


def test_a_group_is_starved_above_125_percent_of_the_reference() -> None:
    """Exactly 1.25 times is allowed, a little more is not; a group that does better is of no concern."""
    plain = [trial(0, {"tenant": {"0": (10, 4.0), "1": (10, 4.0), "2": (10, 4.0)}})]
    ours = [trial(0, {"tenant": {"0": (10, 5.0), "1": (10, 5.01), "2": (10, 1.0)}})]
    assert starved_groups(ours, plain) == ["tenant 1"]


def test_means_are_over_the_requests_of_cases_that_both_finished() -> None:
    """Seeds 0 and 1 hold 30 requests at 2 and 10 at 6, so 3 against 2.5; seed 2 failed, seed 3 was not run by both."""
    plain = [trial(seed, {"slo_class": {"chat": (count, 2.5)}}) for seed, count in ((0, 30), (1, 10), (2, 10))]
    ours = [trial(0, {"slo_class": {"chat": (30, 2.0)}}), trial(1, {"slo_class": {"chat": (10, 6.0)}})]
    ours += [
        trial(2, {"slo_class": {"chat": (10, 99.0)}}, status="timeout"),
        trial(3, {"slo_class": {"chat": (9, 99.0)}}),
    ]
    assert starved_groups(ours, plain) == []  # 3 / 2.5 = 1.2
    ours[1] = trial(1, {"slo_class": {"chat": (10, 7.0)}})
    assert starved_groups(ours, plain) == ["slo_class chat"]  # 3.25 / 2.5 = 1.3


def test_without_a_reference_nobody_starves() -> None:
    """A run without the plain reference, and the reference itself, raise no flag."""
    ours = [trial(0, {"prompt_decile": {"1": (10, 50.0)}})]
    assert starved_groups(ours, []) == starved_groups(ours, ours) == []


def test_groups_come_in_an_order_of_their_own() -> None:
    """However a record has them, as made or with sorted keys: by kind, and the second decile before the tenth."""
    names = ["2", "10", "1"]
    plain = [trial(0, {"tenant": {"7": (10, 1.0)}, "prompt_decile": dict.fromkeys(names, (10, 1.0))})]
    ours = [trial(0, {"tenant": {"7": (10, 9.0)}, "prompt_decile": dict.fromkeys(names, (10, 9.0))})]
    assert starved_groups(ours, plain) == ["prompt_decile 1", "prompt_decile 2", "prompt_decile 10", "tenant 7"]
