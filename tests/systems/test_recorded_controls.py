"""Recorded rows with named controls: reading, refusals, batches, learning, and the command line."""

import math
import warnings
from functools import partial
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from trainers import quiet_trainer

from lightdan import (
    MADE,
    BlockSpin,
    Hamiltonian,
    NotMeasurable,
    Observables,
    Recorded,
    Symmetry,
    checkpoints,
)
from lightdan.cli.main import main
from lightdan.data.recorded.groups import groups_of
from lightdan.data.recorded.temperatures import open_recorded
from lightdan.data.splits import SPLITS
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.phases.free_energy import FreeEnergy
from lightdan.testing import all_configurations

STATES = all_configurations((4,), (-1, 1)).double()
BONDS = (STATES * STATES.roll(1, 1)).sum(1)
FIELD, RATE = np.random.default_rng(1).uniform(-1, 1, 900), np.linspace(3, 5, 900)


def exact(field, temperature=1.0):
    """Return ln P(s) of a ring of four spins in fields `(B,)`, `(B, 16)`."""
    action = -(0.4 * BONDS + field[:, None] * STATES.sum(1)) / temperature
    return (-action).log_softmax(1)


def draw(field, seed=0):
    """Draw one configuration at each field."""
    generator = torch.Generator().manual_seed(seed)
    p = exact(torch.as_tensor(field)).exp()
    return STATES[torch.multinomial(p, 1, generator=generator)[:, 0]].numpy().astype(np.int8)


SPINS = draw(FIELD)


def npz(folder):
    np.savez(folder / "a.npz", s=SPINS, h=FIELD, v=RATE[:, None])
    return folder / "a.npz", {"dataset": "s"}, "h", "v"


def h5(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file["run/s"], file["run/h"], file["v"] = SPINS, FIELD, RATE
    return folder / "a.h5", {"dataset": "run/s"}, "h", "v"


def csv(folder):
    np.savetxt(
        folder / "a.csv", np.c_[FIELD, SPINS, RATE], delimiter=",", header="h,a,b,c,d,v", comments=""
    )
    return folder / "a.csv", {}, "h", "column -1"


def npy(folder):
    np.save(folder / "a.npy", SPINS)
    np.save(folder / "h.npy", FIELD)
    return folder / "a.npy", {}, str(folder / "h.npy"), RATE.tolist()


@pytest.mark.parametrize("memory", [4.0, 0.0])
@pytest.mark.parametrize("write", [npz, h5, csv, npy])
def test_controls_stay_beside_their_rows(tmp_path, write, memory, capsys):
    path, options, field, rate = write(tmp_path)
    controls = {"field": field, "rate": rate}
    system = Recorded(str(path), controls=controls, max_memory_gb=memory, batch_size=50, **options)
    system.setup()
    assert system.control_names == ("field", "rate")
    place = {rate: k for k, rate in enumerate(np.float32(RATE).tolist())}
    num = 0
    for batch in (*system.train_dataloader(), *system.val_dataloader(), *system.test_dataloader()):
        rows = [place[rate] for rate in batch.controls[:, 1].tolist()]
        np.testing.assert_array_equal(batch.configurations, SPINS[rows])
        np.testing.assert_array_equal(batch.conditions[:, 1], np.float32(FIELD[rows]))
        num += len(rows)
    assert num >= 890
    assert "control rate: from 3" in capsys.readouterr().out


def test_controls_of_few_and_of_many_values_are_measured_together(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", s=SPINS, h=FIELD, k=np.arange(900) % 3)
    Recorded(str(tmp_path / "a.npz"), dataset="s", controls={"h": "h", "k": "k"}).setup()
    said = capsys.readouterr().out
    assert "measured together\n" in said.partition("control h: from")[2]
    assert "control k: 3 values from 0 to 2 in the training rows, measured together, because" in said


def test_controls_of_files_groups_and_axes(tmp_path):
    with h5py.File(tmp_path / "g.h5", "w") as file:
        for k, field in enumerate((0.0, 0.5, -0.5)):
            file[f"{k}/s"] = SPINS[300 * k : 300 * (k + 1)]
            file[f"{k}"].attrs["h"] = field
    np.save(tmp_path / "axes.npy", SPINS.reshape(3, 300, 2, 2))
    expected = np.repeat([0.0, 0.5, -0.5], 300)[:, None]
    for path, options, h in (
        ("g.h5", {"dataset": "*/s"}, "h"),
        ("g.h5", {"dataset": "*/s"}, [0.0, 0.5, -0.5]),
        ("axes.npy", {}, [0.0, 0.5, -0.5]),
    ):
        for temperature in (1.0, [1.0, 2.0, 3.0]):
            opened = open_recorded(
                str(tmp_path / path), controls={"h": h}, temperature=temperature, **options
            )
            np.testing.assert_array_equal(opened.controls, expected)
            assert len(groups_of(opened)) == 3  # of 300 rows each


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ({"h": "none"}, "no array 'none': set the control h to one of 'f', 'n', 'w'"),
        ({"h": [1.0, 2.0]}, "The control h has 2 values, but the file .* has 900 rows: set it to"),
        ({"h": "n"}, r"The control h is nan in row 4 \(counted"),
        ({"h": [1.0] * 900}, "is 1 in all rows"),
    ],
)
def test_bad_controls_are_refused(tmp_path, controls, words):
    bad = FIELD.copy()
    bad[4] = np.nan
    np.savez(tmp_path / "a.npz", s=SPINS, f=FIELD, n=bad, w=np.ones(900))
    with pytest.raises(ValueError, match=words):
        Recorded(str(tmp_path / "a.npz"), dataset="s", controls=controls)
    np.save(tmp_path / "a.npy", SPINS)
    with pytest.raises(ValueError, match=r"the control h is 'f', but the file .* has no names"):
        Recorded(str(tmp_path / "a.npy"), controls={"h": "f"})
    with pytest.raises(ValueError, match="collapse would join rows with different controls"):
        Recorded(str(tmp_path / "a.npz"), dataset="s", controls={"h": "f"}, collapse=True)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Provide a network trained on rows with a field each, its system and a checkpoint."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("controls")
    field = np.random.default_rng(0).uniform(-1.5, 1.5, 10_000)
    np.savez(folder / "a.npz", s=draw(field, 1), h=field)
    system = Recorded(
        str(folder / "a.npz"), dataset="s", controls={"h": "h"}, boundary="periodic", batch_size=500
    )
    system.setup()
    optimizer = partial(torch.optim.Adam, lr=0.03)
    model = MADE.for_system(system, width=6, optimizer=optimizer)
    trainer = quiet_trainer(max_steps=120, limit_val_batches=0)
    trainer.fit(model, datamodule=system)
    trainer.save_checkpoint(folder / "x.ckpt")
    return model.eval(), system, folder / "x.ckpt"


def divergence(model, field):
    """Return KL(P || p_θ) at one field."""
    log_p = exact(torch.tensor([field], dtype=torch.float64))[0]
    with torch.no_grad():
        log_q = model.log_prob(STATES, controls={"h": field}).double()
    return (log_p.exp() * (log_p - log_q)).sum().item()


def test_one_network_learns_all_fields(learned):
    model, _, _ = learned
    for field in (-1.4, -0.6, 0.0, 0.3, 1.1):
        assert 0 <= divergence(model, field) < 0.01


def test_the_network_sees_controls_in_their_own_units(learned):
    """Over the training rows the inputs have mean 0 and standard deviation 1."""
    model, system, _ = learned
    batches = [*system.data.loader("train", 1000)]
    inputs = torch.cat([model._inputs(batch.conditions) for batch in batches]).double()
    assert inputs.shape == (9000, 1)
    assert inputs.mean(0).item() == pytest.approx(0, abs=1e-5)
    assert inputs.std(0, correction=0).item() == pytest.approx(1, abs=1e-5)


def test_predictions_name_the_controls(learned):
    """Each configuration comes with its T and control."""
    model, system, _ = learned
    (batch,) = system.data.loader("test", 1000)
    found = model.predict_step(batch)
    assert [*found] == ["log_prob", "hamiltonian", "temperature", "controls/h"]
    expected = model.log_prob(batch.configurations, controls={"h": found["controls/h"]})
    assert torch.equal(found["log_prob"], expected)
    assert torch.equal(found["temperature"], torch.ones(500))


def test_measurements_use_the_controls_of_each_row(learned):
    model, system, _ = learned
    ensemble = Ensemble(model, system, 1.0)
    with torch.no_grad():
        nll = Hamiltonian().on_rows(ensemble).estimates["nll"].value
        rows, controls = system.data.rows("test", 1.0), system.data.controls_of("test", 1.0)
        direct = -model.log_prob(rows, controls=controls).double().mean().item()
        found = Observables(num_samples=4000).on_rows(ensemble).estimates
        broken = Symmetry().on_rows(ensemble).estimates
    assert nll == pytest.approx(direct, rel=1e-6)
    true = exact(controls[:, 0].double())
    codes = ((rows.double() + 1) / 2 @ (2.0 ** torch.arange(4, dtype=torch.float64))).long()
    order = ((STATES + 1) / 2 @ (2.0 ** torch.arange(4, dtype=torch.float64))).long().argsort()
    entropy = -true[:, order].gather(1, codes[:, None]).mean().item()
    assert nll == pytest.approx(entropy, abs=0.03)
    assert broken["z2"].value > 0.3 > broken["translation"].value
    for name in ("magnetization", "abs_magnetization"):
        if name in found:
            data = ensemble.configurations.mean(1)
            value = data.abs().mean() if name.startswith("abs") else data.mean()
            assert abs(found[name].value - value.item()) < 5 * math.hypot(found[name].error, 0.02)
    with pytest.raises(NotMeasurable, match=r"control h has \d+ different values in 500 rows: round"):
        FreeEnergy().on_rows(ensemble)


@pytest.mark.parametrize(("num", "remedy"), [(2, "use 10"), (33, "round to at most 32 with 10")])
def test_values_of_a_control_with_few_rows_are_not_told_to_be_rounded(num, remedy):
    controls = torch.arange(66)[:, None] % num
    system = SimpleNamespace(control_names=("h",))
    ensemble = Ensemble.__new__(Ensemble)
    vars(ensemble).update(weights=None, controls=controls, system=system)
    with pytest.raises(NotMeasurable, match=rf"{num} different values in 66 rows: {remedy} held-out"):
        FreeEnergy().on_rows(ensemble)


def test_checkpoint_and_samples_at_a_control(learned, tmp_path, capsys):
    model, _, path = learned
    loaded = checkpoints.load(path)
    assert loaded.control_names == ("h",)
    assert loaded.ranges == model.ranges
    assert loaded.ranges["h"] == pytest.approx((-1.5, 1.5), abs=0.01)
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.log_prob(STATES, controls={"h": 0.4}), model.log_prob(STATES, controls={"h": 0.4})
        )
    base = ["sample", "--ckpt_path", str(path), "--num", "2000"]
    assert main([*base, "--output", str(tmp_path / "a.h5"), "--control", "h=0.7"]) == 0
    with h5py.File(tmp_path / "a.h5") as file:
        drawn = file["configurations"][...]
        assert file.attrs["h"] == 0.7
    p = exact(torch.tensor([0.7], dtype=torch.float64)).exp()[0]
    mean = (p * STATES.mean(1)).sum().item()
    assert drawn.mean() == pytest.approx(mean, abs=0.05)
    capsys.readouterr()
    for words, reason in (
        ([], "sees the controls h: pass"),
        (["--control", "mu=1"], "sees the controls h, not mu"),
        (["--control", "h"], "pass each as name=value"),
    ):
        assert main([*base, "--output", str(tmp_path / "b.h5"), *words]) == 2
        assert reason in capsys.readouterr().err
    with pytest.warns(UserWarning, match=r"h = 9 is outside the training data, which reach from -1.4"):
        main([*base[:-1], "10", "--output", str(tmp_path / "c.h5"), "--control", "h=9"])


def test_splits_keep_controls_at_several_temperatures(tmp_path):
    labels = np.random.default_rng(5).permutation(np.repeat([1.0, 2.0], 450))
    np.savez(tmp_path / "a.npz", s=SPINS, h=FIELD, kT=labels)
    system = Recorded(
        str(tmp_path / "a.npz"),
        dataset="s",
        temperature="kT",
        controls={"h": "h"},
        splits=(0.5, 0.25, 0.25),
    )
    system.setup()
    for temperature in (1.0, 2.0):
        for name in SPLITS:
            rows = system.data.rows_of(name, temperature).numpy()
            assert (labels[rows] == temperature).all()
            found = system.data.controls_of(name, temperature)[:, 0]
            np.testing.assert_array_equal(found, np.float32(FIELD[rows]))


def test_a_sweep_of_the_field_is_no_drift(tmp_path):
    """Rows that follow a slow field are independent; rows that repeat each other are not."""
    field = np.concatenate([np.linspace(-1.2, 1.2, 2000), np.linspace(1.2, -1.2, 2000)])
    spins = draw(field)
    fresh = np.random.default_rng(2).random(4000) < 0.2
    fresh[0] = True
    copied = spins[np.flatnonzero(fresh)][np.cumsum(fresh) - 1]
    systems = []
    for rows in (spins, copied):
        np.savez(tmp_path / "a.npz", s=rows, h=field)
        systems.append(Recorded(str(tmp_path / "a.npz"), dataset="s", controls={"h": "h"}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        systems[0].setup()
    assert systems[0].data.tau_int[0] < 1
    with pytest.warns(UserWarning, match="rows of .* are correlated") as caught:
        systems[1].setup()
    assert len(caught) == 1
    assert systems[1].data.tau_int[0] == pytest.approx(4.5, rel=0.25)


def test_rows_of_each_field_are_examined(tmp_path):
    """A drift at one field is said with its field, and rows that repeat each other have blocks."""
    random = np.random.default_rng(4)
    field = random.permutation(np.repeat([-0.5, 0.0, 0.5], 2000))
    spins, places = draw(field, 2), np.flatnonzero(field == 0.5)
    spins[places[:1000]] = draw(np.full(1000, 2.0), 3)  # before equilibrium
    own = np.flatnonzero(field == 0.0)
    fresh = random.random(2000) < 0.2
    fresh[0] = True
    spins[own] = spins[own[np.flatnonzero(fresh)][np.cumsum(fresh) - 1]]
    np.savez(tmp_path / "a.npz", s=spins, h=field)
    system = Recorded(str(tmp_path / "a.npz"), dataset="s", controls={"h": "h"})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        system.setup()
    said = [str(each.message) for each in caught]
    assert any("at T = 1, h = 0.5: The rows are not in equilibrium" in text for text in said)
    assert any("are correlated at T = 1, h = 0: " in text for text in said)
    assert not any("h = -0.5" in text for text in said)
    assert any(doubt.startswith("At T = 1, h = 0.5: The rows are not") for doubt in system.data.doubts)
    sizes = [part.block_size(1.0) for part in system.parts]
    assert sizes[0] == 1
    assert sizes[1] > 20


def test_blocks_of_spins_keep_controls_of_few_values(tmp_path):
    """Blocks are those of the rows at each field, in their split."""
    field = np.random.default_rng(4).permutation(np.repeat([-0.5, 0.5], 300))
    spins = np.sign(np.random.default_rng(5).normal(field[:, None, None], 1.0, (600, 4, 4))).astype(
        np.int8
    )
    np.savez(tmp_path / "a.npz", s=spins, h=field)
    inner = Recorded(str(tmp_path / "a.npz"), dataset="s", controls={"h": "h"}, splits=(0.5, 0.25, 0.25))
    blocks = BlockSpin(inner)
    blocks.setup()
    for part, fine, h in zip(blocks.parts, inner.parts, (-0.5, 0.5), strict=True):
        assert part.fixed_controls == fine.fixed_controls == {"h": h}
        rows = fine.data.rows("test", 1.0)
        assert torch.equal(part.data.rows("test", 1.0), blocks.block(rows))
        assert part.blocks("test", 1.0).sizes.tolist() == fine.blocks("test", 1.0).sizes.tolist()
        assert (field[fine.data.rows_of("test", 1.0)] == h).all()
