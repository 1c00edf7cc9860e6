"""Which constants a text declares as tunable, what is wrong with a declaration, and texts with other values."""

import ast

import pytest

from glia_bench.errors import InvalidPolicyError
from glia_bench.loading import load_policy, policy_from_source, with_other_constants
from glia_bench.tunables import Tunable, tunables, with_constants

ROUTE = "def route(request, replicas, cluster, memory):\n    return int(THETA) + GROWTH\n"
TEXT = '"""Ümlaut."""\nTHETA = 0.5; GROWTH = 3  # both\nLOW: float = -2.5\nSHAPE = (1, 2)\n' + ROUTE


def declared(text: str) -> tuple[Tunable, ...]:
    """Return what a text declares."""
    return tunables(ast.parse(text), "p.py")


def test_ranges_take_the_type_of_their_default() -> None:
    """Whole numbers stay whole, others are floats; the third entry asks for a logarithmic scale."""
    ranges = 'TUNABLE = {"THETA": (0, 1), "GROWTH": (1, 8, "log"), "LOW": (-3, 0)}\n'
    assert declared(TEXT + ranges) == (
        Tunable(name="THETA", default=0.5, low=0.0, high=1.0),
        Tunable(name="GROWTH", default=3, low=1, high=8, is_log=True),
        Tunable(name="LOW", default=-2.5, low=-3.0, high=0.0),
    )
    assert [type(t.low) for t in declared(TEXT + ranges)] == [float, int, float]
    assert declared(TEXT) == ()


@pytest.mark.parametrize(
    ("ranges", "parts"),
    [
        ("[1]", ["line 7: TUNABLE must be a dict of ranges", "(got [1])", "write TUNABLE ="]),
        ("dict(THETA=(0, 1))", ["all written out"]),
        ("{1: (0, 1)}", ["must be a dict of ranges"]),
        ('{"THETTA": (0, 1)}', ["names 'THETTA'", "did you mean 'THETA'?"]),
        ('{"SHAPE": (0, 1)}', ["names 'SHAPE'", "with a plain number"]),
        ('{"THETA": (0.6, 0.9)}', ["the range of THETA must rise and hold its default 0.5 (got (0.6, 0.9))"]),
        ('{"THETA": (0.5, 0.5)}', ["must rise"]),
        ('{"THETA": (0.0, 0.9, "log")}', ["must rise above 0"]),
        ('{"THETA": (0.0, 0.9, "lg")}', ["two numbers"]),
        ('{"THETA": 0.5}', ["two numbers", "(got 0.5)"]),
        ('{"THETA": (0, 1e999)}', ["two numbers"]),
        ('{"GROWTH": (0.0, 8)}', ["two whole numbers, as its default is one"]),
        ('{"GROWTH": (True, 8)}', ["two whole numbers"]),
        (str({f"A{k}": (0, 1) for k in range(80)}), ["may name 64 constants (got 80)"]),
    ],
)
def test_wrong_declarations(ranges: str, parts: list[str]) -> None:
    """A declaration that cannot be searched is refused with its line, the rule, what was found and the way out."""
    with pytest.raises(InvalidPolicyError) as error:
        declared(TEXT + f"TUNABLE = {ranges}\n")
    assert all(part in str(error.value) for part in parts), str(error.value)


def test_a_constant_that_is_set_twice_is_not_tunable() -> None:
    """What the file itself changes later has no one value."""
    with pytest.raises(InvalidPolicyError, match="names 'THETA'"):
        declared(TEXT + 'THETA = 0.7\nTUNABLE = {"THETA": (0, 1)}\n')


def test_other_values_change_nothing_else() -> None:
    """Numbers are replaced where they stand, two in a line and behind multi-byte letters included."""
    changed = with_constants(TEXT, {"THETA": 0.25, "GROWTH": 10, "LOW": 1.5, "SHAPE": (7,)})
    assert changed == TEXT.replace("0.5; GROWTH = 3", "0.25; GROWTH = 10").replace("-2.5", "1.5").replace(
        "(1, 2)", "(7,)"
    )
    with pytest.raises(InvalidPolicyError, match="THETTA must be a constant that the file writes out; did you mean"):
        with_constants(TEXT, {"THETTA": 1})


def test_a_variant_is_another_design() -> None:
    """It has another hash, the idea's name with the hash in it, what is computed from the constant, and the kind."""
    text = 'THETA = 2\nGROWTH = 0\nWIDTH = THETA + 1\nMEMORY = {"shared": WIDTH}\n' + ROUTE
    policy = policy_from_source(text, name="mine", path="mine.py", track="routing")
    other = with_other_constants(policy, {"THETA": 5})
    assert (policy.memory, other.memory) == ({"shared": 3}, {"shared": 6})
    assert other.name == f"mine@{other.sha256[:6]}"
    assert (other.kind, other.is_shipped) == ("user", False)
    assert load_policy("oracle_jsw").tunable[0].name == "PREFILL_WEIGHT"
