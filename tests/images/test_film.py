"""Numbers of whole films, against stripes, lattices of discs, Boolean models and Gaussian fields."""

import math

import numpy as np
import pytest

from lightdan.images import bubbles, correlations, domains
from lightdan.images.correlations import Lags, boxes, pair_plane
from lightdan.images.film import Film, reach_of
from lightdan.images.structure_factor import LagWindow

RNG = np.random.default_rng(0)


def masked(shape):
    valid = np.ones(shape, bool)
    valid[-30:-20, shape[1] // 3 : -8] = False
    return valid


def numbers(texture, reach, side, valid=None, **kwargs):
    valid = masked(texture.shape) if valid is None else valid
    film = Film(valid, boxes(texture.shape, side), Lags(reach), 0.0, **kwargs)
    return film.frame(film.sums(texture))


def waves(shape, period, angle):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ((math.cos(angle) * x + math.sin(angle) * y) / period + 0.13) % 1


def test_pairs_of_a_box_by_hand():
    values = RNG.integers(-2, 3, (7, 9)).astype(float)
    box, reach = (2, 5, 0, 4), 4
    plane = pair_plane(values, box, reach)
    expected = np.zeros((5, 9))
    for y, x in np.ndindex(3, 4):
        for down in range(5):
            for right in range(-4, 5):
                if y + 2 + down < 7 and 0 <= x + right < 9:
                    expected[down, right + 4] += values[y + 2, x] * values[y + 2 + down, x + right]
    np.testing.assert_allclose(plane, expected, atol=1e-12)
    whole = pair_plane(values, (0, 7, 0, 9), reach)
    parts = sum(pair_plane(values, box, reach) for box in boxes((7, 9), 3))
    np.testing.assert_allclose(parts, whole, atol=1e-12)


def test_distances_by_hand():
    lags = Lags(12)
    assert lags.numbers.sum() == (np.hypot(*np.mgrid[-12:13, -12:13]) <= 12).sum()
    sums = lags.split(lags.gather(np.sqrt(lags.squares)))
    np.testing.assert_allclose(
        sums[0] * np.maximum(1, (lags.distances > 0) * 2), lags.distances * lags.numbers
    )
    np.testing.assert_allclose(sums[1:], [np.arange(13.0)] * 2)
    assert np.abs(lags.radii - np.arange(13)).max() < 0.3


@pytest.mark.parametrize("shape", [(96, 128), (64, 64)])
def test_masked_pairs_have_no_weight(shape):
    """Every C(r) of spins that are all equal but at masked sites is that of the unmasked ones."""
    valid = masked(shape)
    texture = RNG.choice([-1, 1], shape)
    other = np.where(valid, texture, 7)
    first, second = (numbers(t, 12, 32, valid) for t in (texture, other))
    assert first.estimates == second.estimates
    np.testing.assert_array_equal(first.correlation, second.correlation)
    s = np.where(valid, texture - texture[valid].mean(), 0)
    film = Film(valid, boxes(shape, 200), Lags(12), 0.0)
    *_, right = film.lags.split(film.sums(texture).products[0])
    *_, pairs = film.lags.split(film.pairs[0])
    assert right[3] == pytest.approx((s[:, 3:] * s[:, :-3]).sum())
    assert pairs[3] == (valid[:, 3:] & valid[:, :-3]).sum()


@pytest.mark.parametrize("period", [6, 10, 13.9, 27, 40])
@pytest.mark.parametrize("angle", [0, 0.35, math.pi / 4, math.pi / 2])
def test_period_and_width_of_stripes(period, angle):
    shape = (256, 256)
    stripes = np.where(waves(shape, period, angle) < 0.5, 1, -1)
    found = numbers(stripes, min(128, math.ceil(5 * period)), max(64, period)).estimates
    assert found["domain_period"].value == pytest.approx(period, rel=0.01)
    tolerance = 0.05 + period / 256  # lines in few directions, and stripes that the edges cut
    assert found["width_bright"].value == pytest.approx(period / 2, rel=tolerance)
    across = abs(math.cos(angle)) + abs(math.sin(angle))
    assert found["chord_dark"].value == pytest.approx(period / across, rel=tolerance)


def test_reach_is_five_periods_or_ten_correlation_lengths():
    right, down = np.arange(-128, 129), np.arange(129)[:, None]
    r = np.hypot(right, down)
    assert reach_of(np.exp(-r / 5)) == pytest.approx(50, abs=1)
    assert reach_of(np.exp(-r)) == 16
    assert reach_of(np.cos(right / 2) * np.exp(-r / 30)) == pytest.approx(5 * 4 * math.pi, abs=1)
    assert reach_of(np.cos(right / 20 + 0 * down)) == reach_of(np.ones_like(r)) == 128


def test_lag_window_agrees_with_the_plane_and_the_peak_is_that_of_the_wave():
    lags = Lags(60)
    window = LagWindow(lags)
    right, down = np.arange(-60, 61), np.arange(61)[:, None]
    wave = np.cos(0.6 * right + 0.4 * down)
    plane = window.plane(wave)
    ky, kx = np.unravel_index(plane[len(plane) // 2 :].argmax(), plane[len(plane) // 2 :].shape)
    unit = 2 * np.pi / len(plane)
    assert (ky * unit, abs(kx - len(plane) // 2) * unit) == pytest.approx((0.4, 0.6), abs=unit)
    c = lags.split(lags.gather(wave) / lags.gather(np.ones_like(wave)))[0]
    for part in (1, 0.5):  # a window of seven and of three periods
        small = LagWindow(Lags(int(60 * part)))
        near = small.lags.split(
            small.lags.gather(
                wave[: small.lags.reach + 1, 60 - small.lags.reach : 61 + small.lags.reach]
            )
            / small.lags.gather(np.ones((small.lags.reach + 1, 2 * small.lags.reach + 1)))
        )[0]
        k, height = small.peak(small.radial(near))
        assert k == pytest.approx(math.hypot(0.6, 0.4), rel=2e-3)
        assert height > 0
    assert math.isnan(window.peak(window.radial(np.exp(-lags.distances / 3)))[0])
    centre = plane[len(plane) // 2, len(plane) // 2]
    assert window.radial(c)[0] == pytest.approx(centre, abs=1e-3 * plane.max())


def test_independent_spins_have_no_correlation_and_no_period():
    texture = np.where(RNG.random((256, 256)) < 0.3, 1, -1)
    found = numbers(texture, 16, 32)
    assert "domain_period" not in found.estimates
    value, error = found.correlation
    assert value[0] == pytest.approx(1 - 0.4**2, abs=0.02)
    assert np.abs(value[1:] / error[1:]).max() < 4
    for (value, error), exact in zip(
        (found.estimates["chord_bright"], found.estimates["area_fraction"]), (1 / 0.7, 0.3), strict=True
    ):
        assert abs(value - exact) < 4 * error


def triangular(shape, spacing, radius, offset=(0.3, 0.4)):
    """Return discs on a triangular lattice, and their number."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    texture, number = np.full(shape, -1), 0
    for row in range(-1, int(shape[0] / (spacing * math.sqrt(0.75))) + 2):
        for column in range(-1, int(shape[1] / spacing) + 2):
            centre = row * spacing * math.sqrt(0.75), (column + row % 2 / 2) * spacing
            disc = np.hypot(y - centre[0] - offset[0], x - centre[1] - offset[1]) < radius
            texture[disc] = 1
            number += bool(disc.any())
    return texture, number


def test_discs_on_a_triangular_lattice():
    spacing, radius = 24.0, 7.0
    texture, number = triangular((240, 300), spacing, radius)
    found = numbers(texture, 100, 60)
    inside = numbers(texture, 100, 60, np.ones(texture.shape, bool))
    assert inside.domains == number
    exact = {
        "psi6": (1.0, 0.02),
        "density": (2 / math.sqrt(3) / spacing**2, 0.05),
        "diameter": (2 * radius, 0.01),
        "euler_number": (2 / math.sqrt(3) / spacing**2, 0.05),
        "area_fraction": (2 * math.pi / math.sqrt(3) * (radius / spacing) ** 2, 0.03),
        "domain_period": (spacing * math.sqrt(0.75), 0.01),
    }
    for of in (found, inside):
        for name, (value, tolerance) in exact.items():
            assert of.estimates[name].value == pytest.approx(value, rel=tolerance), name


def test_order_of_a_square_lattice_is_nothing_and_cut_cells_have_none():
    points = np.argwhere(np.ones((6, 7))) * 10.0 + 5
    valid = np.ones((60, 70), bool)
    order = bubbles.hexatic_order(points, valid)
    assert np.isnan(order).sum() == 42 - 4 * 5
    np.testing.assert_allclose(order[np.isfinite(order)], 0, atol=1e-9)
    valid[31, 31] = False
    assert np.isnan(bubbles.hexatic_order(points, valid)).sum() == 42 - 4 * 5
    valid[30, 30] = False
    assert np.isnan(bubbles.hexatic_order(points, valid)).sum() == 42 - 4 * 5 + 4
    assert np.isnan(bubbles.hexatic_order(points[:3], valid)).all()
    assert np.isnan(bubbles.hexatic_order(points[::7], valid)).all()


def discs(shape, density, radius, rng):
    """Return a Boolean model: overlapping discs at random places."""
    margin = int(radius) + 1
    number = rng.poisson(density * (shape[0] + 2 * margin) * (shape[1] + 2 * margin))
    covered = np.zeros(shape, bool)
    for y, x in rng.random((number, 2)) * [n + 2 * margin for n in shape] - margin:
        top, left = max(0, int(y) - margin), max(0, int(x) - margin)
        part = covered[top : int(y) + margin + 1, left : int(x) + margin + 1]
        rows, columns = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
        part |= (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    return covered


def boolean_model(density, radius):
    """Return exact numbers of overlapping discs (R. Miles, Adv. Appl. Probab. 8, 243 (1976))."""
    empty = math.exp(-density * math.pi * radius**2)
    return {
        "area_fraction": 1 - empty,
        "euler_number": density * empty * (1 - density * math.pi * radius**2),
        "wall_length": 2 * math.pi * radius * density * empty,
        "chord_dark": 1 / (2 * radius * density),
        "chord_bright": (1 / empty - 1) / (2 * radius * density),
    }


def test_boolean_model():
    radius, density = 12.0, 0.0012
    found = numbers(np.where(discs((700, 700), density, radius, RNG), 1, -1), 40, 80).estimates
    for name, exact in boolean_model(density, radius).items():
        # Pixels change lengths by less than 3 %.
        assert abs(found[name].value - exact) < 4 * found[name].error + 0.03 * abs(exact), name


def test_domains_that_are_cut_do_not_bias_density_and_diameter():
    """The mean over many small windows of one film is that of the film."""
    film = np.full((600, 600), -1)
    y, x = np.mgrid[:30, :30]
    for i, j in np.ndindex(20, 20):
        centre, radius = RNG.uniform(8, 22, 2), (2.0, 7.0)[(i + j) % 2]
        disc = np.hypot(y - centre[0], x - centre[1]) < radius
        film[30 * i : 30 * (i + 1), 30 * j : 30 * (j + 1)][disc] = 1
    valid = np.ones((60, 60), bool)
    valid[20:24, 50:] = False
    window = bubbles.Window(valid)
    film = np.pad(film, ((0, 60), (0, 60)), mode="wrap")
    sums = [
        bubbles.bubble_sums(film[i : i + 60, j : j + 60] > 0, window, np.zeros((60, 60), int), 1)[0]
        for i in range(0, 600, 15)
        for j in range(0, 600, 15)
    ]
    found = bubbles.bubble_numbers(np.sum(sums, 0), len(sums) * valid.sum())
    assert found["density"] == pytest.approx(1 / 900, rel=0.03)
    assert found["diameter"] == pytest.approx(9.0, rel=0.03)


def test_local_sums_by_hand():
    bright = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]], bool)
    valid = np.ones((3, 3), bool)
    valid[0, 2] = False
    found = domains.local_sums(bright, valid, np.zeros((3, 3), int), 1)[0]
    assert found[:2].tolist() == [8, 4]
    pairs, unlike = found[2:10], found[10:18]
    assert pairs[:4].tolist() == [5, 5, 4, 3]
    assert unlike[:4].tolist() == [3, 3, 1, 2]
    assert found[18:].tolist() == [3, -1 + 1 + 0]
    assert domains.SHARES.sum() == pytest.approx(1)


class GaussianField:
    """Signs of a Gaussian field on a torus, whose correlations are exact: C = 2/π arcsin ρ."""

    def __init__(self, period, width, side=512):
        k0 = 2 * np.pi / period
        k = 2 * np.pi * np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
        self.side, self.amplitude = side, np.exp(-((k - k0) ** 2) / (4 * (width * k0) ** 2))
        rho = np.fft.irfft2(self.amplitude**2, (side, side))
        self.correlation = 2 / np.pi * np.arcsin(np.clip(rho / rho[0, 0], -1, 1))

    def draw(self, shape, rng):
        noise = np.fft.rfft2(rng.normal(size=(self.side, self.side))) * self.amplitude
        return np.where(np.fft.irfft2(noise)[: shape[0], : shape[1]] > 0, 1, -1).astype(np.int8)

    def exact(self, film):
        """Return C(r) in rings, S(k) and the numbers of a film that has these correlations."""
        lags, reach = film.lags, film.lags.reach
        plane = self.correlation[np.ix_(np.arange(reach + 1), np.arange(-reach, reach + 1))]
        mean = lags.gather(plane) / lags.gather(np.ones_like(plane))
        (c, *_), (pairs, *_) = lags.split(mean), lags.split(film.pairs.sum(0))
        rings = lags.rings(c * pairs) / lags.rings(pairs)
        s = film.spectrum.radial(c)
        unlike = np.array([(1 - self.correlation[d]) / 2 for d in domains.DIRECTIONS])
        walls = math.pi / 2 * domains.SHARES @ (unlike / np.hypot(*np.transpose(domains.DIRECTIONS)))
        return (
            rings,
            s,
            {
                "area_fraction": 0.5,
                "wall_length": walls,
                "width_bright": 1 / walls,
                "chord_dark": 1 / unlike[:2].mean(),
                "euler_number": 0.0,
                "correlation_length": correlations.correlation_length(rings, lags.radii),
                "domain_period": 2 * math.pi / film.spectrum.peak(s)[0],
            },
        )


@pytest.mark.parametrize("period", [8, 16])
def test_labyrinths_of_a_gaussian_field(period):
    """Two frames: the numbers together are those of the field, within errors."""
    field = GaussianField(period, 0.15)
    shape = (256, 320)
    film = Film(masked(shape), boxes(shape, 4 * period), Lags(5 * period), 0.0)
    frames = [film.sums(field.draw(shape, RNG)) for _ in range(2)]
    tiles = len(film.tiles)
    found = film.together([(film, frame) for frame in frames], np.arange(2 * tiles).reshape(2, tiles))
    rings, s, exact = field.exact(film)
    for name, value in exact.items():
        assert abs(found.estimates[name].value - value) < 4.5 * found.estimates[name].error, name
    assert exact["domain_period"] == pytest.approx(period, rel=0.004)
    assert found.estimates["domain_period"].value == pytest.approx(period, rel=0.03)
    for curve, of in ((found.correlation[:, 1:], rings[1:]), (found.structure_factor, s)):
        assert np.abs((curve[0] - of) / curve[1]).max() < 5
    assert "density" not in film.frame(frames[0]).estimates


@pytest.mark.slow
def test_pulls_of_labyrinths():
    """Errors cover: the rms of (value − exact)/error is 0.8 to 1.25 over 60 films."""
    field, shape = GaussianField(8, 0.15), (256, 256)
    film = Film(masked(shape), boxes(shape, 48), Lags(40), 0.0)
    rings, _, exact = field.exact(film)
    pulls = {name: [] for name in exact}
    curves = []
    for seed in range(60):
        found = film.frame(film.sums(field.draw(shape, np.random.default_rng(seed))))
        for name, value in exact.items():
            pulls[name].append((found.estimates[name].value - value) / found.estimates[name].error)
        curves.append((found.correlation[0, 1:] - rings[1:]) / found.correlation[1, 1:])
    rms = {name: math.sqrt(np.mean(np.square(values))) for name, values in pulls.items()}
    rms["correlation"] = math.sqrt(np.mean(np.square(curves)))
    print(rms)
    assert all(0.75 < value < 1.35 for value in rms.values()), rms


def test_frames_of_different_magnetisation_correlate_at_all_distances():
    """About the mean of all frames C(r) tends to the variance of their means; about its own to 0."""
    shape = (128, 128)
    film = Film(np.ones(shape, bool), boxes(shape, 32), Lags(16), 0.1)
    frames = [np.where(RNG.random(shape) < p, 1, -1) for p in (0.2, 0.8) * 4]
    means = np.mean(frames, (1, 2))
    found = film.together(
        [(film, film.sums(frame)) for frame in frames], np.repeat(np.arange(8)[:, None], 16, 1)
    )
    np.testing.assert_allclose(found.correlation[0, 4:], means.var(ddof=1), atol=0.005)
    own = film.frame(film.sums(frames[0]))
    np.testing.assert_allclose(own.correlation[0, 4:], 0, atol=0.01)


def test_a_film_of_one_phase_has_no_lengths():
    valid = masked((64, 80))
    found = numbers(np.where(valid, 1, -1), 16, 20)
    assert found.estimates["area_fraction"] == pytest.approx((1.0, 0.0), abs=1e-9)
    assert found.estimates["wall_length"].value == 0
    assert found.domains == 1
    assert not found.estimates.keys() & {"domain_period", "correlation_length", "width_bright"}
    found = numbers(np.where(np.arange(80) < 40, 1, -1) * np.ones((64, 1), int), 16, 20)
    assert "domain_period" not in found.estimates
    assert found.estimates["wall_length"].value == pytest.approx(1 / 80, rel=0.1)


def test_units():
    found = numbers(triangular((120, 150), 24, 7)[0], 60, 40)
    scaled = found.scaled(0.5)
    for name, power in (("domain_period", 1), ("density", -2), ("wall_length", -1), ("psi6", 0)):
        assert scaled[name].value == pytest.approx(found.estimates[name].value * 0.5**power)
        assert scaled[name].error == pytest.approx(found.estimates[name].error * 0.5**power)
