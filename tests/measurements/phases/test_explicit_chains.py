import itertools

import numpy as np
import pytest
import torch
from oracle import within
from scipy.special import logsumexp

from lightdan import XY, ExplicitHamiltonian
from lightdan.interactions.catalogue import UniformLattice
from lightdan.lattices.angles import polarization
from lightdan.measurements.phases import ladders
from lightdan.measurements.phases.explicit_chains import explicit_ladders, matched_draws
from lightdan.measurements.phases.ladders import with_errors
from lightdan.measurements.phases.twist import TwistedOperators
from lightdan.simulation import scalar_field
from lightdan.statistics import jackknife

T = 1.7
"""Temperature at which the oracle's couplings are known."""


def size(rows):
    angles = rows.dtype == torch.float64 and rows.min() >= 0
    m = polarization(rows).norm(dim=1) if angles else rows.double().flatten(1).mean(1).abs()
    return m[None]


def oracle(shape, names, couplings, distance=1.5, **site):
    """Return the Hamiltonian of operators with βJ given by their names, 0 for all others."""
    symmetries = ("translation", "rotation", "reflection")
    lattice = UniformLattice(shape, symmetries, distance, **site)
    operators = [o for o in lattice.operators(names) if o.name in couplings]
    assert {o.name for o in operators} == set(couplings)
    beta_j = np.array([couplings[o.name] for o in operators])
    site = {key: site[key] for key in ("site_kind", "levels") if key in site}
    return ExplicitHamiltonian.from_couplings(shape, operators, beta_j, T, **site)


def grid_of_fields():
    """Return all fields of three sites on a grid that integrates smooth functions exactly."""
    axis = np.linspace(-4, 4, 33)
    return np.array(list(itertools.product(axis, repeat=3)))


def states_of(levels, num):
    return np.array(list(itertools.product(levels, repeat=num)))


@pytest.mark.parametrize("partial", [False, True], ids=["all terms", "pairs alone"])
@pytest.mark.parametrize(
    ("hamiltonian", "states"),
    [
        pytest.param(
            oracle((3, 3), None, {"field": 0.1, "nearest_neighbour": 0.35, "plaquette": 0.1}),
            lambda: states_of((-1, 1), 9),
            id="spins",
        ),
        pytest.param(
            oracle(
                (2, 3),
                ("potts", "powers"),
                {"potts_0_1": 0.5, "potts_1_0": 0.4, "power_1": -0.3},
                site_kind="level",
                levels=(0, 1, 3),
            ),
            lambda: states_of((0, 1, 3), 6),
            id="levels",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            oracle(
                (3,),
                ("powers", "pairs"),
                {"power_2": 0.4, "power_4": -0.5, "power_1": 0.1, "nearest_neighbour": 0.5},
                site_kind="real",
                levels=(),
            ),
            grid_of_fields,
            id="fields",
        ),
    ],
)
def test_explicit_chains_equal_the_sum_over_states(hamiltonian, states, partial):
    """Moments at each T', and the peaks between them, with all or some of the terms scaled."""
    rows = states()
    scaled = np.array([not partial or o.order > 1 for o in hamiltonian.operators])
    temperatures = [1.1, 1.7, 2.6]
    chains = explicit_ladders(
        hamiltonian, temperatures, 24, 100, size, scaled=scaled if partial else None
    )
    values = np.stack(
        [
            o.coupling * o.value(rows.reshape(-1, *hamiltonian.lattice_shape))
            for o in hamiltonian.operators
        ]
    )
    part, rest = -(scaled @ values), -(~scaled @ values) / T
    m, num = np.abs(rows.mean(1)), rows.shape[1]

    def exact(t):
        p = np.exp(-part / t - rest - logsumexp(-part / t - rest))
        chi = num * (p @ m**2 - (p @ m) ** 2) / (T if partial else t)
        return p @ part / num, (p @ part**2 - (p @ part) ** 2) / (num * t**2), p @ m, chi

    names = ("energy", "specific_heat", "abs_magnetization", "susceptibility")
    for name, *expected in zip(names, *map(exact, temperatures), strict=True):
        for estimate, value in zip(with_errors(getattr(ladders, name), chains), expected, strict=True):
            within(estimate, value)
            assert estimate.error < 0.05 * abs(value) + 0.03
    grid = np.linspace(1.1, 2.6, 301)
    curves = np.array([exact(t) for t in grid])
    heat, heat_maximum, chi, chi_maximum = with_errors(ladders.peaks, chains, bias_corrected=False)
    for place, maximum, curve in ((heat, heat_maximum, curves[:, 1]), (chi, chi_maximum, curves[:, 3])):
        within(maximum, curve.max())
        inside = 0 < curve.argmax() < len(grid) - 1
        if inside and place.error > 0:
            within(place, grid[curve.argmax()])


@pytest.mark.parametrize("num", [1, 3, 20])
def test_draws_have_the_covariance_of_the_couplings(num):
    root = np.random.default_rng(1).normal(size=(num, num))
    root[0] = 0
    draws = matched_draws(root @ root.T, seed=2)
    np.testing.assert_allclose(np.cov(draws.T), (root @ root.T).squeeze(), atol=1e-10)
    np.testing.assert_allclose(draws.mean(0), 0, atol=1e-12)


def test_angles_equal_the_character_expansion():
    hamiltonian = oracle((4, 4), ("pairs",), {"nearest_neighbour": 1 / T}, site_kind="angle", levels=())
    chains = explicit_ladders(hamiltonian, [0.8, 1.1, 1.7], 16, 60, size)
    for name in ("energy", "specific_heat"):
        for t, estimate in zip(
            chains.temperatures, with_errors(getattr(ladders, name), chains), strict=True
        ):
            within(estimate, XY((4, 4), temperature=t).exact_values(t)[name])


def test_the_helicity_modulus_of_a_ring_with_two_harmonics():
    """Z(φ) = Σ_n c_n^N e^{inNφ} with the Fourier coefficients c_n of a bond, so NΥ = T N² ⟨n²⟩."""
    couplings = {"nearest_neighbour": 1.1, "cosine_2_1": 0.4}
    hamiltonian = oracle((5,), ("pairs", "pairs_2"), couplings, site_kind="angle", levels=())
    chains = explicit_ladders(hamiltonian, [0.9, 1.7, 2.5], 24, 100, size)
    angle = 2 * np.pi * np.arange(256) / 256
    n = np.fft.fftfreq(256, 1 / 256)

    def exact(t):
        bond = np.exp((1.1 * np.cos(angle) + 0.4 * np.cos(2 * angle)) * T / t)
        weights = np.fft.fft(bond).real ** 5
        return 5 * t * (weights @ n**2) / weights.sum()

    for t, estimate in zip(
        chains.temperatures, with_errors(ladders.helicity_modulus, chains), strict=True
    ):
        within(estimate, exact(t))
        assert estimate.error < 0.15
    grid = np.linspace(0.9, 2.5, 401)
    below = np.array([exact(t) - 2 * t / np.pi for t in grid]) > 0
    (crossing,) = with_errors(ladders.helicity_crossing, chains, bias_corrected=False)
    within(crossing, grid[np.flatnonzero(below)[-1]])
    assert crossing.error < 0.05


def test_twists_are_derivatives_of_every_operator():
    """Each class of displacements, written with shifted arrays, and a plaquette, under a small twist."""
    shape, names = (5, 6), ("pairs", "pairs_2", "sines", "plaquettes", "triples")
    lattice = UniformLattice(shape, ("translation",), 2.3, "angle", ())
    operators = lattice.operators(names)
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, (3, *shape))

    def cosine(steps, orders, phi, axis):
        """Σ_x cos Σ_k n_k (θ_{x + r_k} + φ r_k)."""
        phase = sum(
            n * (np.roll(angles, [-s for s in r], (1, 2)) + phi * r[axis])
            for n, r in zip(orders, steps, strict=True)
        )
        return phase.reshape(3, -1)

    def value(operator, phi, axis):
        zero = (0, 0)
        if operator.name == "plaquette":
            return np.cos(cosine([zero, (0, 1), (1, 0), (1, 1)], [1, -1, -1, 1], phi, axis)).sum(1)
        if operator.name == "triple":
            return sum(
                np.cos(cosine([zero, r, (2 * r[0], 2 * r[1])], [1, -2, 1], phi, axis)).sum(1)
                for r in ((0, 1), (1, 0))
            )
        order = 2 if operator.name.startswith("cosine_2") else 1
        function = np.sin if operator.name.startswith("sine") else np.cos
        return function(cosine([zero, operator.displacement], [-order, order], phi, axis)).sum(1)

    found = TwistedOperators(operators, shape)(angles.reshape(3, -1))
    h = 1e-4
    for index, operator in enumerate(operators):
        np.testing.assert_allclose(found[0, index], operator.value(angles), atol=1e-10)
        for axis in (0, 1):
            # On six sites, both ways to a displacement of three are equally long; here none reaches it.
            up, middle, down = (value(operator, phi, axis) for phi in (h, 0, -h))
            np.testing.assert_allclose(found[1 + axis, index], (up - down) / (2 * h), atol=1e-5)
            second = (up - 2 * middle + down) / h**2
            np.testing.assert_allclose(found[3 + axis, index], second, atol=1e-4)


@pytest.mark.slow
def test_the_susceptibility_of_phi4_at_other_hoppings_is_that_of_direct_simulation():
    couplings = {"nearest_neighbour": 0.6, "power_2": 0.0, "power_4": -0.5}
    hamiltonian = oracle((4, 4), None, couplings, site_kind="real", levels=())
    scaled = np.array([o.name == "nearest_neighbour" for o in hamiltonian.operators])
    hoppings = [0.34, 0.3]
    chains = explicit_ladders(
        hamiltonian, [T * 0.3 / kappa for kappa in hoppings], 32, 150, size, scaled=scaled
    )
    for kappa, estimate in zip(hoppings, with_errors(ladders.susceptibility, chains), strict=True):
        m = np.abs(scalar_field.simulate((4, 4), kappa, 0.5, 3000).configurations.mean((1, 2)))
        direct = jackknife(lambda a, b: 16 * (b - a**2) / T, m, m**2)
        difference = estimate.value - direct.value
        assert abs(difference) < 4 * np.hypot(estimate.error, direct.error)
        assert estimate.error < 0.05 * direct.value


@pytest.mark.slow
def test_the_crossing_of_xy_on_16_by_16():
    """Direct simulation of the XY model has Υ = 2T/π at 0.936."""
    hamiltonian = oracle(
        (16, 16), ("pairs",), {"nearest_neighbour": 1 / T}, site_kind="angle", levels=()
    )
    chains = explicit_ladders(hamiltonian, [0.88, 0.91, 0.94, 0.97, 1.0], 16, 60, size)
    (crossing,) = with_errors(ladders.helicity_crossing, chains, bias_corrected=False)
    assert crossing.value == pytest.approx(0.936, abs=0.01)
    assert crossing.error < 0.004
