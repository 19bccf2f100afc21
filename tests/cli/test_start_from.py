"""Weights of one lattice for another."""

from functools import partial
from pathlib import Path

import pytest
import torch
from trainers import quiet_trainer

from lightdan import MADE, Categorical, Ising, PixelCNN, Recurrent, Transformer
from lightdan.checkpoints import start_from
from lightdan.cli.main import main

SHARED = pytest.mark.parametrize("cls", [Recurrent, Transformer])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A function that trains an architecture on 3 × 4 at T = 3 once and returns its checkpoint."""
    folder = tmp_path_factory.mktemp("trained")

    def train(cls, **options):
        path = folder / f"{cls.__name__}{options}.ckpt"
        if path.exists():
            return path
        torch.manual_seed(0)
        system = Ising(
            (3, 4), temperature=3.0, num_configurations=2000, batch_size=50, cache_dir=str(folder)
        )
        optimizer = partial(torch.optim.Adam, lr=0.02)
        model = cls(lattice_shape=(3, 4), symmetries=system.symmetries, optimizer=optimizer, **options)
        trainer = quiet_trainer(max_epochs=3)
        trainer.fit(model, datamodule=system)
        trainer.save_checkpoint(path)
        return path

    return train


def divergence(model, system, temperature):
    """KL(p‖p_θ) by the exact ln Z, on simulated configurations."""
    s = system.data.rows("test", temperature)
    with torch.no_grad():
        excess = -model.log_prob(s) - system.energy(s) / temperature
    return excess.mean().item() - system.exact(temperature).log_partition


@SHARED
def test_a_model_of_one_lattice_is_a_model_of_another(cls, trained, tmp_path):
    """Weights trained on 3 × 4 sites have at most a quarter of the KL of new weights on 6 × 5 sites."""
    path = trained(cls)
    system = Ising(
        (6, 5), temperature=3.0, num_configurations=4000, splits=(0.4, 0.1, 0.5), cache_dir=str(tmp_path)
    )
    system.prepare_data()
    model = cls(lattice_shape=(6, 5))
    before = divergence(model, system, 3.0)
    start_from(model, path)
    assert 0 < divergence(model, system, 3.0) < 0.25 * before


@pytest.mark.parametrize("cls", [MADE, PixelCNN])
def test_weights_of_sites_are_refused_on_another_lattice(cls, trained):
    path = trained(cls)
    said = rf"of {cls.__name__} has shape .* there, on \(3, 4\).* do not depend on the lattice"
    with pytest.raises(ValueError, match=said):
        start_from(cls(lattice_shape=(4, 4)), path)
    start_from(cls(lattice_shape=(3, 4)), path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            partial(Recurrent, units=8),
            r"layers\.0\.mix\.bias of Recurrent has shape \(96,\) there.*the options that",
        ),
        (partial(Recurrent, depth=3), r"layers\.2\.\S+ of Recurrent has shape None there"),
        (
            partial(Recurrent, site_kind="angle", levels=()),
            "has site_kind = spin, and this run has angle",
        ),
        (partial(Recurrent, levels=(0, 1)), r"has levels = \(-1, 1\), and this run has \(0, 1\)"),
        (partial(Recurrent, temperature_input=True), "has temperature_input = False"),
        (partial(Recurrent, conditional=Categorical()), r"has the conditional .*Bernoulli.*Categorical"),
        (partial(Recurrent, ordering="snake"), "has the ordering raster on .* this run has snake"),
        (Transformer, "is of the architecture Recurrent, not of Transformer"),
    ],
)
def test_weights_of_another_model_are_refused(make, said, trained):
    path = trained(Recurrent)
    with pytest.raises(ValueError, match=said):
        start_from(make(lattice_shape=(3, 4)), path)


def test_from_the_command_line(trained, tmp_path, monkeypatch, capsys):
    path = trained(Recurrent, units=4, states=2)
    monkeypatch.chdir(tmp_path)
    options = ["--data=Ising", "--data.init_args.shape=5", "--data.init_args.num_configurations=1000"]
    options += ["--data.init_args.cache_dir=cache", "--model=Recurrent", "--model.init_args.units=4"]
    options += ["--model.init_args.states=2", "--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
    still = [
        "--model.init_args.optimizer=torch.optim.SGD",
        "--model.init_args.optimizer.init_args.lr=0.0",
    ]
    assert main(["fit", *options, *still, f"--start_from={path}"]) == 0
    last = next(Path("runs").rglob("last.ckpt"))
    before, after = (torch.load(p, weights_only=True)["state_dict"] for p in (path, last))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    # The configuration that the run leaves names the first weights, and a checkpoint has later ones.
    saved_config = ["--config", str(last.parents[1] / "config.yaml"), f"--ckpt_path={last}"]
    path.unlink()
    assert main(["test", *saved_config]) == 0
    assert main(["fit", *saved_config, "--trainer.max_epochs=2"]) == 0
    capsys.readouterr()
    assert main(["fit", *options, f"--start_from={path}"]) == 2
    assert f"There is no checkpoint at {path}" in capsys.readouterr().err


def test_a_chain_is_no_start_for_a_plane(trained):
    with pytest.raises(
        ValueError, match=r"on \(3, 4\), and this run has raster on \(12,\).*as many axes"
    ):
        start_from(Recurrent(lattice_shape=(12,)), trained(Recurrent))
