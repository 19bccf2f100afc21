import numpy as np
import pytest
from gaussian_films import fields, films, spectrum

from lightdan.images.repeats import Repeats, correlations, drifts, leaders, positions, runs

RNG = np.random.default_rng(0)
POWER = spectrum((60, 80), 10, 0.1)
VALID = np.ones((60, 80), bool)


def test_drift_of_copies_and_none_of_others():
    first, other = films(POWER, 2, RNG)
    moved = np.roll(first, (3, -5), (0, 1))
    stack = np.stack([first, moved, first, other, np.ones_like(first)])
    found = drifts(stack, VALID)
    np.testing.assert_array_equal(found, [[3, -5], [-3, 5], *[[np.nan] * 2] * 2])
    np.testing.assert_array_equal(positions(found), [[3, 0], [0, 5], [3, 0], [0, 0], [0, 0]])


def test_drift_is_rarely_seen_between_independent_films():
    rough = spectrum((48, 48), None, 0.15)
    stack = films(rough, 400, np.random.default_rng(1))
    assert np.isfinite(drifts(stack, np.ones((48, 48), bool))[:, 0]).sum() <= 4


def test_copies_are_found_anywhere_and_after_a_drift():
    big = spectrum((90, 110), 10, 0.1)
    film, other, third = films(big, 3, RNG)
    seen = [film[10 - k : 70 - k, 2 * k : 80 + 2 * k] for k in range(6)]
    noisy = np.where(RNG.random(VALID.shape) < 0.05, -seen[0], seen[0])
    stack = np.stack([*seen, other[:60, :80], third[20:80, 20:100], noisy])
    repeats = Repeats.of(stack, VALID)
    assert repeats.copies.tolist() == [0] * 6 + [1, 2, 0]
    np.testing.assert_array_equal(repeats.drifts[:5], [[1, -2]] * 5)


def test_correlation_along_the_images_is_that_of_the_fields():
    """ρ(t) = λ^t, with an error of √(A_c/A) over the pairs of images."""
    waves = fields(POWER, 200, np.random.default_rng(2), 0.7)
    repeats = Repeats.of(waves, VALID)
    np.testing.assert_allclose(repeats.lasting[:5], 0.7 ** np.arange(5), atol=0.03)
    assert abs(repeats.duration - (1 + 2 * np.sum(0.7 ** np.arange(1, 7)))) < 0.3
    assert repeats.independent == 200 / repeats.duration
    assert Repeats.of(films(POWER, 12, RNG), VALID).independent == 12


def test_masked_sites_do_not_count():
    film, other = films(POWER, 2, RNG)
    valid = VALID.copy()
    valid[:30] = False
    stack = np.stack([film, np.where(valid, film, other), np.where(valid, other, film)])
    sites = np.argwhere(VALID)
    found = correlations(stack, valid, sites)
    assert found[0, 1] > 1 - 1e-6
    assert abs(found[0, 2]) < 0.3


def test_leaders_cut_a_chain_and_runs_join_copies():
    near = np.abs(np.subtract.outer(np.arange(7), np.arange(7))) <= 2
    assert leaders(near).tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert runs(7, 3, np.arange(7)).tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert runs(6, 2, np.array([0, 1, 2, 3, 4, 0])).tolist() == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize(("common", "seen"), [(0.1, False), (0.4, True)])
def test_a_drift_moves_a_good_part_of_the_sites(common, seen):
    rng = np.random.default_rng(0)
    first, second = rng.choice([-1, 1], (2, 96, 96))
    same = rng.random((96, 96)) < common
    moved = np.where(same, np.roll(first, (3, -2), (0, 1)), second)
    (shift,) = drifts(np.stack([first, moved]), np.ones((96, 96), bool))
    np.testing.assert_array_equal(shift, (3, -2) if seen else (np.nan, np.nan))
