"""Every operator of the catalogue, in its energies, local fields, derivatives, files and simulation."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lightdan.interactions.catalogue import CATALOGUE, UniformLattice, contrasts_of
from lightdan.interactions.factors import Bump
from lightdan.interactions.fit import Undetermined, fit
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.local_fields import LocalFields
from lightdan.interactions.score_matching import match_scores
from lightdan.interactions.site_models import quadrature
from lightdan.lattices.bravais import hypercubic
from lightdan.simulation.terms import energies
from lightdan.testing import all_configurations

LEVELS = {"spin": (-1, 1), "level": (-1, 0, 2), "angle": (), "real": ()}
SHAPE = (3, 4)


def lattice(kind, boundary="periodic", symmetries=("translation", "rotation", "reflection")):
    return UniformLattice(hypercubic(SHAPE, boundary), symmetries, 2.0, kind, LEVELS[kind], -2.5, 2.5)


def configurations(kind, num=40, seed=0):
    rng = np.random.default_rng(seed)
    size = num, *SHAPE
    if kind == "angle":
        return torch.tensor(rng.uniform(0, 2 * np.pi, size))
    if kind == "real":
        return torch.tensor(rng.normal(size=size))
    return torch.tensor(rng.choice(LEVELS[kind], size))


def hamiltonian(kind, names=None, seed=1, **options):
    operators = lattice(kind, **options).operators(names)
    couplings = 0.1 * np.random.default_rng(seed).normal(size=len(operators))
    for index, operator in enumerate(operators):
        if isinstance(bump := operator.products[0].factors[0], Bump):
            couplings[index] -= (bump.start + 2 * bump.width) ** 2  # which confines the field
    return ExplicitHamiltonian.from_couplings(
        SHAPE, operators, couplings, 1.0, site_kind=kind, levels=LEVELS[kind]
    )


def fields_of(model):
    return LocalFields(model.operators, 12, site_kind=model.site_kind, levels=model.levels)


def couplings_of(model):
    return np.array([operator.coupling for operator in model.operators])


EVERY_OPERATOR = [(kind, name) for kind, entries in CATALOGUE.items() for name in entries]


@pytest.mark.parametrize(("kind", "name"), EVERY_OPERATOR)
@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_energies_of_the_catalogue_in_files_and_simulations(kind, name, boundary, tmp_path):
    model = hamiltonian(kind, [name], boundary=boundary)
    states = configurations(kind).numpy()
    energy = model.energy(states)
    assert energy.std() > 0
    (tmp_path / "h.json").write_text(model.to_json())
    np.testing.assert_allclose(ExplicitHamiltonian.load(tmp_path / "h.json").energy(states), energy)
    flat = states.reshape(len(states), -1)
    if kind == "level":
        flat = np.searchsorted(LEVELS[kind], flat).astype(np.int8)
    found = energies(flat, model.moves())
    np.testing.assert_allclose(found - found[0], energy - energy[0], atol=1e-9)


@pytest.mark.parametrize(("kind", "name"), EVERY_OPERATOR)
def test_local_fields_are_the_changes_of_the_energy(kind, name):
    model = hamiltonian(kind, [name])
    fields, couplings = fields_of(model), torch.tensor(couplings_of(model))
    states, others = configurations(kind), configurations(kind, seed=5)
    rows = fields.rows(states)
    for site in (0, 5, 11):
        changed = states.flatten(1).clone()
        changed[:, site] = others.flatten(1)[:, site]
        eta = fields.natural(fields.at(site, rows), couplings)
        before, after = (fields.table(s.flatten(1)[:, site]) for s in (states, others))
        expected = model.energy(states.numpy()) - model.energy(changed.reshape(states.shape).numpy())
        np.testing.assert_allclose((eta * (after - before)).sum(0), expected, atol=1e-9)
    if kind in ("spin", "level"):
        logits = fields.logits(states, couplings_of(model))
        assert logits.shape == ((40, 12) if kind == "spin" else (40, 12, 3))


@pytest.mark.parametrize("kind", ["angle", "real"])
def test_derivatives_are_those_of_the_energy(kind):
    model = hamiltonian(kind, list(CATALOGUE[kind]))
    fields, couplings = fields_of(model), torch.tensor(couplings_of(model))
    states = configurations(kind, 5)
    rows, step = fields.rows(states), 1e-4
    scores = fields.scores(states, couplings_of(model))
    for site in range(12):
        first, second = fields.derivatives(site, rows, fields.at(site, rows))
        energy = []
        for sign in (1, 0, -1):
            moved = states.flatten(1).clone()
            moved[:, site] += sign * step
            energy.append(-model.energy(moved.reshape(states.shape).numpy()))
        columns = couplings[fields.columns[site]]
        slope = (energy[0] - energy[2]) / (2 * step)
        bend = (energy[0] - 2 * energy[1] + energy[2]) / step**2
        np.testing.assert_allclose(columns @ first, slope, atol=1e-6)
        np.testing.assert_allclose(scores[:, site], slope, atol=1e-6)
        np.testing.assert_allclose(columns @ second, bend, atol=1e-4)


@pytest.mark.parametrize("names", [None, ["powers", "pairs", "square_pairs"], ["fields", "potts"]])
def test_exact_conditionals_of_levels_give_the_exact_couplings(names):
    model = hamiltonian("level", names)
    fields, couplings = fields_of(model), couplings_of(model)
    states = configurations("level", 400)
    log_p = fields.logits(states, couplings).log_softmax(-1)
    result = fit(fields, states, log_p.exp())
    np.testing.assert_allclose(result.couplings, couplings, atol=1e-8)
    rest = fit(fields, states, log_p.exp(), offset=log_p)
    np.testing.assert_allclose(rest.couplings, 0, atol=1e-8)


@pytest.mark.parametrize("kind", ["angle", "real"])
def test_exact_scores_give_the_exact_couplings(kind):
    model = hamiltonian(kind)
    fields, couplings = fields_of(model), couplings_of(model)
    states = configurations(kind, 400)
    scores = fields.scores(states, couplings)
    result = match_scores(fields, states, scores, project=True)
    np.testing.assert_allclose(result.couplings, couplings, atol=1e-10)
    assert result.standard_errors.max() < 1e-6
    alone, beyond = match_scores(fields, states), match_scores(fields, states, scores)
    np.testing.assert_allclose(alone.couplings - couplings, beyond.couplings, atol=1e-8)


def test_quadrature_has_the_moments_of_a_von_mises_and_a_normal_distribution():
    from scipy.special import iv

    model = hamiltonian("angle", ["pairs"])
    fields = fields_of(model)
    kappa = torch.tensor([[0.3, 5.0], [0.0, 0.0]], dtype=torch.float64)
    for nodes in (32, 64):
        moments = quadrature(fields, 0, 1, nodes).moments(kappa, None)
        bessel = iv([[0], [1]], kappa[0].numpy())
        np.testing.assert_allclose(moments.log_z, np.log(bessel[0]), atol=1e-10)
        np.testing.assert_allclose(moments.mean[0], bessel[1] / bessel[0], atol=1e-10)
    operators = lattice("real").operators(["powers"])[:2]
    fields = LocalFields(operators, 12, site_kind="real", levels=())
    eta = torch.tensor([[0.4], [-0.5]], dtype=torch.float64)
    moments = quadrature(fields, -6, 6, 60).moments(eta, None)
    assert moments.log_z.item() == pytest.approx(0.08 + np.log(2 * np.pi) / 2, abs=1e-9)
    assert moments.mean[:, 0].tolist() == pytest.approx([0.4, 1.16], abs=1e-9)
    assert moments.covariance[0, 0].item() == pytest.approx(1, abs=1e-9)


def test_pair_matrices_have_zero_sums_and_contain_products():
    contrasts = [np.array(table.values) for table in contrasts_of((-1, 0, 2))]
    assert all(abs(u.sum()) < 1e-12 for u in contrasts)
    np.testing.assert_allclose(np.stack(contrasts) @ np.stack(contrasts).T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(np.diff(contrasts[0]) / np.diff([-1, 0, 2]), contrasts[0][2] * 3 / 5)


def test_single_operators_have_names_of_their_own():
    names = ["pair_1_1", "pairs", "nearest_neighbour", "sine_1_0"]
    found = [operator.name for operator in lattice("angle").operators(names)]
    assert found[0] == "pair_1_1"
    assert sorted(found) == sorted({*found})
    assert {*found} > {"nearest_neighbour", "sine_1_0", "pair_0_1"}
    with pytest.raises(ValueError, match=r"'pair_3_0', .* up to max_distance cosine_1, sine_1"):
        lattice("angle").operators(["pair_3_0"])


def test_rotations_of_a_square_give_sines_one_coupling():
    square = UniformLattice((4, 4), ("rotation",), 1.0, "angle").operators(["sines", "sines_2"])
    assert [(o.name, len(o.sites)) for o in square] == [("sine_1_0", 32), ("sine_2_1_0", 32)]
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, (3, 4, 4))
    steps = [np.roll(angles, -1, axis) - angles for axis in (1, 2)]
    expected = sum(np.sin(step).sum((1, 2)) for step in steps)
    np.testing.assert_allclose(square[0].value(angles), expected)
    for shape, symmetries in (((4, 4), ("reflection",)), ((4, 5), ("rotation",))):
        apart = UniformLattice(shape, symmetries, 1.0, "angle").operators(["sines"])
        assert [operator.name for operator in apart] == ["sine_0_1", "sine_1_0"]


def test_operators_of_another_kind_are_named_with_those_that_fit():
    with pytest.raises(ValueError, match=r"names 'sines', .* 'spin': use some of field, pairs"):
        lattice("spin").operators(["pairs", "sines"])


def test_a_lattice_without_the_operators_is_refused():
    with pytest.raises(ValueError, match="A lattice of 7 sites has no plaquettes: name other"):
        UniformLattice((7,), (), 1.0).operators(["plaquettes"])


@pytest.mark.parametrize("kind", list(LEVELS))
def test_sites_without_interactions_can_be_simulated(kind):
    names = {"spin": "field", "level": "fields", "angle": "fields", "real": "powers"}
    model = hamiltonian(kind, [names[kind]])
    if kind == "real":
        wells = [replace(operator, coupling=-0.5) for operator in model.operators]
        model = replace(model, operators=wells)
    assert model.simulate(1.0, 20).configurations.shape == (20, *SHAPE)


def test_many_and_large_levels_keep_their_values():
    levels = tuple(range(0, 40_000, 200))
    operators = UniformLattice((3,), (), 1.0, "level", levels).operators(["powers"])
    free = ExplicitHamiltonian.from_couplings(
        (3,), operators, np.zeros(2), site_kind="level", levels=levels
    )
    values = free.simulate(1.0, 2000).configurations
    assert values.max() == levels[-1]
    assert abs(values.mean() - np.mean(levels)) < 5 * np.std(levels) / 6000**0.5
    rows = LocalFields(operators, 3, None, None, "level", levels).rows(torch.as_tensor(values))
    assert rows.values.max() == levels[-1]


def test_operators_of_levels_with_physical_values():
    """Check energies and files of spins ±1/2 and ±3/2, whose levels are twice their values."""
    levels, values = (-3, -1, 1, 3), (-1.5, -0.5, 0.5, 1.5)
    states = np.random.default_rng(0).choice(levels, (20, 5))
    lattice = UniformLattice((5,), (), 1.0, "level", levels, level_values=values)
    operators = lattice.operators(["powers", "pairs", "square_pairs", "triples"])
    s = states / 2
    right = np.roll(s, -1, 1)
    expected = {
        "power_1": s.sum(1),
        "power_2": (s**2).sum(1),
        "nearest_neighbour": (s * right).sum(1),
        "square_1": (s**2 * right**2).sum(1),
        "triple": (s * right * np.roll(s, -2, 1)).sum(1),
    }
    assert [operator.name for operator in operators] == [*expected]
    for operator in operators:
        np.testing.assert_allclose(operator.value(states), expected[operator.name])
    couplings = np.arange(1.0, 6.0)
    model = ExplicitHamiltonian.from_couplings(
        (5,), operators, couplings, site_kind="level", levels=levels
    )
    energy = -sum(J * column for J, column in zip(couplings, expected.values(), strict=True))
    np.testing.assert_allclose(model.energy(states), energy)
    irregular = contrasts_of((0, 1, 2), (0.0, 0.1, 7.0))
    slope = np.polyfit((0.0, 0.1, 7.0), irregular[0].values, 1)
    np.testing.assert_allclose(np.polyval(slope, (0.0, 0.1, 7.0)), irregular[0].values, atol=1e-12)


def test_dependent_operators_are_named_by_score_matching():
    operators = lattice("real").operators(["powers", "pairs", "kinetic"])
    fields = LocalFields(operators, 12, None, None, "real", ())
    with pytest.raises(Undetermined, match="dependent on the data"):
        match_scores(fields, configurations("real", 400))


def test_undetermined_couplings_are_named():
    fields = LocalFields(lattice("spin").operators(), 12)
    with pytest.raises(Undetermined, match=r"undetermined \(field, pair_0_1, .* dependent"):
        fit(fields, torch.ones(50, *SHAPE))
    states = all_configurations((2, 2), (-1, 1))[:, :, :1].repeat(1, 1, 2)
    twins = UniformLattice(hypercubic((2, 2), "open"), (), 1.0).operators(["pairs"])
    assert [o.name for o in twins] == ["pair_0_1", "nearest_neighbour"]
    with pytest.raises(Undetermined, match="pair_0_1"):
        fit(LocalFields(twins, 4), states)


def test_potentials_that_do_not_confine_are_refused():
    model = hamiltonian("real", ["potential", "kinetic"])
    inverted = [replace(operator, coupling=-operator.coupling) for operator in model.operators]
    with pytest.raises(ValueError, match="does not confine the field"):
        replace(model, operators=inverted).moves()


def test_weights_are_repetitions():
    for kind in ("spin", "level", "angle", "real"):
        model = hamiltonian(kind)
        fields, states = fields_of(model), configurations(kind, 200)
        counts = 1 + torch.arange(200) % 3
        repeated = states.repeat_interleave(counts, 0)
        weighted = fit(fields, states, weights=counts)
        alone = fit(fields, repeated)
        np.testing.assert_allclose(weighted.couplings, alone.couplings, atol=1e-7)
        np.testing.assert_allclose(weighted.standard_errors, alone.standard_errors, rtol=1e-4)
        if kind in ("angle", "real"):
            weighted = match_scores(fields, states, weights=counts)
            alone = match_scores(fields, repeated)
            np.testing.assert_allclose(weighted.couplings, alone.couplings, atol=1e-8)
            np.testing.assert_allclose(weighted.standard_errors, alone.standard_errors, rtol=1e-4)
