import numpy as np
import pytest

from lightdan.images.thresholds import check_phases, find_phases

RNG = np.random.default_rng(0)


def two(share, distance, number=20_000):
    """Return values of two normal distributions, and whether each is of the upper one."""
    up = np.arange(number) < share * number
    return RNG.normal(size=number) + distance * up, up


def test_classes_of_three_phases():
    values = np.concatenate([RNG.normal(m, 0.1, 2000) for m in (0, 1, 3)])
    phases = find_phases(values, 3)
    found = np.digitize(values, phases.thresholds)
    assert (found != np.repeat([0, 1, 2], 2000)).mean() < 0.002
    np.testing.assert_allclose(phases.means, [0, 1, 3], atol=0.02)
    np.testing.assert_allclose(phases.shares, 1 / 3, atol=0.002)
    assert phases.fault is None
    assert find_phases(values[:2000], 3).fault == "the histogram has no 3 peaks"


def test_separation_is_that_of_the_classes():
    values, up = two(0.3, 6.0)
    phases = find_phases(values)
    assert phases.separation == pytest.approx(6, rel=0.03)
    assert phases.shares[1] == pytest.approx(up.mean(), abs=0.01)
    known = find_phases(values, cuts=np.array([3.0]))
    assert known.separation == pytest.approx(phases.separation, rel=0.01)
    assert known.thresholds == [3.0]
    exact = find_phases(np.repeat([800.0, 1200.0], 50))
    assert exact.thresholds == pytest.approx([1000], abs=1)
    assert exact.two_peaks


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (RNG.normal(size=20_000), r"separation of 2\.7.*, where one phase has 2.7, and two need 2.8"),
        (RNG.poisson(20, 20_000).astype(float), r"separation of 2\.7.*, where one phase has 2.7"),
        (two(0.02, 9)[0], "only 2.0% of the sites are bright"),
        (-two(0.02, 9)[0], "only 2.0% of the sites are dark"),
        (two(0.02, 4)[0], "separation of 2"),
        (RNG.exponential(size=20_000), "one peak with a bright tail, and a separation of 3"),
    ],
    ids=["normal", "poisson", "two percent", "two percent dark", "noisy", "exponential"],
)
def test_one_phase_is_refused(values, words):
    phases = find_phases(values, blocks=np.arange(len(values)) % 16)
    with pytest.raises(ValueError, match=f"The image x does not show 2 phases, because .*{words}"):
        check_phases(phases, "The image x does", 0.0, None)


@pytest.mark.parametrize(("share", "distance"), [(0.05, 6), (0.1, 5), (0.5, 3), (0.95, 6)])
def test_two_phases_pass(share, distance):
    values, _ = two(share, distance)
    phases = find_phases(values, blocks=np.arange(len(values)) % 16)
    assert phases.fault is None
    check_phases(phases, "The image x does", 0.0, None)
    with pytest.raises(ValueError, match="a smooth change of brightness makes 60% of their contrast"):
        check_phases(find_phases(np.linspace(0, 1, 1000)), "The image x does", 0.6, None)


def test_phases_that_overlap_are_told():
    phases = find_phases(two(0.5, 2)[0], blocks=np.arange(20_000) % 16)
    with pytest.warns(UserWarning, match=r"the phases overlap \(separation 2\.9"):
        check_phases(phases, "The image x does", 0.0, None)


def test_dirt_changes_neither_threshold_nor_separation():
    values, _ = two(0.3, 6.0)
    dirty = values.copy()
    dirty[::200] = -100
    clean, found = find_phases(values), find_phases(dirty)
    assert found.thresholds == pytest.approx(clean.thresholds, abs=0.1)
    assert found.separation == pytest.approx(clean.separation, rel=0.15)


def test_error_of_the_threshold_is_its_scatter():
    """Blocks differ by an offset, as images of uneven light do."""
    found, errors, shares = [], [], []
    for _ in range(30):
        offsets = np.repeat(RNG.normal(size=32), 200)
        phases = find_phases(
            two(0.5, 4, 6400)[0][RNG.permutation(6400)] + offsets, blocks=np.arange(6400) // 200
        )
        found.append(phases.thresholds[0])
        errors.append(phases.threshold_errors[0])
        shares.append(phases.share_errors[1])
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.3)
    # Near the threshold the density is that of two distributions at a distance of two.
    slope = np.exp(-2 / (1 + 1)) / np.sqrt(2 * np.pi * 2)
    assert np.mean(shares) == pytest.approx(slope * np.mean(errors), rel=0.3)


def test_share_of_a_mixture_is_unbiased():
    """Halfway between the classes more of the larger than of the smaller phase changes sides."""
    deviations, errors = [], []
    for _ in range(10):
        values, _ = two(0.1, 4)
        blocks = np.arange(len(values)) % 16
        phases = find_phases(values[RNG.permutation(len(values))], blocks=blocks, mixture=True)
        deviations.append((values > phases.thresholds[0]).mean() - 0.1)
        errors.append(phases.share_errors[1])
    assert abs(np.mean(deviations)) < 0.002
    assert (find_phases(values).shares[1] - 0.1) > 0.03
    assert np.abs(deviations).max() < 3 * np.mean(errors) < 0.1
    exact = find_phases(np.repeat([0.0, 1.0], [900, 100]), mixture=True)
    assert exact.thresholds == pytest.approx([0.5], abs=0.01)
    assert exact.share_errors[1] == pytest.approx(0, abs=1e-9)
