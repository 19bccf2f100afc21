"""Simulated averages of random Hamiltonians of every kind against all states and quadrature."""

import functools
import math

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from lightdan.lattices.bravais import hypercubic
from lightdan.simulation import explicit, kaufman, xy
from lightdan.simulation.annealing import log_partition
from lightdan.simulation.heat_bath import slice_widths, sweep
from lightdan.simulation.tempering import temper
from lightdan.simulation.terms import Potential, Terms, energies, gather
from lightdan.simulation.transfer_matrix import TransferMatrix
from lightdan.statistics import mean

RNG = np.random.default_rng(5)
TABLE = RNG.normal(size=(4, 3))
"""Functions of three levels."""
KNOTS = np.linspace(-2, 2, 9)
SPLINE = CubicSpline(KNOTS, 2 * (KNOTS**2 - 1) ** 2 + 0.5 * np.sin(3 * KNOTS))
"""A potential with two unequal wells, which rises on both sides."""


class Model:
    """A random Hamiltonian with its weighted states, by enumeration or on a grid.

    Args:
        kind: Kind of site.
        terms: Terms of the Hamiltonian, which `energy` evaluates one by one.
        states: All states or the points of a grid `(states, N)`.
        potential: Whether the sites have the potential `SPLINE`.
    """

    def __init__(self, kind, terms, states, potential=False):
        self.kind, self.terms, self.states, self.potential = kind, terms, states, potential
        found = Potential(SPLINE.x, SPLINE.c) if potential else None
        self.interactions = gather(
            kind, states.shape[1], terms, TABLE if kind == "level" else None, found
        )
        self.energies = self.energy(states)

    def factor(self, values, f):
        if self.kind == "spin":
            return values
        if self.kind == "level":
            return TABLE[f, values.astype(int)]
        return np.exp(1j * f * values) if self.kind == "angle" else values.astype(float) ** f

    def energy(self, states):
        total = np.zeros(len(states))
        for sites, factors, coupling in self.terms:
            for term in sites:
                places = zip(term, factors, strict=True)
                product = np.prod([self.factor(states[:, i], f) for i, f in places], axis=0)
                total -= np.real(coupling * product)
        return total + (potential(states).sum(1) if self.potential else 0)

    def probabilities(self, temperature):
        p = np.exp(-(self.energies - self.energies.min()) / temperature)
        return p / p.sum()

    def observables(self, states):
        """Return energies, first and second moments of the sites `(observables, states)`."""
        if self.kind == "angle":
            z = np.exp(1j * states)
            pairs = [z[:, 0] * z[:, 1].conj(), z[:, 0] ** 2 * z[:, 2], z[:, 1] ** 3]
            columns = [f(x) for x in [*z.T, *pairs] for f in (np.real, np.imag)]
        else:
            s = states.astype(float)
            columns = [*s.T, s[:, 0] * s[:, 1], s[:, 0] * s[:, 1] * s[:, 2]]
            columns += [] if self.kind == "spin" else [*(s**2).T, s[:, 0] ** 2 * s[:, 1]]
        return np.stack([self.energy(states), *columns])


def potential(x):
    """Return `SPLINE`, linear beyond its ends."""
    inside = np.clip(x, -2, 2)
    return SPLINE(inside) + (x - inside) * SPLINE(inside, 1)


def random_terms(num_sites, orders, factors, couplings, seed):
    """Return two terms for each order, with random sites, factors and couplings."""
    rng = np.random.default_rng(seed)
    return [
        Terms(
            np.array([rng.choice(num_sites, order, replace=False)]),
            tuple(int(f) for f in rng.choice(factors, order)),
            couplings(rng),
        )
        for order in orders
        for _ in range(2)
    ]


def grid(values, num_sites):
    return np.stack(np.meshgrid(*[values] * num_sites, indexing="ij"), -1).reshape(-1, num_sites)


def normal(rng):
    return float(rng.normal())


def phases(rng):
    return complex(*rng.normal(size=2))


@functools.cache
def model(name):
    if name == "spins":
        return Model("spin", random_terms(6, (1, 2, 2, 3, 4), (1,), normal, 1), grid([-1, 1], 6))
    if name == "ferromagnet":
        bonds = Terms(np.array([[i, (i + 1) % 6] for i in range(6)]), (1, 1), 0.8)
        small = random_terms(6, (1, 2, 4), (1,), lambda rng: 0.2 * rng.normal(), 4)
        return Model("spin", [bonds, *small], grid([-1, 1], 6))
    if name == "levels":
        return Model("level", random_terms(5, (1, 2, 2, 2, 3), range(4), normal, 2), grid(range(3), 5))
    if name == "angles":
        factors = (-3, -2, -1, -1, 1, 1, 2)
        terms = random_terms(3, (1, 2, 2, 3), factors, lambda rng: 0.5 * phases(rng), 3)
        return Model("angle", terms, grid(np.arange(24) * 2 * math.pi / 24, 3))
    if name == "rotor":
        bonds = Terms(np.array([[0, 1], [1, 2], [2, 0]]), (1, -1), 1.0)
        small = random_terms(3, (1, 2, 3), (-2, -1, 1), lambda rng: 0.3 * phases(rng), 3)
        return Model("angle", [bonds, *small], grid(np.arange(24) * 2 * math.pi / 24, 3))
    sites = np.arange(3)[:, None]
    alone = [Terms(sites, (2,), -0.3), Terms(sites, (4,), -0.5), Terms(sites[:1], (1,), 0.3)]
    bonds = [
        Terms(np.array([[0, 1], [1, 2]]), (1, 1), 0.7),
        Terms(np.array([[2, 0]]), (2, 1), 0.4),
        Terms(np.array([[0, 2]]), (2, 2), -0.2),
        Terms(np.array([[0, 1, 2]]), (1, 1, 1), 0.3),
    ]
    return Model("real", [*alone, *bonds], grid(np.linspace(-3.25, 3.25, 53), 3), name == "wells")


ALL = ["spins", "ferromagnet", "levels", "angles", "rotor", "fields", "wells"]
CLUSTERS = ["ferromagnet", "levels", "rotor", "fields", "wells"]


@pytest.mark.parametrize("name", ALL)
def test_energy_is_the_sum_over_terms(name):
    m = model(name)
    np.testing.assert_allclose(energies(m.states, m.interactions), m.energies, atol=1e-12)


@pytest.mark.parametrize("name", CLUSTERS)
def test_clusters_are_made_where_they_pay(name):
    assert model(name).interactions.clusters


def test_no_clusters_are_made_in_a_glass():
    bonds = hypercubic((8, 8)).bonds
    signs = np.random.default_rng(0).choice([-1.0, 1.0], len(bonds))
    terms = [Terms(bond[None], (1, 1), sign) for bond, sign in zip(bonds, signs, strict=True)]
    assert not gather("spin", 64, terms).clusters
    gauge = np.random.default_rng(1).choice([-1.0, 1.0], 64)
    mattis = [Terms(bond[None], (1, 1), gauge[bond].prod()) for bond in bonds]
    assert gather("spin", 64, mattis).clusters


def scores(values, exact):
    """Return the deviations of means from exact values, in standard errors."""
    estimates = [mean(x) for x in values]
    return np.array([(e.value - x) / e.error for e, x in zip(estimates, exact, strict=True)])


@pytest.mark.parametrize("temperature", [0.7, 1.5])
@pytest.mark.parametrize("name", ALL)
def test_simulation_has_the_exact_means(name, temperature):
    m = model(name)
    run = explicit.simulate(m.interactions, temperature, 16_000, seed=1)
    assert max(tau.value for tau in run.tau.values()) < 1.2
    exact = m.observables(m.states) @ m.probabilities(temperature)
    values = m.observables(run.configurations.astype(float)).reshape(len(exact), 16, -1)
    z = scores(values, exact)
    assert np.abs(z).max() < 4
    assert np.sqrt((z**2).mean()) < 1.7


@pytest.mark.parametrize("clusters", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_sweeps_are_in_detailed_balance(name, clusters):
    """⟨f(before) g(after)⟩ = ⟨g(before) f(after)⟩ in equilibrium, and the means are exact."""
    m = model(name)
    interactions = m.interactions._replace(clusters=clusters)
    rng, num = np.random.default_rng(2), 2500
    p = m.probabilities(1.0)
    before = m.states[rng.choice(len(p), num, p=p)].astype(float)
    temperatures = np.ones(num)
    if m.kind in ("angle", "real"):  # away from the grid
        sweep(before, interactions, temperatures, 3, 1)
    after = before.copy()
    sweep(after, interactions, temperatures, 1, 2)
    first, second = m.observables(before), m.observables(after)
    products = first[:, None] * second[None]
    difference = products - products.swapaxes(0, 1)
    upper = np.triu_indices(len(first), 1)
    exact = m.observables(m.states) @ p
    for values in (difference[upper], second - exact[:, None]):
        z = values.mean(1) / (values.std(1) / num**0.5)
        assert np.abs(z).max() < 4


@pytest.mark.parametrize("name", ["ferromagnet", "levels", "angles", "rotor"])
def test_ln_z_of_every_kind(name):
    m = model(name)
    exact = np.logaddexp.reduce(-m.energies)
    if m.kind == "angle":
        exact -= math.log(len(m.states))
    found = log_partition(m.interactions, num_chains=400, num_steps=60, seed=1)
    assert abs(found.value - exact) < 3 * found.error < 0.3


@pytest.mark.parametrize("name", ["levels", "angles", "wells"])
def test_tempering_of_every_kind(name):
    m = model(name)
    temperatures = [0.6, 1.0, 1.6]
    found = temper(m.interactions, temperatures, 60, 40, m.observables, sweeps=5)
    for k, temperature in enumerate(temperatures):
        exact = m.observables(m.states) @ m.probabilities(temperature)
        ladders = found[:, k].mean(2)
        z = (ladders.mean(1) - exact) / (ladders.std(1, ddof=1) / 60**0.5)
        assert np.abs(z).max() < 4


def test_numbers_depend_on_the_seed_alone(monkeypatch):
    m = model("rotor")
    first = explicit.simulate(m.interactions, 1.0, 200, seed=3).configurations
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    again = explicit.simulate(m.interactions, 1.0, 200, seed=3).configurations
    np.testing.assert_array_equal(first, again)
    assert (first != explicit.simulate(m.interactions, 1.0, 200, seed=4).configurations).any()
    assert ((first >= 0) & (first < np.float32(2 * math.pi))).all()


def test_widths_are_the_deviations_of_free_sites():
    alone = [Terms(np.arange(2)[:, None], (2,), -0.5), Terms(np.array([[1]]), (1,), 3.0)]
    widths = slice_widths(gather("real", 2, alone), np.array([1.0, 4.0]))
    np.testing.assert_allclose(widths, [[1, 1], [2, 2]], rtol=1e-6)


def square(side):
    return hypercubic((side, side)).bonds


def test_potts_model_at_its_critical_temperature():
    """E of 4 × 4 sites by transfer matrix."""
    bonds, temperature = square(4), 1 / math.log(1 + 3**0.5)
    terms = [Terms(bonds, (a, a), 1.0) for a in range(3)]
    interactions = gather("level", 16, terms, np.eye(3))
    run = explicit.simulate(interactions, temperature, 16_000, seed=1)
    energy = mean(energies(run.configurations, interactions).reshape(16, -1) / 16)
    assert abs(energy.value + 1.7100623) < 3 * energy.error < 0.02
    reduced = gather("level", 16, [Terms(bonds, (a, a), 1 / temperature) for a in range(3)], np.eye(3))
    found = log_partition(reduced, 400, 100)
    assert abs(found.value - 34.1726081) < 3 * found.error < 0.15


def squares(side):
    sites = np.arange(side**2).reshape(side, side)
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    return np.stack([np.roll(sites, shift, (0, 1)).ravel() for shift in corners], 1)


@pytest.mark.parametrize("temperature", [1.8, 2.269185])
def test_clusters_with_weak_terms_have_the_exact_energy(temperature):
    """Field, diagonal pairs of the other sign and plaquettes on 4 × 4 spins, by enumeration."""
    plaquettes = squares(4)
    terms = [
        Terms(square(4), (1, 1), 1.0),
        Terms(plaquettes[:, [0, 3]], (1, 1), -0.03),
        Terms(plaquettes, (1, 1, 1, 1), 0.05),
        Terms(np.arange(16)[:, None], (1,), 0.02),
    ]
    interactions = gather("spin", 16, terms)
    assert interactions.clusters
    assert (interactions.pair_bonds - interactions.pair_starts[:-1] == 4).all()
    run = explicit.simulate(interactions, temperature, 16_000, seed=3)
    states = (1 - 2 * (np.arange(2**16)[:, None] >> np.arange(16) & 1)).astype(np.int8)
    h = energies(states, interactions)
    p = np.exp(-(h - h.min()) / temperature)
    p /= p.sum()
    m, rows = states.mean(1), run.configurations
    found = [energies(rows, interactions), rows.mean(1), rows.mean(1) ** 2]
    z = scores(np.reshape(found, (3, 16, -1)), [p @ h, p @ m, p @ m**2])
    assert np.abs(z).max() < 4


def test_ring_of_fields_is_a_path():
    """φ⁴ on a ring against the transfer matrix; a potential in place of the powers gives the same."""
    hopping, coupling, sites = 0.4, 0.6, 10
    solved = TransferMatrix(
        lambda x: 2 * hopping * ((1 - 2 * hopping) * x**2 + coupling * (x**2 - 1) ** 2),
        sites / (2 * hopping),
        sites,
    )
    i = np.arange(sites)
    bonds = Terms(np.stack([i, (i + 1) % sites], 1), (1, 1), 2 * hopping)
    powers = [Terms(i[:, None], (2,), 2 * coupling - 1), Terms(i[:, None], (4,), -coupling)]
    knots = np.linspace(-3, 3, 121)
    spline = CubicSpline(knots, (1 - 2 * coupling) * knots**2 + coupling * knots**4)
    for interactions in (
        gather("real", sites, [bonds, *powers]),
        gather("real", sites, [bonds], potential=Potential(spline.x, spline.c)),
    ):
        assert interactions.even
        rows = explicit.simulate(interactions, 1.0, 12_800, seed=2).configurations.astype(float)
        found = [(rows**2).mean(1), (rows * np.roll(rows, 3, 1)).mean(1), rows.mean(1)]
        exact = [solved.mean(np.square), solved.correlator()[3], 0.0]
        assert np.abs(scores(np.reshape(found, (3, 16, -1)), exact)).max() < 4


@pytest.mark.slow
def test_paths_in_a_double_well_have_the_exact_width():
    """⟨x²⟩ and ⟨x⁴⟩ of 128 slices at β = 20 against the transfer matrix."""
    step, sites = 20 / 128, np.arange(128)
    terms = [
        Terms(np.stack([sites, (sites + 1) % 128], 1), (1, 1), 1 / step),
        Terms(sites[:, None], (2,), -1 / step + 2 * 1.96 * step),
        Terms(sites[:, None], (4,), -step),
    ]
    run = explicit.simulate(gather("real", 128, terms), 1.0, 8000, seed=1)
    assert run.updates_per_configuration < 30
    solved = TransferMatrix(lambda x: (x**2 - 1.96) ** 2, 20.0, 128)
    rows = run.configurations.astype(float)
    found = np.reshape([(rows**2).mean(1), (rows**4).mean(1)], (2, 16, -1))
    exact = [solved.mean(np.square), solved.mean(lambda x: x**4)]
    assert exact[0] == pytest.approx(1.60558, abs=1e-5)
    assert np.abs(scores(found, exact)).max() < 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1.0, (-1.3359, 0.4926, 0.6390)), (0.8929, (-1.4503, 0.6482, 0.7191))],
)
def test_angles_are_those_of_longer_runs(temperature, expected):
    """E/N, helicity modulus and |m| of the XY model on 16 × 16 sites."""
    interactions = gather("angle", 256, [Terms(square(16), (1, -1), 1.0)])
    run = explicit.simulate(interactions, temperature, 9600, seed=1)
    rows = run.configurations.reshape(-1, 16, 16)
    order = np.abs(np.exp(1j * run.configurations).mean(1))
    found = [xy.energy(rows) / 256, xy.helicity_modulus(rows, temperature), order]
    for values, value, sigma in zip(found, expected, (0.0003, 0.0010, 0.0004), strict=True):
        estimate = mean(values.reshape(16, -1))
        assert abs(estimate.value - value) < 3 * math.hypot(estimate.error, sigma)


def test_ising_model_at_its_critical_temperature():
    interactions = gather("spin", 256, [Terms(square(16), (1, 1), 1.0)])
    run = explicit.simulate(interactions, 2.269185, 8000, seed=2)
    assert run.updates_per_configuration < 16
    energy = energies(run.configurations, interactions)
    exact = kaufman.thermodynamics((16, 16), 2.269185)
    assert abs(scores([energy.reshape(16, -1)], [exact.energy])[0]) < 4
    square_of_deviation = (energy - exact.energy) ** 2 / 2.269185**2
    assert abs(scores([square_of_deviation.reshape(16, -1)], [exact.specific_heat])[0]) < 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("spin", 4, [Terms(np.array([[0, 4]]), (1, 1), 1.0)]), "beyond the 4"),
        (("spin", 4, [Terms(np.array([[0, 0]]), (1, 1), 1.0)]), "a site twice"),
        (("spin", 4, [Terms(np.array([[0, 1]]), (1,), 1.0)]), "one factor for each"),
        (("spin", 4, [Terms(np.array([[0, 1]]), (1, 2), 1.0)]), "do not fit sites of kind spin"),
        (("angle", 4, [Terms(np.array([[0]]), (0,), 1.0)]), "do not fit sites of kind angle"),
        (("spin", 4, [Terms(np.array([[0]]), (1,), 1j)]), "only angles have phases"),
        (("spin", 4, [Terms(np.array([[0]]), (1,), math.nan)]), "finite"),
        (("level", 4, []), "Levels need a table"),
        (("spin", 4, [], None, Potential(np.zeros(2), np.zeros((4, 1)))), "have no potential"),
    ],
)
def test_terms_that_do_not_fit_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        gather(*arguments)


def test_fields_need_a_bound():
    interactions = gather("real", 2, [Terms(np.array([[0, 1]]), (1, 1), 1.0)])
    with pytest.raises(ValueError, match="does not bound the field of site 0"):
        explicit.simulate(interactions, 1.0, 10)
    with pytest.raises(ValueError, match="Free fields have no partition function"):
        log_partition(interactions)
