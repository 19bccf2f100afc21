import math

import numpy as np
import pytest
import torch
from gaussian import harmonic, oracle
from trainers import quiet_trainer

from lightdan import MADE, DoubleWell, Ising, Path
from lightdan.cli.main import main
from lightdan.measurements.fields.prediction import (
    PredictedAction,
    Trained,
    coefficients,
    predicted_action,
)
from lightdan.measurements.fields.prediction_report import by_algebra, describe
from lightdan.statistics import mean

THREE = (3.0, 7.0, 4.5)


@pytest.mark.parametrize("betas", [(20.0, 80.0, 40.0), (20.0, 40.0, 80.0), (3.0, 1.5, 7.0)])
def test_algebra_is_exact_on_the_true_action(betas):
    """Predict S_3 from S_1 and S_2 to 1e-10 in double precision."""
    first, second, third = betas
    system = DoubleWell(beta=list(betas), num_slices=24)
    paths = torch.randn(50, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one, two, three = (system.action(paths, 1 / beta) for beta in betas)
    c1, c2 = coefficients(*betas)
    torch.testing.assert_close(c1 * one + c2 * two, three, rtol=1e-12, atol=1e-10)
    assert coefficients(second, first, third) == pytest.approx((c2, c1))
    assert coefficients(first, second, first) == pytest.approx((1, 0))


def test_coefficients_of_the_talk():
    assert coefficients(20.0, 80.0, 40.0) == pytest.approx((0.4, 0.4))
    assert coefficients(20.0, 40.0, 80.0) == pytest.approx((-1.0, 2.5))


@pytest.fixture(scope="module")
def predicted():
    return PredictedAction((oracle(THREE[0]), oracle(THREE[1])), THREE[:2], THREE[2])


def test_exact_models_predict_the_exact_action_and_its_parts(predicted):
    system = harmonic(THREE[2])
    paths = torch.from_numpy(np.concatenate(list(system.solution(1 / THREE[2]).sample(50, 1))))
    with torch.no_grad():
        found = predicted(paths)
        kinetic, potential = predicted.parts(paths)
    for values, expected in (
        (found, system.action(paths, 1 / THREE[2])),
        (kinetic, system.kinetic(paths, 1 / THREE[2])),
        (potential, system.potential_action(paths, 1 / THREE[2])),
        (kinetic + potential, found),
    ):
        difference = values - expected
        torch.testing.assert_close(difference, difference[:1].expand(50), atol=1e-9, rtol=0)


@pytest.mark.slow
def test_ensemble_of_the_predicted_action_is_the_true_one(predicted):
    system = harmonic(THREE[2])
    result = by_algebra(predicted, system, 40, 0, harmonic)
    found = result.estimates
    assert found["slope"].value == pytest.approx(1, abs=1e-4)
    assert found["r2"].value == pytest.approx(1, abs=1e-6)
    assert found["residual"].value < 1e-3
    for name in ("x2", "x4", "gap"):
        assert abs(found[name].value - result.reference[name]) < 4 * found[name].error, name
    assert result.reference["x2"] == pytest.approx(system.exact_values(1 / THREE[2])["x2"])
    assert found["correlator_max_deviation"].value < 4 * found["correlator_max_deviation"].error


@pytest.mark.slow
def test_expected_residual_is_that_of_independent_errors():
    """Check r_3² = c_1² r_1² + c_2² r_2² for models with residuals r_i of known size."""
    models = tuple(oracle(beta) for beta in THREE[:2])
    generator = torch.Generator().manual_seed(1)
    for model in models:
        model.linear.weight.data += 0.02 * torch.randn(
            model.linear.weight.shape, generator=generator, dtype=torch.float64
        )
    found = by_algebra(PredictedAction(models, THREE[:2], THREE[2]), harmonic(THREE[2]), 2, 0, harmonic)
    expected, measured = (found.estimates[name].value for name in ("residual_expected", "residual"))
    assert expected > 0.01
    assert 0.5 < measured / expected < 2


def test_errors_of_a_chain_are_those_of_its_correlation():
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(64, 20, 1, 6)), 5, axis=2).reshape(64, 100, 6)
    estimates, _ = describe(rows, None, 0, {})
    naive = mean((rows**2).mean(2).ravel()[rng.permutation(6400)])
    assert estimates["x2"].error > 1.7 * naive.error


@pytest.mark.parametrize(
    ("betas", "said"),
    [
        ((2.0, 2.0, 3.0), "Both models were trained at β = 2"),
        ((2.0, 4.0, 0.0), "β must be positive"),
        ((2.0, 4.0, math.nan), "β must be positive"),
        ((2.0, 4.0, 1e300), "β must be a number from"),
    ],
)
def test_impossible_beta(betas, said):
    with pytest.raises(ValueError, match=said):
        coefficients(*betas)


def trained(system, **options):
    model = MADE(
        lattice_shape=system.lattice_shape, site_kind=system.site_kind, levels=system.levels, **options
    )
    return Trained(model, system)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([DoubleWell(beta=4.0, num_slices=8)], "models of the same lattice"),
        ([Ising(shape=(6,), temperature=2.0)], "pass models of paths"),
        ([DoubleWell(beta=4.0, num_slices=6, minimum=1.0)], "different potentials"),
        ([], "at 1 β together"),
        ([DoubleWell(beta=2.0, num_slices=6)], "Both models were trained at β = 2"),
    ],
)
def test_models_that_do_not_belong_together(others, said):
    first = trained(DoubleWell(beta=2.0, num_slices=6))
    with pytest.raises(ValueError, match=said):
        predicted_action([first, *map(trained, others)], 3.0)


def save(system, path, **options):
    """Save a checkpoint of an untrained model."""
    model = trained(system, **options).model
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(model, datamodule=system)
    trainer.save_checkpoint(path)


@pytest.mark.slow
def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = {"num_slices": 6, "num_configurations": 300, "cache_dir": str(tmp_path)}
    for name, beta in (("first", 2.0), ("second", 4.0)):
        save(DoubleWell(beta=beta, **options), tmp_path / f"{name}.ckpt")
    save(DoubleWell(beta=[2.0, 4.0], **options), tmp_path / "both.ckpt", temperature_input=True)
    pair = ["--ckpt_paths", "first.ckpt", "second.ckpt"]
    rest = ["--beta", "3", "--trajectories", "2"]
    assert main(["predict-action", *pair, *rest, "--conditioned", "both.ckpt"]) == 0
    table = capsys.readouterr().out
    for name in ("beta=2, beta=4 → beta=3", "kinetic_r2", "kinks", "gap", "conditioned"):
        assert name in table
    files = {path.name for path in (tmp_path / "runs" / "predict-action").iterdir()}
    assert {"predicted_action.json", "predicted_action.png", "conditioned.json"} <= files
    assert main(["predict-action", "--ckpt_paths", "both.ckpt", *rest]) == 0
    capsys.readouterr()
    for wrong, said in (
        (["--beta", "-1"], "β must be positive"),
        (["--beta", "3", "--trajectories", "1"], "--trajectories must be at least 2"),
        (["--beta", "3", "--conditioned", "first.ckpt"], "pass one with temperature_input"),
        (["--beta", "3", "--conditioned", "no.ckpt"], "There is no checkpoint at no.ckpt"),
    ):
        assert main(["predict-action", *pair, *wrong]) == 2
        assert said in capsys.readouterr().err


def test_a_function_as_potential_is_no_plain_data(tmp_path):
    system = Path(
        potential=lambda x: x**4, beta=2.0, num_slices=5, num_configurations=300, cache_dir=str(tmp_path)
    )
    save(system, tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match="train with the coefficients of the potential"):
        Trained.load(tmp_path / "model.ckpt")
