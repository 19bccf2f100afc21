"""Estimates against known autocorrelation times, and intervals that cover 68 %."""

import math

import emcee
import numpy as np
import pytest

from lightdan.statistics import (
    Blocks,
    Estimate,
    acceptance,
    autocorrelation_time,
    bennett,
    effective_number,
    effective_sample_size,
    freedom_left,
    is_correlated,
    is_too_short,
    jackknife,
    log_mean_exp,
    mean,
    student_factor,
    weighted_mean,
)

REPEATS = 500
ONE_SIGMA = 0.6827


@pytest.fixture
def rng():
    """Return a generator with a fixed seed."""
    return np.random.default_rng(7)


def autoregressive(phi, shape, rng):
    """Draw AR(1) chains of unit variance in equilibrium, ρ(t) = φ^t, τ = (1 + φ)/(2(1 − φ))."""
    noise = rng.normal(size=shape)
    noise[:, 1:] *= math.sqrt(1.0 - phi**2)
    series = noise
    for step in range(1, shape[1]):
        series[:, step] += phi * series[:, step - 1]
    return series


def gaussian_weights(rng, size=400, width=1.2):
    """Draw x from a normal q of this width and ln(p/q) for the standard normal p."""
    x = width * rng.normal(size=size)
    return x, -0.5 * x**2 + 0.5 * (x / width) ** 2 + math.log(width)


def assert_covers(estimates, exact):
    """Check that one-sigma intervals cover the exact value in 68 % of cases, within 4 σ."""
    hits = np.mean([abs(estimate.value - exact) < estimate.error for estimate in estimates])
    tolerance = 4.0 * math.sqrt(ONE_SIGMA * (1.0 - ONE_SIGMA) / len(estimates))
    assert abs(hits - ONE_SIGMA) < tolerance


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.2345, 0.0051, "1.234(5)"),
        (-1.45306, 0.00149, "-1.4531(15)"),
        (123.4, 12.3, "123(12)"),
        (12.3, 1.5, "12.3(1.5)"),
        (1.23, 0.0999, "1.23(10)"),
        (5.0, 0.0, "5 ± 0"),
        (5.0, math.inf, "5 ± inf"),
        (math.nan, 1.0, "nan ± 1"),
        (3e10, 2e9, "3e+10 ± 2e+09"),
    ],
)
def test_estimate_prints_the_error_of_its_last_digits(value, error, text):
    assert str(Estimate(value, error)) == text


@pytest.mark.parametrize("phi", [-0.3, 0.0, 0.5, 0.9])
@pytest.mark.parametrize("chains", [1, 16])
def test_autocorrelation_time_of_an_autoregressive_process(phi, chains, rng):
    exact = 0.5 * (1.0 + phi) / (1.0 - phi)
    tau = autocorrelation_time(autoregressive(phi, (chains, 48_000 // chains), rng))
    assert abs(tau.value - exact) < 4.0 * tau.error
    assert tau.error < 0.1 * exact


def test_autocorrelation_time_agrees_with_emcee(rng):
    series = autoregressive(0.8, (8, 10_000), rng)
    peer = emcee.autocorr.integrated_time(series.T[:, :, None])[0] / 2.0
    assert autocorrelation_time(series).value == pytest.approx(peer, rel=0.05)


def test_error_of_the_autocorrelation_time_is_its_scatter(rng):
    series = autoregressive(0.6, (4 * REPEATS, 1000), rng).reshape(REPEATS, 4, 1000)
    taus = [autocorrelation_time(x) for x in series]
    scatter = np.std([tau.value for tau in taus])
    assert np.mean([tau.error for tau in taus]) == pytest.approx(scatter, rel=0.15)


def test_chains_stuck_apart_have_a_long_time(rng):
    series = rng.normal(size=(4, 1000)) + np.arange(4)[:, None]
    assert autocorrelation_time(series).value > 50.0
    assert max(autocorrelation_time(chain).value for chain in series) < 1.0


@pytest.mark.parametrize("shape", [(1,), (100,), (16, 1), (4, 50)])
def test_constant_series_has_no_error(shape):
    series = np.full(shape, 0.1)
    assert autocorrelation_time(series) == (0.5, 0.0)
    if series.size > 1:
        assert mean(series) == (pytest.approx(0.1), 0.0)


@pytest.mark.parametrize("shape", [(2,), (3,), (16, 1), (16, 3)])
def test_short_chains_count_as_independent(shape, rng):
    series = rng.normal(size=shape)
    assert autocorrelation_time(series) == (0.5, math.inf)
    naive = np.std(series, ddof=1) / math.sqrt(series.size)
    assert mean(series).error == pytest.approx(naive, rel=0.2)


@pytest.mark.parametrize("steps", [4, 5, 8, 100])
def test_alternating_series_has_a_positive_error(steps):
    series = (-1.0) ** np.arange(steps)
    assert 0.0 < autocorrelation_time(series).value < 0.6
    assert 0.0 < mean(series).error < 0.8


def test_one_number_has_no_finite_error():
    assert mean([3.0]) == (3.0, math.inf)


@pytest.mark.parametrize("x", [[], np.zeros((4, 0)), np.zeros((2, 2, 2))])
def test_series_of_another_shape_is_refused(x):
    with pytest.raises(ValueError, match="must be a series"):
        mean(x)


@pytest.mark.parametrize("times", [3, 10, 30])
@pytest.mark.parametrize("tau", [2.5, 10.0, 40.0])
@pytest.mark.parametrize("chains", [1, 4])
def test_a_short_series_tells_no_time(times, tau, chains, rng):
    phi = (2 * tau - 1) / (2 * tau + 1)
    shape = (60 * chains, max(4, round(times * tau / chains)))
    found = [autocorrelation_time(x) for x in autoregressive(phi, shape, rng).reshape(60, chains, -1)]
    assert np.mean([abs(one.value - tau) < 2 * one.error for one in found]) >= 0.9
    assert np.mean([one.error == math.inf for one in found]) > 0.6


@pytest.mark.parametrize("tau", [1.0, 5.0])
def test_a_long_series_tells_the_time(tau, rng):
    phi = (2 * tau - 1) / (2 * tau + 1)
    found = [autocorrelation_time(x) for x in autoregressive(phi, (100, round(150 * tau)), rng)]
    assert np.mean([one.error < math.inf for one in found]) >= 0.95
    assert np.mean([abs(one.value - tau) < 2 * one.error for one in found]) >= 0.86


@pytest.mark.parametrize(
    ("tau", "expected"),
    [((0.9, 0.1), False), ((1.2, 0.3), False), ((1.5, 0.3), True), ((3.0, math.inf), True)],
)
def test_correlated_is_above_one_row(tau, expected):
    assert is_correlated(Estimate(*tau)) is expected


@pytest.mark.parametrize(("freedom", "factor"), [(1, 1.837), (2, 1.321), (29, 1.017), (math.inf, 1.0)])
def test_student_factor(freedom, factor):
    assert student_factor(freedom) == pytest.approx(factor, abs=1e-3)


def test_freedom_left_is_that_of_edgeworth():
    """The squares of normal numbers have the excess kurtosis 12; uniform ones have none to widen by."""
    x = np.random.default_rng(0).normal(size=400_000) ** 2
    assert freedom_left(50.0, x, 100.0) == pytest.approx(1 / (1 / 50 + 12 / 300), rel=0.1)
    assert freedom_left(50.0, np.arange(10.0), 100.0) == 50.0
    assert freedom_left(50.0, np.ones(10), 100.0) == 50.0


def test_short_series_cover(rng):
    """A series of 20 τ, whose blocks follow from its own time; those of another 62 % for the mean."""
    series = autoregressive(7 / 9, (400, 80), rng)  # τ = 4
    for function, exact in ((lambda a, b: a, 0.0), (lambda a, b: b - a**2, 1.0)):
        found = [jackknife(function, x, x**2) for x in series]
        told = [abs(one.value - exact) < one.error for one in found if one.error < math.inf]
        assert 0.63 < np.mean(told) < 0.75
        assert len(told) > 350
    assert np.mean([one.value for one in found]) == pytest.approx(1.0, abs=0.06)


def test_a_series_of_a_few_times_has_no_error(rng):
    for x in autoregressive(0.95, (20, 60), rng):  # τ = 19.5
        infinite = is_too_short(60, autocorrelation_time(x).value)
        assert (mean(x).error == math.inf) is infinite
        assert jackknife(lambda a: a**2, x).error == math.inf or not infinite
    assert is_too_short(26, 3.0)
    assert not is_too_short(27, 3.0)
    assert not is_too_short(3, 0.9)


def rows_in_runs(length, num_runs, gap):
    """Return the numbers of rows in runs that begin a gap apart."""
    return (np.arange(num_runs)[:, None] * gap + np.arange(length)).ravel()


@pytest.mark.parametrize(
    ("tau", "rows"),
    [
        (0.5, np.arange(20)),
        (0.5, np.arange(1000)),
        (1.0, np.arange(40)),
        (5.0, np.arange(100)),
        (5.0, np.arange(500)),
        (5.0, rows_in_runs(7, 3, 60)),
        (5.0, rows_in_runs(100, 2, 300)),
        (5.0, np.concatenate([np.arange(30), np.arange(200, 280)])),
        (20.0, rows_in_runs(30, 8, 250)),
        (20.0, rows_in_runs(16, 3, 48)),
    ],
)
@pytest.mark.parametrize("function", ["mean", "variance"])
def test_errors_over_blocks_cover(tau, rows, function, rng):
    """Blocks of correlated rows with gaps, as few as two; half a test is 2 τ long."""
    if function == "variance" and len(rows) < 20 * tau:
        pytest.skip("too few rows to remove the bias of a variance")
    phi = (2 * tau - 1) / (2 * tau + 1)
    blocks = Blocks.of_rows(rows, tau)
    found = []
    for x in autoregressive(phi, (400, rows[-1] + 1), rng)[:, rows]:
        if function == "mean":
            found.append(mean(x, blocks=blocks))
            assert found[-1].value == pytest.approx(x.mean())
        else:
            found.append(jackknife(lambda a, b: 1 + b - a**2, x, x**2, blocks=blocks))
    exact = 0.0 if function == "mean" else 2.0
    hits = np.mean([abs(one.value - exact) < one.error for one in found])
    assert 0.60 < hits < 0.78


@pytest.mark.parametrize("length", [10, 25])
def test_labelled_blocks_understate_errors_as_much_as_those_of_rows(length):
    """Rows n apart with the correlation ρⁿ, in blocks of equal length and of any other."""
    tau, rows = 5.0, np.arange(200)
    rho = (2 * tau - 1) / (2 * tau + 1)
    blocks = Blocks.of_labels(rows // length, lambda some: rho ** np.abs(some[:, None] - some))
    covariance = rho ** np.abs(rows[:, None] - rows)
    means = np.add.reduceat(covariance, blocks.starts) / length
    between = np.add.reduceat(means, blocks.starts, axis=1) / length
    variance, num = covariance.mean(), len(blocks.starts)
    scatter = (between.diagonal().mean() - variance) / (num - 1)
    assert blocks.understatement == pytest.approx(math.sqrt(variance / scatter))
    assert blocks.sizes.tolist() == [length] * num


def test_joined_blocks_are_those_of_the_parts():
    parts = [Blocks.of_rows(np.arange(0, 2 * num, 2), tau) for num, tau in ((40, 3.0), (30, 0.5))]
    joined = Blocks.join(parts)
    assert joined.num == 70
    np.testing.assert_array_equal(joined.sizes, np.concatenate([part.sizes for part in parts]))
    assert joined.understatement == max(part.understatement for part in parts) > 1
    assert Blocks.join(parts[:1]).sizes.tolist() == parts[0].sizes.tolist()


def test_one_block_has_no_finite_error(rng):
    blocks = Blocks.of_rows(np.arange(10), 40.0)
    assert len(blocks.starts) == 1
    assert mean(rng.normal(size=10), blocks=blocks).error == math.inf


def test_blocks_of_weighted_rows(rng):
    x, w = rng.normal(size=300), rng.random(300) + 0.5
    blocks = Blocks.of_rows(np.arange(300), 1.0)
    weighted = mean(x, w, blocks)
    ratio = jackknife(lambda a: float(a), x, weights=w, blocks=blocks)
    assert weighted.value == pytest.approx(np.average(x, weights=w))
    assert weighted.error == pytest.approx(ratio.error, rel=0.05)


@pytest.mark.parametrize("phi", [-0.3, 0.0, 0.7])
@pytest.mark.parametrize("shape", [(1, 1000), (8, 250)])
def test_mean_covers(phi, shape, rng):
    chains, steps = shape
    series = autoregressive(phi, (REPEATS * chains, steps), rng).reshape(REPEATS, chains, steps)
    assert_covers([mean(x) for x in series], 0.0)


@pytest.mark.parametrize("phi", [0.0, 0.5])
def test_jackknife_of_a_variance_covers(phi, rng):
    series = autoregressive(phi, (REPEATS, 999), rng)
    assert_covers([jackknife(lambda m1, m2: m2 - m1**2, x, x**2) for x in series], 1.0)


def test_jackknife_removes_the_bias_of_a_square(rng):
    blocks = Blocks(np.arange(20), 20)
    squares = [jackknife(lambda m: m**2, x, blocks=blocks).value for x in rng.normal(size=(2000, 20))]
    error = np.std(squares) / math.sqrt(2000)
    assert abs(np.mean(squares)) < 4.0 * error
    assert error < (1 / 20) / 10  # a tenth of the bias of the plain square


def test_jackknife_of_a_mean_is_the_usual_error(rng):
    x = rng.normal(size=30)
    estimate = jackknife(lambda m: m, x, blocks=Blocks(np.arange(30), 30))
    assert estimate.value == pytest.approx(x.mean())
    factor = student_factor(freedom_left(29.0, x, 30.0))
    assert estimate.error == pytest.approx(factor * np.std(x, ddof=1) / math.sqrt(30))


def test_jackknife_takes_means_of_arrays(rng):
    x = rng.normal(size=(100, 3))
    assert jackknife(lambda m: float(m.sum()), x).value == pytest.approx(x.mean(axis=0).sum())


@pytest.mark.parametrize("arrays", [([1.0],), ([1.0, 2.0], [1.0, 2.0, 3.0])])
def test_jackknife_refuses_short_or_unequal_arrays(arrays):
    with pytest.raises(ValueError, match="equal length"):
        jackknife(lambda *means: means[0], *arrays)


def test_weighted_mean_covers(rng):
    samples = [gaussian_weights(rng) for _ in range(REPEATS)]
    assert_covers([weighted_mean(x**2, log_weights - 700.0) for x, log_weights in samples], 1.0)


def test_log_mean_exp_covers(rng):
    weights = [gaussian_weights(rng)[1] for _ in range(REPEATS)]
    assert_covers([log_mean_exp(log_weights + 2000.0) for log_weights in weights], 2000.0)


def test_log_mean_exp_is_low_by_half_its_error_squared(rng):
    estimates = [log_mean_exp(gaussian_weights(rng, 200, width=2.0)[1]) for _ in range(4000)]
    # ⟨w⟩ = 1 is unbiased: subtracting its fluctuation leaves the bias and little noise.
    bias = mean([estimate.value - math.expm1(estimate.value) for estimate in estimates])
    predicted = -0.5 * np.mean([estimate.error**2 for estimate in estimates])
    assert bias.value == pytest.approx(predicted, rel=0.1)
    assert bias.error < -0.03 * predicted


def test_effective_sample_size_covers(rng):
    # ⟨w⟩²/⟨w²⟩ of the two normals, by the Gaussian integral of p²/q.
    exact = math.sqrt(2.0 * 1.2**2 - 1.0) / 1.2**2
    weights = [gaussian_weights(rng)[1] for _ in range(REPEATS)]
    assert_covers([effective_sample_size(log_weights) for log_weights in weights], exact)


def test_acceptance_covers(rng):
    # ∫∫ min(p(x) q(y), p(y) q(x)) of the two normals on a grid.
    x = np.linspace(-8, 8, 801)
    p, q = (np.exp(-((x / width) ** 2) / 2) / width for width in (1.0, 1.2))
    pairs = np.outer(p / p.sum(), q / q.sum())
    exact = np.minimum(pairs, pairs.T).sum()
    assert_covers([acceptance(gaussian_weights(rng)[1]) for _ in range(REPEATS)], exact)
    assert acceptance(np.zeros(10)) == (1.0, 0.0)
    assert acceptance([0.0]).error == math.inf


def test_effective_sample_size_at_its_ends():
    assert effective_sample_size(np.full(10, -3.0)) == (pytest.approx(1.0), 0.0)
    assert effective_sample_size([0.0] + [-np.inf] * 9).value == pytest.approx(0.1)


@pytest.mark.parametrize("log_weights", [[], [-np.inf, -np.inf], [0.0, np.inf], [0.0, np.nan]])
def test_weights_without_a_finite_largest_are_refused(log_weights):
    with pytest.raises(ValueError, match="log_weights"):
        log_mean_exp(log_weights)


def test_weights_and_values_must_match():
    with pytest.raises(ValueError, match="shape"):
        weighted_mean([1.0, 2.0], [0.0])


@pytest.mark.slow
@pytest.mark.parametrize(("num_first", "num_second"), [(400, 400), (1500, 300)])
def test_bennett_covers_the_exact_ratio(num_first, num_second):
    """Sample two Gaussians, f_1 = exp(−x²/2) and f_2 = exp(−(x − 1)²/(2 · 2²)): ln(Z_1/Z_2) = −ln 2."""
    rng = np.random.default_rng(0)

    def log_ratio(x):
        return -(x**2) / 2 + (x - 1) ** 2 / 8

    hits, errors = 0, []
    for _ in range(300):
        first = log_ratio(rng.normal(size=num_first))
        ratio = bennett(first, log_ratio(rng.normal(1, 2, size=num_second)))
        hits += abs(ratio.value + math.log(2)) < ratio.error
        errors.append((ratio.value + math.log(2)) / ratio.error)
    assert 0.61 <= hits / 300 <= 0.75
    assert abs(np.mean(errors)) < 4 / 300**0.5


def test_bennett_of_equal_shapes_is_exact():
    ratio = bennett(np.full(5, 3.0), np.full(7, 3.0))
    assert ratio == (pytest.approx(3.0, abs=1e-10), 0.0)
    with pytest.raises(ValueError, match="finite"):
        bennett([0.0, np.nan], [0.0])


def test_bennett_without_overlap_is_of_infinite_error():
    rng = np.random.default_rng(0)
    ratio = bennett(rng.normal(5000, 1, 100), rng.normal(-5000, 1, 100))
    assert ratio.error == math.inf


def test_counts_are_repeated_samples():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 40))
    counts = random.integers(0, 6, 40)
    counts[0] = 1
    many = np.repeat(x, counts)
    found = mean(x, counts)
    assert found.value == pytest.approx(many.mean())
    naive = many.std(ddof=1) / math.sqrt(len(many))
    freedom = freedom_left(len(many) - 1.0, many, float(len(many)))
    assert found.error == pytest.approx(student_factor(freedom) * naive)
    assert effective_number(counts) == len(many)

    def function(a, aa, b):
        return (aa - a**2) / (1 + b)

    arrays = (x, x**2, y)
    weighted = jackknife(function, *arrays, weights=counts)
    rows = Blocks(np.arange(len(many)), len(many))
    one_by_one = jackknife(function, *(np.repeat(a, counts) for a in arrays), blocks=rows)
    assert weighted == pytest.approx(one_by_one, rel=1e-9)
    u = random.normal(size=50)
    separate, together = bennett(random.permutation(many), u), bennett(x, u, counts)
    assert together.value == pytest.approx(separate.value, abs=1e-9)
    assert 0.7 < together.error / separate.error < 1.4


def test_real_weights_weight_single_samples():
    random = np.random.default_rng(1)
    x, w = random.normal(size=(2, 20_000)) + 2
    w = np.exp(w)
    found, independent = mean(x, w), weighted_mean(x, np.log(w))
    assert found.value == pytest.approx(independent.value)
    assert found.error == pytest.approx(independent.error, rel=0.1)
    assert effective_number(w) == pytest.approx(20_000 * effective_sample_size(np.log(w)).value)
    assert mean(x, 7.0 * w) == pytest.approx(found)
    ones = np.ones(20_000)
    assert mean(x, ones) == pytest.approx(mean(x))
    assert jackknife(lambda a, b: b - a**2, x, x**2, weights=ones) == pytest.approx(
        jackknife(lambda a, b: b - a**2, x, x**2)
    )
    with pytest.raises(ValueError, match=r"x has the shape \(20000,\) but weights \(3,\)"):
        mean(x, w[:3])


def test_errors_of_weighted_correlated_series_cover():
    pulls = []
    for x in autoregressive(0.8, (300, 2000), np.random.default_rng(2)):
        # Weighted by e^{x/2}, a unit normal variable has the mean 1/2.
        found = mean(x, np.exp(x / 2))
        pulls.append((found.value - 0.5) / found.error)
    assert 0.8 < np.sqrt(np.mean(np.square(pulls))) < 1.2


def test_ln_z_from_weighted_samples():
    """Samples of N(0, 1) stand for N(1/2, 1) by their weights; the ratio to N(0, 4) is exact."""
    random = np.random.default_rng(3)
    pulls = []
    for _ in range(200):
        x, y = random.normal(size=1000), 2 * random.normal(size=1000)
        u, v = (-((z - 0.5) ** 2) / 2 + z**2 / 8 for z in (x, y))
        found = bennett(u, v, np.exp(x / 2))
        pulls.append((found.value + math.log(2)) / found.error)
    assert 0.8 < np.sqrt(np.mean(np.square(pulls))) < 1.2
