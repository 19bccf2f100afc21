import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lightdan import DoubleWell, Path
from lightdan.systems.path import count_kinks


def test_action_is_the_sum():
    system = DoubleWell(beta=6.0, num_slices=4)
    x = torch.tensor([[0.5, -1.0, 2.0, 0.0]], dtype=torch.float64)
    a = 1.5
    kinetic = (1.5**2 + 3**2 + 2**2 + 0.5**2) / (2 * a)
    potential = a * sum((value**2 - 1.96) ** 2 for value in (0.5, -1.0, 2.0, 0.0))
    assert system.kinetic(x, 1 / 6).item() == pytest.approx(kinetic)
    assert system.potential_action(x, 1 / 6).item() == pytest.approx(potential)
    assert system.action(x, torch.tensor([1 / 6])).item() == pytest.approx(kinetic + potential, rel=1e-6)


def test_one_kink_costs_what_the_barrier_says():
    system = DoubleWell(beta=20.0)
    assert system.kink_action == pytest.approx(5.1741, abs=1e-4)
    x = np.linspace(-1.4, 1.4, 20001)
    barrier = np.sqrt(2 * system.potential(x))
    assert system.kink_action == pytest.approx(
        ((barrier[1:] + barrier[:-1]) / 2).sum() * (x[1] - x[0]), rel=1e-6
    )
    assert system.potential(0.0) == pytest.approx(3.8416)


def test_kinks_of_known_paths():
    """Small excursions do not count, and the ring closes."""
    paths = torch.tensor(
        [
            [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
            [1.0, 0.1, -0.1, 0.1, 1.0, 1.0],
            [1.0, -1.0, 1.0, -1.0, 1.0, -1.0],
            [0.1, -1.0, 0.1, -0.1, 1.0, 0.2],
            [0.1, 0.2, -0.1, 0.1, 0.0, 0.2],
            [-0.1, 0.9, 0.9, -0.2, -0.9, -0.9],
        ]
    )
    assert count_kinks(paths, 0.7).tolist() == [0, 0, 6, 2, 0, 2]
    for shift in range(6):
        assert torch.equal(count_kinks(paths.roll(shift, 1), 0.7), count_kinks(paths, 0.7))


@pytest.mark.slow
@pytest.mark.parametrize("beta", [20.0, 80.0])
def test_number_of_kinks_is_exact(beta, tmp_path):
    system = DoubleWell(beta=beta, num_configurations=20_000, cache_dir=str(tmp_path))
    system.setup()
    kinks = system.observables(1 / beta)["kinks"](system.data.rows("train", 1 / beta))
    error = kinks.std().item() / math.sqrt(len(kinks))
    assert abs(kinks.mean().item() - system.exact_values(1 / beta)["kinks"]) < 3 * error


def test_symmetries_are_those_of_the_potential():
    assert Path(potential=[0, 0, 1], beta=1.0).symmetries == ("z2", "translation", "reflection")
    assert Path(potential=[0, 0.1, 1], beta=1.0).symmetries == ("translation", "reflection")


def test_measure_makes_z_the_trace():
    """The harmonic oscillator has ln Z → −ln 2 sinh(βω/2) as a → 0."""
    system = Path(potential=[0, 0, 0.5], beta=3.0, num_slices=400)
    exact = -math.log(2 * math.sinh(1.5))
    assert system.exact_values(1 / 3)["ln_z"] == pytest.approx(exact, abs=1e-4)


def test_functions_and_coefficients_give_the_same(tmp_path):
    by_function = Path(potential=lambda x: x * x * (x * x - 1), beta=2.0, num_slices=6)
    by_numbers = Path(potential=[0, 0, -1, 0, 1], beta=2.0, num_slices=6)
    assert by_function.parameters() == by_numbers.parameters()
    x = np.linspace(-2, 2, 11)
    np.testing.assert_allclose(by_numbers.force(x), 4 * x**3 - 2 * x)
    assert by_function.spec() is None
    assert by_numbers.spec()["init_args"]["potential"] == (0, 0, -1, 0, 1)


def test_a_function_by_torch_has_all_but_metropolis(tmp_path):
    options = {"potential": torch.cosh, "beta": 2.0, "num_slices": 5, "num_configurations": 4000}
    exact, chains = (
        Path(**options, sampler=sampler, cache_dir=str(tmp_path))
        for sampler in ("transfer_matrix", "hmc")
    )
    x2 = exact.exact_values(0.5)["x2"]
    for system in (exact, chains):
        system.setup()
        values = system.data.rows("train", 0.5).square().mean(1)
        error = math.sqrt(2 * max(0.5, system.data.tau_int[0])) * values.std() / math.sqrt(len(values))
        assert abs(values.mean() - x2) < 4 * error
    with pytest.raises(ValueError, match="numba cannot compile"):
        Path(**options, sampler="metropolis", cache_dir=str(tmp_path)).setup()


@pytest.mark.parametrize(("strength", "beta"), [(0.5, 0.01), (5000.0, 4.0)])
def test_soft_and_stiff_paths_are_in_equilibrium(strength, beta):
    """The mean moves 1,000 times slower than neighbours, or paths start 50 deviations away."""
    options = {"potential": [0, 0, strength], "num_slices": 16, "num_configurations": 1024}
    system = Path(beta=beta, sampler="hmc", **options)
    run = system.simulate(1 / beta, 0, lambda n: None)
    paths = torch.from_numpy(run.configurations).double().requires_grad_()
    (gradient,) = torch.autograd.grad(system.action(paths, 1 / beta).sum(), paths)
    means = (paths * gradient).mean(1).detach().reshape(64, -1).mean(1)
    assert abs(means.mean() - 1) < 4 * means.std() / 8
    assert run.tau_int.value < 1.2


def test_many_paths_stream_from_the_disk(tmp_path):
    """Batches are the same in memory and on disk."""
    options = {"beta": [2.0, 3.0], "num_slices": 8, "num_configurations": 3000, "batch_size": 64}
    held, mapped = (
        DoubleWell(**options, cache_dir=str(tmp_path), max_memory_gb=size) for size in (1.0, 1e-6)
    )
    for system in (held, mapped):
        system.setup()
    assert held.in_memory
    assert not mapped.in_memory
    for ours, theirs in zip(held.train_dataloader(), mapped.train_dataloader(), strict=True):
        assert torch.equal(ours.configurations, theirs.configurations)
        assert torch.equal(ours.temperature, theirs.temperature)
    assert torch.equal(held.data.rows("test", 1 / 3), mapped.data.rows("test", 1 / 3))
    assert held.data.moments() == pytest.approx(mapped.data.moments())


def test_units_do_not_depend_on_the_number_of_processes(tmp_path):
    system = DoubleWell(beta=2.0, num_slices=8, num_configurations=1000, cache_dir=str(tmp_path))
    system.setup()
    alone = system.data.moments()
    training = system.data.configurations[system.data.indices["train"]].double()
    assert alone[:2] == pytest.approx((training.mean().item(), training.std(correction=0).item()))
    system.trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        global_rank=1,
        world_size=2,
        current_epoch=0,
    )
    assert system.data.moments() == alone


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"beta": 0.0}, "beta must be positive"),
        ({"beta": [1.0, -2.0]}, "beta must be positive"),
        ({"beta": []}, "beta must be positive"),
        ({"beta": 1.0, "num_slices": 2}, "num_slices must be at least 3"),
        ({"beta": 1.0, "sampler": "gibbs"}, "sampler must be one of"),
        ({"potential": [0, 0, -1], "beta": 1.0}, "unbounded below"),
        ({"potential": [0, 0, 0, 1], "beta": 1.0}, "unbounded below"),
        ({"potential": [], "beta": 1.0}, "potential must be a list of finite coefficients"),
        (
            {"potential": [0, 0, math.nan], "beta": 1.0},
            "potential must be a list of finite coefficients",
        ),
        ({"potential": lambda x: math.sqrt(x), "beta": 1.0}, "cannot be evaluated for a tensor"),
        ({"potential": torch.cos, "beta": 1.0}, "does not confine"),
        ({"potential": np.cosh, "beta": 1.0}, "use torch functions"),
    ],
)
def test_bad_input(options, said):
    with pytest.raises(ValueError, match=said):
        Path(**{"potential": [0, 0, 1], **options})


def test_a_well_needs_two_minima():
    with pytest.raises(ValueError, match="strength must be positive"):
        DoubleWell(strength=-4.0)
