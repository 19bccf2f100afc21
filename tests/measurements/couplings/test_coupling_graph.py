import json
import math

import numpy as np
import pytest
import torch
from oracle import within

from lightdan import (
    MADE,
    XY,
    CouplingGraph,
    ExplicitHamiltonian,
    NotMeasurable,
    Operator,
    Recorded,
    edwards_anderson,
)
from lightdan.interactions.graph_fit import fit_terms
from lightdan.measurements.ensemble import Ensemble


def test_the_graph_of_a_glass_and_a_product_that_the_network_knows(tmp_path):
    """The data come from a glass with a product of distant spins; the network is exact."""
    glass = edwards_anderson((3, 4), seed=2)
    product = Operator("product", np.array([[0, 2, 7, 9]]), 1.2)
    exact = ExplicitHamiltonian((3, 4), [*glass.operators, product], 2.0)
    np.save(tmp_path / "glass.npy", exact.simulate(2.0, 20_000, seed=1).configurations)
    system = Recorded(
        str(tmp_path / "glass.npy"), boundary="periodic", temperature=2.0, splits=(0.5, 0.1, 0.4)
    )
    system.setup()

    class Exact(MADE):
        def local_fields(self, configurations, temperature, sites=None):
            states = configurations.flatten(1).double()
            before = exact.energy(states.numpy())
            fields = torch.zeros(*states.shape, 2, dtype=torch.float64)
            for site in range(12):
                for level, value in enumerate((-1, 1)):
                    changed = states.clone()
                    changed[:, site] = value
                    fields[:, site, level] = torch.tensor(exact.energy(changed.numpy()) - before)
            return fields

    model = Exact(lattice_shape=(3, 4), width=1)
    result = CouplingGraph(num_samples=3000).measure(Ensemble(model, system, 2.0))
    (tmp_path / "h.json").write_text(result.attachments["hamiltonian.json"])
    learned = ExplicitHamiltonian.load(tmp_path / "h.json")
    truth = {tuple(o.sites[0]): o.coupling for o in exact.operators}
    fitted = {tuple(o.sites[0]): (o.coupling, o.error) for o in learned.operators}
    assert fitted.keys() == truth.keys()
    for term, (coupling, error) in fitted.items():
        assert abs(coupling - truth[term]) < 4.5 * error
    within(result.estimates["product_0_2_7_9"], 0.6)
    assert result.estimates["product_0_2_7_9_network"].value == pytest.approx(0.6, abs=0.01)
    within(result.estimates["rms_bond"], 0.5)
    assert "24 of two and 1 of more" in result.notes[0]


def test_the_graph_of_noise_and_of_few_angles(tmp_path):
    spins = np.random.default_rng(1).choice(np.array([-1, 1], np.int8), (2000, 3, 3))
    np.save(tmp_path / "noise.npy", spins)
    system = Recorded(str(tmp_path / "noise.npy"))
    system.setup()
    with pytest.raises(NotMeasurable, match="No field, bond or product of spins is significant"):
        CouplingGraph().measure(Ensemble(MADE(lattice_shape=(3, 3)), system, 1.0))
    angles = XY(shape=3, num_configurations=16, splits=(0.5, 0.25, 0.25), cache_dir=str(tmp_path))
    angles.prepare_data()
    angles.setup()
    model = MADE(lattice_shape=(3, 3), site_kind="angle", levels=())
    with pytest.raises(NotMeasurable, match="16 configurations are too few to search 16 couplings"):
        CouplingGraph().measure(Ensemble(model, angles, 1.0))


def states_of(num_sites):
    return np.array((np.arange(2**num_sites)[:, None] >> np.arange(num_sites) & 1) * 2 - 1, np.int8)


def recorded(folder, rows, **options):
    """Return an ensemble of these rows with an untrained network."""
    np.save(folder / "rows.npy", rows)
    system = Recorded(str(folder / "rows.npy"), **{"splits": (0.5, 0.1, 0.4)} | options)
    system.setup()
    return Ensemble(MADE(lattice_shape=rows.shape[1:], width=1), system, 1.0)


def drawn(terms, num_sites, num, seed=0):
    """Draw rows from couplings by enumeration; return them, their distribution and the states."""
    states = states_of(num_sites)
    log_p = sum(j * states[:, list(term)].prod(1) for term, j in terms.items())
    p = np.exp(log_p - np.logaddexp.reduce(log_p))
    return states[np.random.default_rng(seed).choice(len(p), num, p=p / p.sum())], p, states


def test_independent_rare_spins_have_fields_and_no_bond(tmp_path):
    rows = np.where(np.random.default_rng(0).random((40_000, 15)) < 0.05, 1, -1).astype(np.int8)
    result = CouplingGraph(num_samples=500).measure(recorded(tmp_path, rows))
    assert result.notes[0] == "Terms found: 15 of one spin, 0 of two and 0 of more."
    assert result.notes[1].startswith("A sparse graph is chosen: with a Gaussian prior of width 0.0")
    entropy = -15 * (0.05 * math.log(0.05) + 0.95 * math.log(0.95))
    within(result.estimates["nll"], entropy)
    assert result.estimates["nll"].value <= result.estimates["nll_independent"].value + 1e-4
    assert result.estimates["nll_network"].value > 8
    saved = json.loads(result.attachments["hamiltonian.json"])
    fields = {tuple(entry["sites"][0]): entry["coupling"] for entry in saved["operators"]}
    assert fields.keys() == {(site,) for site in range(15)}
    assert [*fields.values()] == pytest.approx([math.log(1 / 19) / 2] * 15, abs=0.05)


def test_the_hamiltonian_of_rare_spins_with_bonds_is_the_most_likely(tmp_path):
    rng = np.random.default_rng(1)
    terms = {(i,): 0.5 * math.log(p / (1 - p)) for i, p in enumerate(rng.uniform(0.02, 0.2, 14))}
    terms |= {(i, i + 3): 0.4 * (-1) ** i for i in range(0, 11, 2)}
    rows, p, _ = drawn(terms, 14, 30_000)
    result = CouplingGraph(num_samples=500).measure(recorded(tmp_path, rows))
    within(result.estimates["nll"], -(p @ np.log(p)))
    for name in ("independent", "pseudo_likelihood", "network"):
        other = result.estimates[f"nll_{name}"]
        assert result.estimates["nll"].value <= other.value + 0.003
    assert result.notes[0] == "Terms found: 14 of one spin, 6 of two and 0 of more."
    assert not any("loses" in note for note in result.notes)
    found = [tuple(term) for term in result.arrays["sites"].tolist()]
    values, errors = result.arrays["couplings"].T
    truth = np.array([terms[tuple(i for i in term if i >= 0)] for term in found])
    assert 0.5 < np.sqrt(np.square((values - truth) / errors).mean()) < 1.5


def test_few_rows_with_many_small_couplings_have_all_pairs(tmp_path):
    rng = np.random.default_rng(4)
    terms = {(i,): rng.normal() * 0.3 for i in range(9)}
    terms |= {(i, j): rng.normal() * 0.15 for i in range(9) for j in range(i + 1, 9)}
    rows, _, _ = drawn(terms, 9, 895)
    result = CouplingGraph(num_samples=300).measure(recorded(tmp_path, rows))
    assert result.notes[0] == "Terms found: 9 of one spin, 36 of two and 0 of more."
    assert result.notes[1].startswith("All pairs are chosen: with a Gaussian prior of width 0.")
    assert "pseudo-likelihood that is higher by" in result.notes[1]
    pairs = result.arrays["sites"][9:].tolist()
    truth = np.array([terms[tuple(pair)] for pair in pairs])
    plain = fit_terms(torch.as_tensor(rows), [(i,) for i in range(9)] + [tuple(p) for p in pairs])
    deviation = result.arrays["couplings"][9:, 0] - truth
    assert np.square(deviation).mean() <= np.square(plain.values[9:, 0] - truth).mean()
    assert result.estimates["nll"] == result.estimates["nll_pseudo_likelihood"]


def test_what_the_rows_do_not_determine_is_named(tmp_path):
    rng = np.random.default_rng(0)
    rows = np.where(rng.random((6_000, 10)) < 0.3, 1, -1).astype(np.int8)
    rows[:, 3], rows[:, 7] = 1, rows[:, 4]
    rows = rows[~((rows[:, 1] > 0) & (rows[:, 2] > 0))]
    result = CouplingGraph(num_samples=300).measure(recorded(tmp_path, rows))
    assert result.notes[0] == "Terms found: 9 of one spin, 2 of two and 0 of more."
    undetermined, bounded = result.notes[2:4]
    assert undetermined == (
        "Couplings are undetermined and only bounded: site 3 never changes; sites 4 and 7 are equal in "
        "every row."
    )
    assert bounded == "Only a bound is known of bond_1_2: one combination of the spins is never seen."


def test_configurations_in_which_nothing_changes(tmp_path):
    ensemble = recorded(tmp_path, np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (900, 4)))
    ensemble.system.data.configurations[:] = 1
    with pytest.raises(NotMeasurable, match="No spin changes in any of the 900 configurations"):
        CouplingGraph().measure(ensemble)


def test_a_hamiltonian_that_held_out_data_refuse_says_so(tmp_path):
    """A product of three spins is invisible to an untrained network, but not to the exact one."""
    rows, p, _ = drawn({(0, 1, 2): 0.8, (3, 4): 0.5}, 6, 4_000)
    ensemble = recorded(tmp_path, rows)
    places = (ensemble.configurations > 0).long() @ 2 ** torch.arange(6)
    known = Ensemble(ensemble.model, ensemble.system, 1.0, torch.as_tensor(np.log(p))[places])
    result = CouplingGraph(num_samples=300).measure(known)
    (note,) = [note for note in result.notes if "loses" in note]
    assert note.startswith("This Hamiltonian loses to network (by 0.2")
    assert note.endswith("on held-out configurations: something is missing in it.")
