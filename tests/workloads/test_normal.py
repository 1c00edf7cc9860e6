"""Normal variables, copulas, powers of two and lognormal laws in integers."""

from statistics import NormalDist

import numpy as np
import pytest

from glia_bench.workloads.normal import Lognormal, correlated_bits, normal, normal_bits, power_of_two
from glia_bench.workloads.quantile_table import Bits
from glia_bench.workloads.streams import Stream

NUM = 100_000


def bits(purpose: str) -> Bits:
    """Return NUM words."""
    return Stream("normal", 0, purpose).bits(NUM)


def test_normals_are_normal() -> None:
    """Mean 0, deviation 1, fourth moment 3 and 2.275 % above 2, within 5 standard errors; they rise with the bits."""
    z = normal(bits("a")) / 65536
    assert abs(z.mean()) < 5 / NUM**0.5
    assert z.std() == pytest.approx(1, abs=5 / (2 * NUM) ** 0.5)
    assert (z**4).mean() == pytest.approx(3, abs=5 * (96 / NUM) ** 0.5)
    order = np.argsort(bits("a"))
    assert np.all(np.diff(z[order]) >= 0)
    assert (z > 2).mean() == pytest.approx(0.02275, abs=5 * (0.0222 / NUM) ** 0.5)


def test_a_normal_goes_back_to_its_place() -> None:
    """P(z < x) in 2^-64 is the normal distribution's to 1e-5, far out it is 0 or 1, and it never falls."""
    x = np.array([-20.0, -3.0, -1.0, -0.01, 0.0, 0.3, 1.7, 4.0, 20.0])
    place = normal_bits(np.round(x * 65536).astype(np.int64)) / 2.0**64
    assert place == pytest.approx([NormalDist().cdf(value) for value in x], abs=1e-5)
    grid = normal_bits(np.arange(-9 * 65536, 9 * 65536, 37, dtype=np.int64))
    assert np.all(grid[1:] >= grid[:-1])


@pytest.mark.parametrize("rho", [-0.9, -0.39, 0.0, 0.07, 0.6])
def test_a_copula_has_the_stated_correlation(rho: float) -> None:
    """Bits stay uniform, and the correlation of their normal scores is rho, within 5 standard errors."""
    one = bits("one")
    other = correlated_bits(one, bits("other"), round(rho * 65536))
    assert np.histogram(other / 2.0**64, bins=20, range=(0, 1))[0] / NUM == pytest.approx(0.05, abs=5 * 0.0007)
    assert np.corrcoef(normal(one), normal(other))[0, 1] == pytest.approx(rho, abs=5 / NUM**0.5)


def test_powers_of_two_are_exact_to_a_millionth() -> None:
    """2^x for x from -15 to 40 within 2e-6 of itself, or one unit of 2^-20 where it is small."""
    x = np.linspace(-15, 40, 10_001)
    exact = 2.0 ** (np.round(x * 65536) / 65536)
    assert power_of_two(np.round(x * 65536).astype(np.int64)) / 2.0**20 == pytest.approx(exact, rel=2e-6, abs=2e-6)
    assert power_of_two(np.array([-(10**9)])).item() == 0


def test_lognormal_laws_have_their_median_and_ends() -> None:
    """A law of median 1,024 and sigma 0.5 of the log2 has both, and nothing lies outside its cut."""
    drawn = Lognormal(log2_median=10 << 16, log2_sigma=1 << 15, least=400, most=3000).draw(bits("l"))
    assert np.median(drawn) == pytest.approx(1024, rel=0.01)
    assert (drawn.min(), drawn.max()) == (400, 3000)
    inside = np.log2(drawn[(drawn > 400) & (drawn < 3000)])
    assert np.percentile(inside, 84) - np.percentile(inside, 50) == pytest.approx(0.5, abs=0.03)
