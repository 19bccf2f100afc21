import numpy as np
import pytest

from lightdan.images.magnetometry import fit_curie, ta_cofeb_taox


def test_the_film_of_the_talk():
    """The talk has T_C = 427.4 ± 2.9 K with unknown weights; both fits agree within the error."""
    plain = fit_curie(*ta_cofeb_taox()).curie_temperature
    relative = fit_curie(*ta_cofeb_taox(), relative=True).curie_temperature
    assert plain == pytest.approx((428.9, 3.8), abs=0.05)
    assert relative == pytest.approx((428.0, 3.1), abs=0.05)
    assert abs(plain.value - 427.4) < 2.9
    free = fit_curie(*ta_cofeb_taox(), exponent=None)
    assert abs(free.exponent.value - 1 / 3) < 2.5 * free.exponent.error


@pytest.mark.parametrize("exponent", [1 / 3, 0.125, None])
def test_exact_data_give_the_exact_curve(exponent):
    t = np.linspace(20, 280, 12)
    power = exponent or 0.4
    found = fit_curie(t, 900 * (1 - t / 350) ** power, errors=np.ones(12), exponent=exponent)
    assert found.curie_temperature.value == pytest.approx(350, rel=1e-6)
    assert found.magnetization.value == pytest.approx(900, rel=1e-6)
    assert found.exponent.value == pytest.approx(power, rel=1e-5)
    assert found.chi_squared < 1e-6


@pytest.mark.parametrize("known", [True, False])
def test_intervals_cover_the_truth(known):
    t = np.linspace(50, 300, 8)
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(300):
        m = 1000 * (1 - t / 420) ** (1 / 3) + 8 * rng.normal(size=8)
        found = fit_curie(t, m, errors=np.full(8, 8.0) if known else None).curie_temperature
        hits.append(abs(found.value - 420) < found.error)
    # With 6 degrees of freedom Student's t puts 64 % within one error estimated from the scatter.
    assert np.mean(hits) == pytest.approx(0.68 if known else 0.64, abs=0.06)


@pytest.mark.parametrize(
    ("temperature", "magnetization", "words"),
    [
        ([1.0, 2.0], [3.0, 2.0], "2 points are too few for 2 parameters"),
        ([1.0, 2.0, 3.0], [3.0, 2.0, -1.0], "magnetization must be 3 positive"),
        ([1.0, 2.0, np.nan], [3.0, 2.0, 1.0], "temperature must be"),
    ],
)
def test_bad_tables_are_refused(temperature, magnetization, words):
    with pytest.raises(ValueError, match=words):
        fit_curie(temperature, magnetization)
