import json
import math

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from oracle import Oracle
from trainers import quiet_trainer

from lightdan import MADE, Ising, Measurement
from lightdan.measurements.ensemble import Ensemble, NotMeasurable, Samples
from lightdan.measurements.hamiltonian import Hamiltonian, varies
from lightdan.measurements.importance_sampling import ImportanceSampling, independence_chains, reduction
from lightdan.measurements.observables import Observables, binder_cumulant, distances, two_point
from lightdan.measurements.report import Result
from lightdan.measurements.symmetry import Symmetry
from lightdan.statistics import Blocks, Bound, Estimate, acceptance
from lightdan.testing import MeasurementTests, all_configurations, randomize

SHAPE, TEMPERATURE = (3, 3), 2.0


class TestHamiltonian(MeasurementTests):
    def make(self, **kwargs):
        return Hamiltonian(num_samples=500, **kwargs)


class TestObservables(MeasurementTests):
    def make(self, **kwargs):
        return Observables(num_samples=500, **kwargs)


class TestImportanceSampling(MeasurementTests):
    def make(self, **kwargs):
        return ImportanceSampling(num_samples=500, **kwargs)


class TestSymmetry(MeasurementTests):
    def make(self, **kwargs):
        return Symmetry(num_configurations=100, **kwargs)


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    system = Ising(
        shape=SHAPE,
        temperature=TEMPERATURE,
        num_configurations=8000,
        splits=(0.1, 0.1, 0.8),
        cache_dir=str(tmp_path_factory.mktemp("cache")),
    )
    system.setup()
    return system


def oracle(**options):
    model = Oracle(**{"temperature": TEMPERATURE, "lattice_shape": SHAPE, **options})
    return model.double().eval()


def ensemble(system, **options):
    return Ensemble(oracle(**options), system, TEMPERATURE)


def within(estimate, value, errors=4.0):
    assert abs(estimate.value - value) <= errors * estimate.error, (estimate, value)


def test_oracle_has_the_true_hamiltonian(system):
    estimates = Hamiltonian().measure(ensemble(system)).estimates
    exact = system.exact(TEMPERATURE)
    assert estimates["slope"].value == pytest.approx(1, abs=1e-9)
    assert estimates["r2"].value == pytest.approx(1, abs=1e-9)
    assert estimates["kl"].value == pytest.approx(0, abs=1e-9)
    for name in ("ln_z", "intercept"):
        assert estimates[name].value == pytest.approx(exact.log_partition, abs=1e-9)
    within(estimates["nll"], exact.entropy)


def test_there_is_no_line_through_equal_energies(system):
    measured = ensemble(system)
    measured.configurations = torch.ones(20, *SHAPE)
    measured.blocks = Blocks(np.arange(20), 20)
    result = Hamiltonian().measure(measured)
    assert result.estimates.keys() == {"ln_z", "nll", "kl"}
    assert "no slope" in result.notes[0]
    energies = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    assert varies(energies)
    assert not varies(energies[:4])
    assert not varies(energies[[0, 1, 3, 4, 0, 1]], Blocks(np.array([0, 2, 4]), 6))
    assert binder_cumulant(np.zeros(200)).error == math.inf


def test_divergence_of_a_wrong_model_against_enumeration(system):
    measured = ensemble(system, distortion=0.3)
    estimates = Hamiltonian().measure(measured).estimates
    exact = system.exact(TEMPERATURE)
    with torch.no_grad():
        states = measured.model.states
        log_q = measured.model.log_prob(states)
    log_p = -system.energy(states) / TEMPERATURE - exact.log_partition
    divergence = (log_p.exp() * (log_p - log_q)).sum().item()
    within(estimates["kl"], divergence)
    within(estimates["ln_z"], exact.log_partition)
    assert 0 < estimates["kl"].error < 0.2 * divergence
    p = log_p.exp()
    x, y = -log_p - exact.log_partition, -log_q
    mx, my = (p * x).sum(), (p * y).sum()
    slope = (p * (x - mx) * (y - my)).sum() / (p * (x - mx) ** 2).sum()
    within(estimates["slope"], slope.item())
    within(estimates["intercept"], (my - slope * mx).item())


def test_importance_sampling_of_a_wrong_model_is_exact(system):
    measured = ensemble(system, distortion=0.3)
    result = ImportanceSampling(num_samples=8000).measure(measured)
    exact = system.exact(TEMPERATURE)
    sites = system.num_sites
    for name in ("energy", "metropolis_energy"):
        within(result.estimates[name], exact.energy / sites)
    within(result.estimates["free_energy"], exact.free_energy / sites)
    within(result.estimates["specific_heat"], exact.specific_heat / sites)
    assert result.estimates["variational_free_energy"].value > exact.free_energy / sites
    with torch.no_grad():
        log_q = measured.model.log_prob(measured.model.states)
    w = (-system.energy(measured.model.states) / TEMPERATURE - log_q).exp()
    q = log_q.exp()
    within(result.estimates["ess"], ((q * w).sum() ** 2 / (q * w**2).sum()).item())
    assert set(result.reference) >= {"energy", "free_energy"}
    perfect = ImportanceSampling(num_samples=500).measure(ensemble(system)).estimates
    assert perfect["ess"].value == pytest.approx(1)
    assert perfect["acceptance"].value == pytest.approx(1)


@pytest.mark.slow
def test_intervals_cover_what_they_promise(system):
    # 68 ± 7 % of the 68 % intervals of E and F over 200 seeds.
    measured = ensemble(system, distortion=0.4)
    states = measured.model.states
    log_q = measured.evaluate(measured.model.log_prob, states)
    exact = system.exact(TEMPERATURE)
    truth = {"energy": exact.energy, "free_energy": exact.free_energy, "metropolis_energy": exact.energy}
    hits = dict.fromkeys(truth, 0)
    for seed in range(200):
        indices = np.random.default_rng([seed, 1]).choice(len(states), 1000, p=np.exp(log_q))
        samples = Samples(measured, states[indices])
        samples.log_prob = log_q[indices]
        measured.keep(("samples", 1000, seed), lambda samples=samples: samples)
        estimates = ImportanceSampling(num_samples=1000, seed=seed).measure(measured).estimates
        for name, value in truth.items():
            estimate = estimates[name]
            hits[name] += abs(estimate.value - value / system.num_sites) < estimate.error
    assert all(0.61 <= hit / 200 <= 0.75 for hit in hits.values()), hits


def test_independence_chains_visit_by_weight():
    log_weights = np.log(np.random.default_rng(0).choice([1.0, 3.0], 100_000))
    visited = independence_chains(log_weights, seed=1)
    assert visited.shape == (10, 10_000)
    heavy = (log_weights[visited] > 1).mean()
    assert heavy == pytest.approx(0.75, abs=0.01)
    # Half of the chain's proposals are heavy; a light one is accepted from a heavy with 1/3.
    exact = 0.25 * 1 + 0.75 * (0.5 + 0.5 / 3)
    within(acceptance(log_weights), exact)
    assert (np.diff(visited) > 0).mean() == pytest.approx(exact, abs=0.01)
    assert reduction(log_weights[visited]) == pytest.approx(1.0, abs=0.002)


def test_chains_that_stick_apart_disagree():
    series = np.random.default_rng(0).normal(size=(10, 400)) + np.arange(10)[:, None]
    # The variance of the means is that of 0 … 9, besides 1/400 of noise.
    assert reduction(series) == pytest.approx(math.sqrt(1 + 55 / 6), rel=0.05)
    assert reduction(np.repeat(np.arange(2.0)[:, None], 5, axis=1)) == math.inf
    assert reduction(np.ones((3, 5))) == 1.0


def test_few_effective_samples_have_no_error(system):
    measured = ensemble(system, distortion=0.3)
    result = ImportanceSampling(num_samples=60).measure(measured)
    assert "effective samples" in result.remarks["energy"]
    assert {"ess", "ln_z", "specific_heat", "metropolis_energy"} <= {*result.remarks}
    assert all(result.estimates[name].error == math.inf for name in result.remarks)
    assert "variational_free_energy" not in result.remarks


def test_samples_that_miss_a_part_of_the_data_have_no_error(system):
    measured = ensemble(system)
    measured.keep(("samples", 800, 0), lambda: Samples(measured, measured.configurations[:800]))
    samples = measured.samples(800, 0)
    samples.log_prob = samples.log_prob.copy()
    assert ImportanceSampling.unseen(measured, samples.log_weights + 1e-6) is None
    words = ImportanceSampling.unseen(measured, samples.log_weights - 1.0)
    assert words == "100 % of the data have larger weights than any sample"


def test_observables_of_the_oracle_agree_with_data(system):
    result = Observables(num_samples=4000).measure(ensemble(system))
    for name, estimate in result.estimates.items():
        if name.endswith("_z"):
            assert abs(estimate.value) < 4, name
    exact = system.exact(TEMPERATURE)
    within(result.estimates["energy"], exact.energy / system.num_sites)
    within(result.estimates["specific_heat"], exact.specific_heat / system.num_sites)
    assert {"energy_data", "abs_magnetization", "susceptibility"} <= set(result.estimates)


@pytest.mark.slow
def test_fluctuations_equal_the_sum_over_all_states(system):
    """Compare Binder cumulant and susceptibility, plain and reweighted, with the sum over all states."""
    states = all_configurations(SHAPE, (-1, 1))
    p = (-system.energy(states) / TEMPERATURE).softmax(0)
    m = states.flatten(1).mean(1).abs()
    m1, m2, m4 = ((p * m**power).sum().item() for power in (1, 2, 4))
    exact = {
        "binder_cumulant": 1 - m4 / (3 * m2**2),
        "susceptibility": system.num_sites * (m2 - m1**2) / TEMPERATURE,
    }
    plain = Observables(num_samples=8000).measure(ensemble(system)).estimates
    weighted = ImportanceSampling(num_samples=8000).measure(ensemble(system, distortion=0.3)).estimates
    for name, value in exact.items():
        within(plain[name], value)
        within(plain[f"{name}_data"], value)
        within(weighted[name], value)
        assert max(plain[name].error, weighted[name].error) < 0.05 * value


def test_observables_see_a_wrong_model(system):
    result = Observables(num_samples=4000).measure(ensemble(system, distortion=0.3))
    assert result.estimates["magnetization_z"].value > 5


def test_estimates_equal_the_sum_over_all_65536_states():
    temperature = 6.0  # near enough to the random network for its weights
    model = randomize(MADE(lattice_shape=(4, 4), width=2), scale=0.1)
    system = Ising(shape=4, temperature=temperature)
    states = all_configurations((4, 4), (-1, 1))
    measured = Ensemble(model, system, temperature)
    measured.configurations = states[::100]  # the data do not matter here
    measured.blocks = Blocks(np.arange(num := len(measured.configurations)), num)
    with torch.no_grad():
        p = model.log_prob(states).exp()
    estimates = Observables(num_samples=4000).measure(measured).estimates
    for name, function in system.observables(1.0).items():
        within(estimates[name], (p * function(states)).sum().item())
    energy = system.energy(states)
    variance = (p * energy**2).sum() - (p * energy).sum() ** 2
    within(estimates["specific_heat"], variance.item() / (16 * temperature**2))
    free_energy = (p * (energy + temperature * p.log())).sum().item() / 16
    reweighted = ImportanceSampling(num_samples=4000).measure(measured).estimates
    within(reweighted["variational_free_energy"], free_energy)
    within(reweighted["energy"], system.exact(temperature).energy / 16)


def test_two_point_function_by_hand(system):
    s = torch.tensor([[[1, 1, -1], [1, -1, 1], [-1, 1, 1]]], dtype=torch.float64)
    expected = sum((s.roll(-1, axis) * s).mean().item() for axis in (1, 2)) / 2
    assert two_point(ensemble(system), s)[0, 0] == pytest.approx(expected)


def test_two_point_function_by_true_distance():
    """At the distance 1 on a kagome lattice it is the mean over the bonds."""
    kagome = Ising(shape=4, lattice="kagome")
    s = all_configurations((1, 4, 3), (-1, 1))[1234:1237].repeat(1, 4, 1, 1)
    found = two_point(Ensemble(MADE.for_system(kagome), kagome, 1.0), s)
    first, second = s.flatten(1)[:, torch.from_numpy(kagome.lattice.bonds.T)].unbind(1)
    assert found[:, 0] == pytest.approx((first * second).mean(1).numpy())
    assert distances(kagome.lattice) == pytest.approx([1, 3**0.5, 2])
    assert found.shape == (3, 3)


def test_symmetry_of_the_oracle_and_of_a_wrong_model(system):
    exact = Symmetry(num_configurations=100).measure(ensemble(system)).estimates
    assert set(system.symmetries) <= set(exact)
    assert all(abs(estimate.value) < 1e-9 for estimate in exact.values())
    wrong = Symmetry(num_configurations=100).measure(ensemble(system, distortion=0.3)).estimates
    assert wrong["z2"].value > 0.1
    assert 0 < wrong["z2"].error < wrong["z2"].value


def test_symmetry_says_when_it_was_given(system):
    measured = ensemble(system, distortion=0.3, symmetrize=["z2"], augment=["translation"])
    result = Symmetry(num_configurations=50).measure(measured)
    assert result.estimates["z2"].value < 1e-9
    assert result.estimates["z2_bare"].value > 0.1
    assert "z2 (symmetrize)" in result.notes[0]
    assert "translation (augment)" in result.notes[0]
    assert "before symmetrisation" in result.notes[1]
    assert {"z2", "z2_bare", "translation_spread"} <= result.unlisted
    assert "rotation" not in result.unlisted


def test_bounds_are_no_references_to_scatter_about(system):
    measured = ensemble(system, distortion=0.3)
    learned = Hamiltonian(num_samples=500).measure(measured)
    assert learned.reference["r2"] == Bound(1.0, "≤")
    assert learned.reference["kl"] == Bound(0.0, "≥")
    assert learned.reference["slope"] == 1.0
    weighted = ImportanceSampling(num_samples=500).measure(measured)
    free_energy = weighted.reference["free_energy"]
    assert weighted.reference["variational_free_energy"] == Bound(free_energy, "≥")
    assert weighted.reference["ess"] == Bound(1.0, "≤")


class Broken(Measurement):
    name = "broken"

    def measure(self, ensemble):
        raise RuntimeError("no such thing")


class Constant(Measurement):
    name = "constant"

    def measure(self, ensemble):
        estimates = {"seven": Estimate(7.0, math.inf), "eight": Estimate(8.0, 1.0)}
        reference = {"seven": Bound(math.inf, "≤"), "eight": 8.0}
        return Result(estimates, reference=reference, notes=["seven is seven"])


class BadLuck(Measurement):
    name = "bad_luck"

    def measure(self, ensemble):
        raise NotMeasurable("The system has no luck.")


def test_one_failure_does_not_lose_the_others(system, tmp_path, capsys):
    trainer = quiet_trainer(logger=CSVLogger(tmp_path), callbacks=[Broken(), Constant(), BadLuck()])
    with pytest.warns(UserWarning, match="broken: failed: RuntimeError: no such thing"):
        trainer.test(oracle(), datamodule=system, verbose=False)
    written = json.loads(next(tmp_path.rglob("constant.json")).read_text())
    assert written["estimates"]["seven"] == {"value": 7.0, "error": None}
    assert written["reference"] == {"seven": None, "eight": 8.0}
    assert written["reference_kind"] == {"seven": "upper bound", "eight": "exact"}
    output = capsys.readouterr().out
    assert "constant: seven is seven" in output
    assert "broken: failed: RuntimeError: no such thing" in output
    assert "bad_luck: skipped. The system has no luck." in output
    assert "Ising, 3 × 3 sites, periodic, T=2" in output
    assert "800 training, 800 validation, 6,400 test" in output
