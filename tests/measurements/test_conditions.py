"""Measurements at each temperature and combination of controls of recorded rows, against enumeration."""

import itertools
import json

import numpy as np
import pytest
import torch
from lightning import Trainer
from lightning.pytorch.loggers import CSVLogger
from oracle import within

from lightdan import (
    Architecture,
    Baselines,
    Couplings,
    FreeEnergy,
    Hamiltonian,
    Measurement,
    Observables,
    PhaseStructure,
    Recorded,
    Symmetry,
)
from lightdan.measurements.curves import along_conditions
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate, mean
from lightdan.testing import all_configurations

STATES = all_configurations((5,), (-1, 1)).double()
BONDS, SPINS = (STATES * STATES.roll(1, 1)).sum(1), STATES.sum(1)
T, FIELDS, COUPLINGS = (1.0, 2.0), (-0.3, 0.0, 0.5), (0.2, 0.7)
NUM = 1200


def exact(temperature, field, coupling):
    """Return ln p of all states of a ring of five spins."""
    energy = -(coupling * BONDS + field * SPINS)
    return (-energy / temperature).log_softmax(0)


class Oracle(Architecture):
    """The Boltzmann distribution at each T, field and coupling, its conditionals summed over states."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, configurations, conditions=None):
        temperature, field, coupling = conditions.double()[:, :, None].unbind(1)
        p = ((coupling * BONDS + field * SPINS) / temperature).exp()
        values, logits = configurations.double(), []
        for site in range(5):
            up = STATES[:, site] > 0
            logits.append(((p * up).sum(1) / (p * ~up).sum(1)).log())
            p = p * (STATES[:, site] == values[:, site, None])
        return torch.stack(logits, 1)[..., None] + self.weight


class Ring(Recorded):
    """Recorded rows whose Hamiltonian is known."""

    def energy(self, configurations):
        s = self.checked(configurations)
        field, coupling = (self.fixed_controls[name] for name in ("h", "K"))
        return -(coupling * s * s.roll(1, 1) + field * s).sum(1)


def write(folder, num=NUM):
    """Write rows of all conditions in random order, with the conditions beside them."""
    random = np.random.default_rng(3)
    conditions = [each for each in itertools.product(T, FIELDS, COUPLINGS) for _ in range(num)]
    random.shuffle(conditions)
    tables = {each: exact(*each).exp().numpy() for each in set(conditions)}
    rows = np.array([random.choice(len(STATES), p=tables[each]) for each in conditions])
    t, h, k = np.float32(conditions).T
    np.savez(folder / "a.npz", s=STATES[rows].numpy().astype(np.int8), T=t, h=h, K=k)
    return str(folder / "a.npz")


OPTIONS = {"dataset": "s", "temperature": "T", "controls": {"h": "h", "K": "K"}, "boundary": "periodic"}


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    """Provide the exact network with recorded rows of all conditions."""
    path = write(tmp_path_factory.mktemp("conditions"))
    system = Ring(path, **OPTIONS, splits=(0.4, 0.1, 0.5))
    system.setup()
    return Oracle.for_system(system, temperature_input=True).double().eval(), system


def test_each_combination_has_its_own_rows(ring):
    """Splits are those of each combination, and the ensemble stays at its controls."""
    model, system = ring
    assert [part.fixed_controls for part in system.parts] == [
        pytest.approx({"h": h, "K": k}) for h, k in itertools.product(FIELDS, COUPLINGS)
    ]
    with np.load(system.path) as file:
        conditions = np.stack([file[name] for name in ("T", "h", "K")], axis=1)
    seen = []
    for part in system.parts:
        assert part.temperatures == list(T)
        for t in T:
            ensemble = Ensemble(model, part, t)
            assert ensemble.controls is None
            rows = torch.cat([part.data.rows_of(split, t) for split in ("train", "validation", "test")])
            assert [part.data.num_in(name) for name in ("train", "validation", "test")] == [
                960,
                240,
                1200,
            ]
            here = [t, *part.fixed_controls.values()]
            np.testing.assert_array_equal(conditions[rows], np.float32([here] * NUM))
            seen += rows.tolist()
            states = {
                tuple(state): p.item() for state, p in zip(STATES.tolist(), exact(*here), strict=True)
            }
            expected = [states[tuple(row)] for row in ensemble.configurations.tolist()]
            np.testing.assert_allclose(ensemble.log_prob, expected, atol=1e-5)
    assert sorted(seen) == list(range(len(T) * len(FIELDS) * len(COUPLINGS) * NUM))


class Mean(Measurement):
    """The mean of the held-out spins, and its change between the temperatures."""

    name = "mean"

    def measure(self, ensemble):
        return Result({"m": mean(ensemble.configurations.mean(1).double().numpy())})

    def compare(self, temperatures, estimates):
        values = [each["m"].value for each in estimates]
        return Result({"change": Estimate(values[-1] - values[0], 0.1)})


def test_files_name_the_combination(tmp_path, capsys):
    path = write(tmp_path, num=100)
    system = Recorded(path, **OPTIONS, splits=(0.4, 0.1, 0.5))
    model = Oracle.for_system(system, temperature_input=True).double()
    trainer = Trainer(
        logger=CSVLogger(tmp_path, name=None, version="run"),
        callbacks=[Hamiltonian(), Mean()],
        accelerator="cpu",
        enable_progress_bar=False,
    )
    trainer.test(model, datamodule=system, verbose=False)
    folder = tmp_path / "run" / "measurements"
    controls = [f"h={h:g},K={k:g}" for h, k in itertools.product(FIELDS, COUPLINGS)]
    single = [f"T={t:g},{c}" for t, c in itertools.product(T, controls)]
    assert {path.stem for path in folder.glob("*.json")} == {
        *(f"{name}@{conditions}" for name in ("hamiltonian", "mean") for conditions in single),
        *(f"mean@{conditions}" for conditions in controls),
        *(f"{name}-along-{quantity}" for name in ("hamiltonian", "mean") for quantity in "ThK"),
    }
    curves = np.load(folder / "mean-along-h.npz")
    assert {*curves["curve"]} == {f"T = {t:g}, K = {k:g}" for t, k in itertools.product(T, COUPLINGS)}
    curve = curves["curve"] == "T = 2, K = 0.7"
    np.testing.assert_allclose(curves["value"][curve], FIELDS, atol=1e-6)
    for h, value, error in zip(FIELDS, curves["m"][curve], curves["m_error"][curve], strict=True):
        written = json.loads((folder / f"mean@T=2,h={h:g},K=0.7.json").read_text())["estimates"]["m"]
        assert (written["value"], written["error"]) == (value, error)
    written = json.loads((folder / "hamiltonian@T=2,h=0.5,K=0.7.json").read_text())
    assert (written["temperature"], written["controls"]) == (2.0, pytest.approx({"h": 0.5, "K": 0.7}))
    assert json.loads((folder / "mean@h=0,K=0.2.json").read_text())["temperature"] == [1.0, 2.0]
    shown = capsys.readouterr().out
    assert "3 values of h from -0.3 to 0.5, 2 values of K from 0.2 to 0.7" in shown
    assert "control h: 3 values from -0.3 to 0.5, measured one by one" in shown
    assert "• hamiltonian: The Hamiltonian of Recorded is not known" in shown


def test_curves_have_data_with_errors_and_exact_lines():
    """One curve for each combination of the other conditions, unless it is a single point."""
    results = [
        (
            {"T": t, "h": h, "K": 1.0},
            Result(
                {"m": Estimate(h, 0.1), "c": Estimate(t, 0.2), "z": Estimate(0.0, 1.0)},
                reference={"m": Estimate(h + 1, 0.3), "c": 5.0},
                unlisted={"z"},
            ),
        )
        for t, h in [(1.0, 0.5), (1.0, -0.5), (2.0, 0.5)]
    ]
    (first, along_t), (second, along_h) = along_conditions(results)
    assert (first, second) == ("T", "h")
    assert along_t.arrays["value"].tolist() == [1.0, 2.0]
    assert {*along_t.arrays["curve"]} == {"h = 0.5"}
    arrays = along_h.arrays
    assert "z" not in arrays
    assert arrays["m_reference"].tolist() == [1.5, 0.5]
    assert arrays["m_reference_error"].tolist() == [0.3, 0.3]
    assert arrays["c_reference_error"].tolist() == [0.0, 0.0]
    m, c = along_h.figure.axes[:2]
    assert [line.get_xydata().tolist() for line in c.lines[:1]] == [[[-0.5, 5.0], [0.5, 5.0]]]
    assert [text.get_text() for text in m.get_legend().get_texts()] == ["data T = 1", "model T = 1"]


def found(ensemble, measurement):
    """Return the estimates of a measurement."""
    with torch.inference_mode():
        return measurement.on_rows(ensemble).estimates


@pytest.mark.slow
def test_estimates_at_each_combination_are_right(ring):
    """Couplings, likelihoods, ln Z, entropy and observables agree with enumeration."""
    model, system = ring
    for part, t in itertools.product(system.parts[1:5:3], T):
        h, k = part.fixed_controls.values()
        log_p, ensemble = exact(t, h, k), Ensemble(model, part, t)
        p, energy = log_p.exp(), -(k * BONDS + h * SPINS)
        entropy, magnetization = -(p * log_p).sum().item(), (p * STATES.mean(1)).sum().item()
        heat = ((p * energy**2).sum() - (p * energy).sum() ** 2).item() / t**2 / 5
        hamiltonian = found(ensemble, Hamiltonian(num_samples=2000))
        assert hamiltonian["slope"].value == pytest.approx(1, abs=1e-4)
        assert hamiltonian["ln_z"].value == pytest.approx((-energy / t).logsumexp(0).item(), abs=1e-4)
        couplings = found(ensemble, Couplings(1.0, ["field", "nearest_neighbour"], num_samples=1000))
        within(couplings["field"], h / t)
        within(couplings["nearest_neighbour"], k / t)
        baselines = found(ensemble, Baselines())
        for name in ("nll", "nll_pairs", "nll_nearest_neighbour"):
            within(baselines[name], entropy)
        observables = found(ensemble, Observables(num_samples=2000))
        for name in ("magnetization", "magnetization_data"):
            within(observables[name], magnetization)
        thermodynamics = found(ensemble, FreeEnergy(num_samples=1000))
        within(thermodynamics["entropy"], entropy / 5)
        within(thermodynamics["specific_heat"], heat)


@pytest.mark.slow
@pytest.mark.parametrize("hamiltonian", ["network", "couplings"])
def test_chains_stay_at_the_controls(ring, hamiltonian):
    """Chains at other temperatures, of the network or of couplings, agree with enumeration."""
    model, system = ring
    part, values = system.parts[-1], [0.8, 1.0, 1.3]
    result = found(
        Ensemble(model, part, 1.0),
        PhaseStructure(
            values,
            hamiltonian=hamiltonian,
            max_distance=1.0,
            operators=["field", "nearest_neighbour"],
            num_ladders=16,
        ),
    )
    h, k = part.fixed_controls.values()
    for value in values:
        p = exact(value, h, k).exp()
        within(result[f"abs_magnetization@{value:g}"], (p * STATES.mean(1).abs()).sum().item())


def test_fields_break_the_symmetry_where_they_are(ring):
    """H is even without a field only."""
    model, system = ring
    for part in system.parts[1::2]:
        h = part.fixed_controls["h"]
        ensemble = Ensemble(model, part, 1.0)
        broken = found(ensemble, Symmetry(num_configurations=100))
        assert (broken["z2"].value > 0.1) == (h != 0)
        assert broken["translation"].value < 1e-4
