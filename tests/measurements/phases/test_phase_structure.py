import numpy as np
import pytest
import torch
from oracle import SHAPE, TEMPERATURE, oracle, within

from lightdan import MADE, XY, DoubleWell, Ising, NotMeasurable, PhaseStructure, Recorded, ScalarField
from lightdan.measurements.couplings.effective_hamiltonian import uniform_hamiltonian
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.phases.control import temperature_control
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate
from lightdan.testing import all_configurations


@pytest.mark.parametrize(
    ("distortion", "hamiltonian"),
    [
        pytest.param(0.0, "network", marks=pytest.mark.slow),
        (0.3, "network"),
        pytest.param(0.3, "best", marks=pytest.mark.slow),
    ],
)
def test_phase_structure_equals_the_sum_over_states(system, distortion, hamiltonian):
    """Estimates are moments of p_θ^{T/T'}, for a right and a wrong network.

    With "best", the couplings replace the wrong network, and estimates agree with the exact moments.
    """
    temperatures = [1.5, 2.0, 2.5, 3.5]
    model = oracle(distortion=distortion)
    measurement = PhaseStructure(
        temperatures,
        hamiltonian=hamiltonian,
        num_ladders=64,
        num_steps=400 if hamiltonian == "best" else 50,
    )
    measured = Ensemble(model, system, TEMPERATURE)
    result = measurement.measure(measured)
    with torch.no_grad():
        log_p = model.log_prob(model.states)
    energy = system.energy(model.states)
    gain = log_p - (log_p_exact := (-energy / TEMPERATURE).log_softmax(0))
    within(result.estimates["nll_gain"], -(log_p_exact.exp() @ gain).item(), errors=5)
    if hamiltonian == "best":
        log_p = log_p_exact
    size = model.states.flatten(1).mean(1).abs()

    def moments(t):
        p = (log_p * TEMPERATURE / t).softmax(0)
        mean = p @ energy
        return (
            mean / 9,
            (p @ (energy - mean) ** 2) / (9 * t * t),
            p @ size,
            9 * (p @ size**2 - (p @ size) ** 2) / t,
        )

    names = ("energy", "specific_heat", "abs_magnetization", "susceptibility")
    for t in temperatures:
        for name, value in zip(names, moments(t), strict=True):
            within(result.estimates[f"{name}@{t:g}"], value.item())
    grid = np.linspace(1.5, 3.5, 2001)
    heat = [moments(t)[1].item() for t in grid]
    within(result.estimates["specific_heat_peak"], grid[int(np.argmax(heat))])
    within(result.estimates["specific_heat_maximum"], max(heat))
    assert result.estimates["specific_heat_peak"].error < 0.1
    if not distortion or hamiltonian == "best":
        for name in ("energy@2.5", "specific_heat@2.5"):
            assert result.reference[name] == pytest.approx(moments(2.5)[name != "energy@2.5"].item())
    if hamiltonian == "network":
        assert result.estimates["acceptance@2"].value > 0.5
    else:
        # The states of lowest energy, at one end of the range of the data, are within it.
        assert result.estimates["seen@1.5"].value > 0.99
        # Linear response ∂E/∂βJ_a = (T/T') Cov(E, O_a); the statistical error of the chains adds to it.
        effective = uniform_hamiltonian(measured, 4.0, 3000, 0)
        operators = [o.value(model.states.numpy()) for o in effective.operators]
        p = (log_p_exact * TEMPERATURE / 2.5).softmax(0).numpy()
        e = (energy.numpy() - p @ energy.numpy()) / 9
        response = [TEMPERATURE / 2.5 * (p * e) @ o for o in operators]
        expected = (response @ effective.covariance @ response) ** 0.5
        assert 0.85 * expected < result.estimates["energy@2.5"].error < 2 * expected


def test_phase_structure_says_where_the_network_saw_nothing(system):
    result = PhaseStructure([2.0, 80.0], hamiltonian="network", num_ladders=8, num_steps=20).measure(
        Ensemble(oracle(), system, TEMPERATURE)
    )
    assert result.estimates["seen@2"].value > 0.99
    assert result.estimates["ess@2"].value == pytest.approx(1)
    assert result.estimates["ess@80"].value < 0.5


def test_phase_structure_goes_on_where_there_are_no_couplings(tmp_path):
    """Three held-out configurations determine no couplings; chains of H_θ move one site at a time."""
    system = Ising(SHAPE, temperature=2.0, num_configurations=60, cache_dir=str(tmp_path))
    measured = Ensemble(oracle(), system, 2.0)
    result = PhaseStructure([1.8, 2.0, 2.5], num_ladders=4, num_steps=5).measure(measured)
    assert "without a Hamiltonian of Couplings: The 3 held-out" in result.notes[0]
    assert "nll_gain" not in result.estimates
    with pytest.raises(NotMeasurable, match="3 held-out configurations are too few"):
        PhaseStructure([1.8, 2.0], hamiltonian="couplings").measure(measured)


def test_exact_values_may_be_missing_at_some_temperatures(system, monkeypatch):
    """The exact solution of XY, for instance, needs a temperature that is not too low."""
    monkeypatch.setattr(
        system, "exact_values", lambda t: {} if t < 2 else {"energy": -1 / t, "free_energy": -2.0}
    )
    estimate = Estimate(-0.5, 0.1)
    columns = {"energy": [estimate, estimate], "seen": [estimate, estimate]}
    result = Result({})
    PhaseStructure.add_columns(
        result, Ensemble(oracle(), system, 2.0), temperature_control(2.0), [1.5, 2.5], columns
    )
    assert result.reference == {"energy@2.5": -0.4}
    assert result.unlisted == {"seen@1.5", "seen@2.5"}
    assert "energy_exact" not in result.arrays


@pytest.mark.slow
def test_angles_from_one_temperature_agree_with_the_character_expansion(tmp_path):
    """An untrained network leaves the couplings to the data; chains of H_θ have their own Υ."""
    system = XY((4, 4), temperature=1.0, num_configurations=2000, cache_dir=str(tmp_path))
    model = MADE(lattice_shape=(4, 4), site_kind="angle", levels=(), width=1).eval()
    measured = Ensemble(model, system, 1.0)
    options = {"max_distance": 1.0, "operators": ["pairs"], "num_ladders": 16, "num_steps": 40}
    values = [0.9, 1.0, 1.1]
    # The trainer measures in this mode.
    with torch.inference_mode():
        result = PhaseStructure(values, **options).measure(measured)
    assert result.estimates["nll_gain"].value > 0
    for t in values:
        for name in ("energy", "specific_heat"):
            within(result.estimates[f"{name}@{t:g}"], system.exact_values(t)[name])
        assert f"acceptance@{t:g}" not in result.estimates
    data = system.helicity_modulus(system.data.rows("train", 1.0).double(), 1.0).numpy()
    upsilon = result.estimates["helicity_modulus@1"]
    assert abs(upsilon.value - data.mean()) < 4 * np.hypot(upsilon.error, data.std() / 42)
    assert 0.9 < result.estimates["helicity_crossing"].value < 1.1
    network = PhaseStructure([1.0, 1.2], "temperature", "network", num_ladders=8, num_steps=5)
    # The untrained network has nearly independent angles, for which Υ = −J²/2T.
    within(network.measure(measured).estimates["helicity_modulus@1"], -0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "lattice"), [((3, 3), "triangular"), ((2, 2), "kagome"), ((9,), "bonds.txt")]
)
def test_spins_on_other_lattices_agree_with_the_sum_over_states(shape, lattice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bonds.txt").write_text(
        "".join(f"{i} {(i + step) % 9}\n" for i in range(9) for step in (1, 4))
    )
    options = {"num_configurations": 4000, "cache_dir": str(tmp_path)}
    system = Ising(shape, lattice=lattice, temperature=4.0, **options)
    measured = Ensemble(MADE.for_system(system, width=1).eval(), system, 4.0)
    measurement = PhaseStructure([3.5, 4.0, 5.0], "temperature", "couplings", 1.0, num_ladders=16)
    result = measurement.measure(measured)
    energy = system.energy(all_configurations(system.lattice_shape, (-1, 1)).double())
    for t in (3.5, 4.0, 5.0):
        p = (-energy / t).softmax(0)
        mean, sites = p @ energy, system.num_sites
        within(result.estimates[f"energy@{t:g}"], mean.item() / sites)
        heat = p @ (energy - mean) ** 2 / (sites * t**2)
        within(result.estimates[f"specific_heat@{t:g}"], heat.item())


@pytest.mark.slow
def test_angles_have_a_helicity_modulus_on_square_cells_only(tmp_path):
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, (400, 3, 3))
    np.save(tmp_path / "angles.npy", angles)
    for lattice, defined in (("hypercubic", True), ("triangular", False)):
        system = Recorded(str(tmp_path / "angles.npy"), boundary="periodic", lattice=lattice)
        measured = Ensemble(MADE.for_system(system, width=1).eval(), system, 1.0)
        measurement = PhaseStructure(
            [0.9, 1.0], "temperature", "couplings", 1.0, ["pairs"], num_ladders=4, num_steps=5
        )
        assert ("helicity_modulus@1" in measurement.measure(measured).estimates) == defined


def test_fields_from_one_hopping_agree_with_integrals_at_others(tmp_path):
    options = {"hopping": 0.3, "coupling": 0.5, "num_configurations": 2000, "cache_dir": str(tmp_path)}
    system = ScalarField((3,), **options)
    model = MADE(lattice_shape=(3,), site_kind="real", levels=(), width=1).eval()
    measured = Ensemble(model, system, 1.0)
    values = [0.25, 0.3, 0.4]
    result = PhaseStructure(values, "hopping", num_ladders=16, num_steps=40).measure(measured)
    assert result.arrays["hopping"].tolist() == values
    axis = torch.linspace(-4, 4, 33, dtype=torch.float64)
    fields = torch.cartesian_prod(axis, axis, axis)
    m = fields.mean(1).abs()
    for kappa in values:
        p = (-ScalarField((3,), hopping=kappa, coupling=0.5).action(fields)).softmax(0)
        found = result.estimates[f"abs_magnetization@{kappa:g}"]
        within(found, (p @ m).item())
        chi = 3 * (p @ m**2 - (p @ m) ** 2)
        within(result.estimates[f"susceptibility@{kappa:g}"], chi.item())
        assert found.error < 0.03
    # As an operator, the same coupling has the values βJ = 2κ, without an error of its own.
    again = PhaseStructure([0.8], "nearest_neighbour", num_ladders=16, num_steps=40).measure(measured)
    within(again.estimates["abs_magnetization@0.8"], (p @ m).item())
    assert again.estimates["abs_magnetization@0.8"].error < 0.03
    with pytest.raises(NotMeasurable, match="so all values need the same sign"):
        PhaseStructure([-0.1, 0.3], "hopping").measure(measured)
    with pytest.raises(NotMeasurable, match="no control 'kappa': use one of temperature, hopping"):
        PhaseStructure([0.1, 0.3], "kappa").measure(measured)


def test_phase_structure_needs_a_magnetisation(tmp_path):
    system = DoubleWell(num_slices=6, beta=2.0, num_configurations=100, cache_dir=str(tmp_path))
    model = MADE(lattice_shape=(6,), site_kind="real", levels=())
    with pytest.raises(NotMeasurable, match="DoubleWell has no observable abs_magnetization"):
        PhaseStructure().measure(Ensemble(model, system, 0.5))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"values": [2.0, 0.0]}, "temperature must be positive and finite"),
        ({"values": [2.0, 2.0]}, "names a value twice"),
        ({"values": [2.0, 2.0], "control": "hopping"}, "each value of hopping once"),
        ({"control": "hopping", "hamiltonian": "network"}, "no separate terms for the control hopping"),
        ({"num_ladders": 1}, "num_ladders ≥ 2"),
    ],
)
def test_phase_structure_refuses_what_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        PhaseStructure(**options)
