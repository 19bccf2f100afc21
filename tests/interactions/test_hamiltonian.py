import json

import numpy as np
import pytest

from lightdan.interactions.catalogue import uniform_operators
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.operators import Operator
from lightdan.lattices.bravais import hypercubic
from lightdan.simulation import explicit, kaufman, terms
from lightdan.simulation.heat_bath import sweep
from lightdan.testing import all_configurations


def random_hamiltonian(shape=(3, 3), seed=0, orders=(1, 2, 3, 4)):
    rng = np.random.default_rng(seed)
    sites = np.prod(shape)
    operators = [
        Operator(
            f"{order} spins, {k}",
            np.array([rng.choice(sites, order, replace=False) for _ in range(4)]),
            rng.normal(),
        )
        for order in orders
        for k in range(2)
    ]
    return ExplicitHamiltonian(shape, operators, temperature=1.5)


def uniform(side, coupling=1.0):
    pairs = hypercubic((side, side)).bonds
    return ExplicitHamiltonian((side, side), [Operator("nearest_neighbour", pairs, coupling)], 2.0)


def test_energy_is_the_sum_over_terms():
    hamiltonian = random_hamiltonian()
    states = all_configurations((3, 3), (-1, 1)).numpy()
    expected = np.zeros(512)
    for operator in hamiltonian.operators:
        for term in operator.sites:
            expected -= operator.coupling * np.prod([states.reshape(512, 9)[:, i] for i in term], axis=0)
    np.testing.assert_allclose(hamiltonian.energy(states), expected)
    found = terms.energies(states.reshape(512, 9).astype(np.int8), hamiltonian.moves())
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(("orders", "even"), [((1, 2, 3, 4), False), ((2, 4), True)])
def test_simulation_visits_states_by_their_weight(orders, even):
    """χ² over all 512 states, at a temperature where the ladder has several rungs."""
    hamiltonian = random_hamiltonian(orders=orders)
    assert hamiltonian.moves().even == even
    assert len(explicit.temperatures_of_ladder(hamiltonian.moves(), 1.5)) > 5
    states = all_configurations((3, 3), (-1, 1)).numpy()
    p = np.exp(-hamiltonian.energy(states) / 1.5)
    p /= p.sum()
    run = hamiltonian.simulate(1.5, 40_000, seed=1)
    assert all(tau.value < 1.2 for tau in run.tau.values())
    index = (run.configurations.reshape(-1, 9) > 0) @ (2 ** np.arange(8, -1, -1))
    counts, expected = np.bincount(index, minlength=512), 40_000 * p
    common = expected > 5
    counts = np.append(counts[common], counts[~common].sum())
    expected = np.append(expected[common], expected[~common].sum())
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi2 - len(counts)) < 6 * (2 * len(counts)) ** 0.5


def test_uniform_couplings_are_the_ising_model_at_any_temperature():
    hamiltonian = uniform(8)
    for temperature in (1.8, 2.4):
        run = hamiltonian.simulate(temperature, 8000, seed=2)
        energy = hamiltonian.energy(run.configurations) / 64
        exact = kaufman.thermodynamics((8, 8), temperature).energy / 64
        error = energy.std() * (2 * max(t.value for t in run.tau.values()) / 8000) ** 0.5
        assert abs(energy.mean() - exact) < 4 * error


@pytest.mark.slow
def test_chains_side_by_side_at_temperatures_of_their_own():
    hamiltonian = uniform(4)
    spins = np.ones((4000, 16), np.int8)
    temperatures = np.repeat([2.0, 4.0], 2000)
    sweep(spins, hamiltonian.moves(), temperatures, 60, seed=3)
    again = np.ones((4000, 16), np.int8)
    sweep(again, hamiltonian.moves(), temperatures, 60, seed=3)
    np.testing.assert_array_equal(spins, again)
    for rows, temperature in zip(np.split(spins, 2), (2.0, 4.0), strict=True):
        energy = hamiltonian.energy(rows.reshape(-1, 4, 4))
        exact = kaufman.thermodynamics((4, 4), temperature).energy
        assert abs(energy.mean() - exact) < 4 * energy.std() / 2000**0.5


def test_file_gives_the_same_hamiltonian(tmp_path):
    hamiltonian = random_hamiltonian()
    (tmp_path / "h.json").write_text(hamiltonian.to_json())
    read = ExplicitHamiltonian.load(tmp_path / "h.json")
    states = all_configurations((3, 3), (-1, 1)).numpy()
    np.testing.assert_array_equal(read.energy(states), hamiltonian.energy(states))
    assert read.temperature == 1.5
    assert [o.name for o in read.operators] == [o.name for o in hamiltonian.operators]


def test_file_keeps_displacements(tmp_path):
    operators = uniform_operators((4, 5), ("reflection",), 1.5)
    hamiltonian = ExplicitHamiltonian.from_couplings((4, 5), operators, np.arange(len(operators)) / 3.0)
    (tmp_path / "h.json").write_text(hamiltonian.to_json())
    read = ExplicitHamiltonian.load(tmp_path / "h.json")
    for before, after in zip(hamiltonian.operators, read.operators, strict=True):
        assert (before.name, before.displacement) == (after.name, after.displacement)
        assert before.coupling == after.coupling


def entry(**change):
    content = {"name": "x", "displacement": None, "coupling": 1.0, "error": None, "sites": [[1, 2]]}
    return {"operators": [content | {"products": None} | change]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 1}, "its format is 1, not 3; measure it again"),
        ({"temperature": 0}, "temperature is not positive"),
        ({"lattice_shape": [2, 2]}, "names a site beyond the 4"),
        (entry(sites=[[1, 1]]), "a site twice"),
        (entry(coupling=None), "float"),
        (entry(coupling=float("nan")), "not a finite number"),
        (entry(sites=[1]), "not a list of terms"),
        (
            entry(products=[{"weight": [float("nan"), 0], "factors": [{"power": 1}, {"power": 1}]}]),
            "a weight of x is not a finite number",
        ),
        ({"operators": [], "covariance": [[1.0]]}, "its covariance does not fit"),
        (entry() | {"covariance": [[float("nan")]]}, "covariance has a number that is not finite"),
        (entry(displacement=[1]), "displacement of x does not fit"),
        (entry(displacement=[1, 0], sites=[[1]]), "displacement of x does not fit"),
        (
            {"operators": [{"name": "x", "sites": [[1]], "displacement": None, "products": None}]},
            "it has no 'coupling'",
        ),
    ],
)
def test_damaged_files_are_named_with_their_fault(change, words, tmp_path):
    path = tmp_path / "h.json"
    path.write_text(json.dumps(json.loads(random_hamiltonian().to_json()) | change))
    with pytest.raises(ValueError, match=rf"h.json cannot be read as a Hamiltonian: .*{words}"):
        ExplicitHamiltonian.load(path)
