import csv
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import torch
import yaml
from scipy.ndimage import gaussian_filter

import lightdan
from lightdan import registry
from lightdan.architectures.base import Architecture
from lightdan.cli import lightning
from lightdan.cli.catalogue import COMMANDS
from lightdan.cli.main import leave, main
from lightdan.measurements.couplings import film_likelihood, own_simulation
from lightdan.signals import Stopped

CONFIGS = Path(__file__).parents[2] / "configs"
MADE_CONFIG = str(CONFIGS / "ising" / "made.yaml")
QUICK = [
    "double_well-transformer",
    "gaussian_field-triangular",
    "scalar_field-pixelcnn",
]
"""Configurations run by default, of several architectures and kinds of site; the others are slow."""
LESS = {
    "CriticalTemperature": {"size": 9, "num_ladders": 4, "num_steps": 20},
    "Films": {"side": 48},
    "PhaseStructure": {"num_ladders": 8, "num_steps": 20},
}
"""Arguments that make measurements short."""
FEW = [
    "--data.init_args.num_configurations=1000",
    "--data.init_args.batch_size=100",
    "--trainer.max_epochs=2",
    "--trainer.accelerator=cpu",
]
SMALL = ["--data.init_args.shape=4", *FEW]


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Arguments of a small run in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return ["--config", MADE_CONFIG, *SMALL]


def one_line(capsys):
    lines = [line for line in capsys.readouterr().err.splitlines() if "lightdan: error" in line]
    assert len(lines) == 1
    return lines[0]


def estimates(folder):
    return {
        path.stem: json.loads(path.read_text())["estimates"]
        for path in Path(folder).rglob("measurements/*.json")
    }


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(path, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for path in sorted(CONFIGS.rglob("*.yaml"))
        for name in [f"{path.parent.name}-{path.stem}"]
    ],
)
@pytest.mark.filterwarnings("ignore:.*not the same in all directions")  # one film in fifty, by chance
def test_every_config_runs_small(config, arguments, tmp_path, monkeypatch):
    for module, sides in ((film_likelihood, 32), (own_simulation, 64)):
        monkeypatch.setattr(module, "FILMS", 2)
        monkeypatch.setattr(module, "SIDE", sides)
    assert config.read_text().startswith("#")
    content = yaml.safe_load(config.read_text())
    callbacks = content["trainer"]["callbacks"]
    for place, callback in enumerate(callbacks):
        whole = {"class_path": callback} if isinstance(callback, str) else callback
        if less := LESS.get(whole["class_path"]):
            callbacks[place] = whole | {"init_args": whole.get("init_args", {}) | less}
            config = tmp_path / config.name
    if config.parent == tmp_path:
        config.write_text(yaml.safe_dump(content))
    size = ["--data.init_args.shape=4"]
    if content["data"]["class_path"] == "DoubleWell":
        size = ["--data.init_args.num_slices=8"]
        if config.stem == "potential":
            size.append("--data.init_args.beta=2")  # so that paths pass the barrier
    overrides = ["--config", str(config), *size, *FEW]
    if content["data"]["class_path"] == "BlockSpin":
        inner = [option.replace("init_args", "init_args.system.init_args") for option in FEW[:1]]
        if config.stem == "flow":
            inner.append("--data.init_args.system.init_args.shape=8")
        overrides = ["--config", str(config), *inner, *FEW[1:]]
    if "Kerr" in content["data"]["class_path"]:
        size = ["--data.init_args.film=[48,48]", "--data.init_args.num_images=20"]
        if content["data"]["class_path"] == "KerrImages":
            noise = np.random.default_rng(1).normal(size=(12, 48, 48))
            films = gaussian_filter(noise, (0, 0.6, 0.6)) > 0
            tifffile.imwrite(tmp_path / "images.tif", np.where(films, 160, 90).astype(np.uint8))
            size = ["--data.init_args.path=images.tif", "--trainer.val_check_interval=2"]
        size.append("--data.init_args.patch=10")
        overrides = ["--config", str(config), *size, *FEW]
    if content["data"]["class_path"] == "Recorded":
        glass = lightdan.edwards_anderson((4, 4))
        for name in ("glass.h5", "graph.h5"):
            with h5py.File(tmp_path / name, "w") as file:
                file["configurations"] = glass.simulate(2.0, 2000).configurations
        with h5py.File(tmp_path / "potts.h5", "w") as file:
            file["configurations"] = np.random.default_rng(0).integers(3, size=(2000, 4, 4))
        spins = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (400, 4, 4))
        np.save(tmp_path / "configurations.npy", spins)
        np.save(
            tmp_path / "biased.npy", np.where(np.random.default_rng(1).random((400, 8)) < 0.2, 1, -1)
        )
        overrides = ["--config", str(config), *FEW[2:]]
    if content["model"]["class_path"] == "Auto":  # a few steps instead of epochs
        overrides += ["--model.init_args.rehearsal=2", "--trainer.val_check_interval=2"]
    assert main(["fit", *overrides]) == 0
    measured = estimates("runs")
    assert {re.split("@|-along-", name)[0] for name in measured} == {
        registry.find(lightdan.Measurement, name if isinstance(name, str) else name["class_path"]).name
        for name in content["trainer"]["callbacks"]
        if not isinstance(name, dict) or name["class_path"] != "EarlyStopping"
    }
    for numbers in measured.values():
        for estimate in numbers.values():
            assert estimate.keys() == {"value", "error"}
    several = any("@" in name for name in measured)
    run = next(Path("runs").rglob("config.yaml")).parent
    assert {"best.ckpt", "last.ckpt"} == {path.name for path in (run / "checkpoints").iterdir()}
    assert all(
        (run / "measurements" / f"{name}.png").stat().st_size > 5000
        for name in measured
        if name != "hamiltonian" and "@" not in name and (name != "helicity_modulus" or several)
    )


def test_fit_ends_with_the_table_and_the_other_commands_follow(arguments, capsys, tmp_path):
    assert main(["fit", *arguments]) == 0
    output = capsys.readouterr().out
    for name in ("slope", "kl_bare", "abs_magnetization", "ess", "free_energy"):
        assert name in output
    assert "Given to the model, so no test of the data: translation (augment), rotation" in output
    checkpoint = str(next(Path("runs").rglob("best.ckpt")))

    assert main(["test", *arguments, "--ckpt_path", checkpoint]) == 0
    first, second = (estimates(f"runs/ising-made/version_{k}") for k in (0, 1))
    assert first == second
    assert main(["validate", *arguments, "--ckpt_path", checkpoint]) == 0

    assert main(["predict", *arguments, "--ckpt_path", checkpoint]) == 0
    with h5py.File(next(Path("runs").rglob("predictions.h5"))) as file:
        log_prob, hamiltonian = file["log_prob"][...], file["hamiltonian"][...]
    np.testing.assert_allclose(hamiltonian, -2.269185 * log_prob, rtol=1e-5)
    assert -log_prob.mean() == pytest.approx(first["hamiltonian"]["nll"]["value"], rel=1e-5)

    draw = ["sample", "--ckpt_path", checkpoint, "--num", "30", "--seed", "5", "--output", "x.h5"]
    assert main(draw) == 0
    with h5py.File("x.h5") as file:
        drawn, log_prob = file["configurations"][...], file["log_prob"][...]
    model = lightdan.load(checkpoint)
    expected = model.sample(30, seed=5)
    np.testing.assert_array_equal(drawn, expected.numpy())
    np.testing.assert_allclose(log_prob, model.log_prob(expected).detach().numpy(), rtol=1e-5)
    assert main(draw) == 2
    assert "exists already" in one_line(capsys)
    options = {"ckpt_path": checkpoint, "num": 30, "seed": 4, "output": "y.h5"}
    Path("sample.yaml").write_text(yaml.safe_dump(options))
    assert main(["sample", "--config", "sample.yaml", "--seed", "5"]) == 0
    with h5py.File("y.h5") as file:
        np.testing.assert_array_equal(drawn, file["configurations"][...])


def test_one_network_for_several_temperatures(arguments):
    several = ["--data.init_args.temperature=[2.0,3.5]", "--model.init_args.temperature_input=true"]
    assert main(["fit", *arguments, *several]) == 0
    measured = estimates("runs")
    curves = [name for name in measured if name.endswith("-along-T")]
    assert (len(measured), len(curves)) == (11, 3)
    for temperature in ("2", "3.5"):
        assert {"slope", "ln_z", "kl"} <= set(measured[f"hamiltonian@T={temperature}"])
    checkpoint = str(next(Path("runs").rglob("best.ckpt")))
    draw = ["sample", "--ckpt_path", checkpoint, "--num", "30", "--output", "x.h5"]
    assert main(draw) == 2
    assert main([*draw, "--temperature", "2.5"]) == 0


def test_interrupted_while_torch_is_imported():
    code = """
import signal, sys
from lightdan.cli.main import leave, main
from lightdan.signals import Stopped
class Interrupting:
    def find_spec(self, name, *_):
        if name == "torch":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
sys.argv[1:] = ["list"]
main()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (130, "lightdan: interrupted.\n")


def test_list_shows_every_family(capsys):
    assert main(["list"]) == 0
    output = capsys.readouterr().out
    for name in (
        "Ising",
        "Recorded",
        "MADE",
        "Bernoulli",
        "Categorical",
        "MaximumLikelihood",
        "Hamiltonian",
    ):
        assert name in output


def test_version_and_import_do_without_torch():
    code = "import sys, lightdan; from lightdan.cli.main import main; main(['--version']);"
    code += "print([name for name in ('torch', 'lightning', 'numpy') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == [f"lightdan {lightdan.__version__}", "[]"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_starts_with_its_description(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    words = capsys.readouterr().out.split()
    assert words[:3] == ["usage:", "lightdan", name]
    assert COMMANDS[name].description in " ".join(words)


NO_COMPONENTS = "--model.init_args.conditional.init_args.components=0"
LEARNING_RATE = "--model.init_args.optimizer.init_args.lrr=1"
BAD = [
    (["--data=Isng"], "did you mean 'Ising'"),
    (["--model=MAD"], "did you mean 'MADE'"),
    (["--model.init_args.widht=3"], "did you mean 'width'"),
    (["--model.init_args.conditional=Categorcal"], "did you mean 'Categorical'"),
    (["--model.init_args.conditional=Bernoulli", "--data.init_args.shape=abc"], "shape cannot be abc"),
    (["--model.init_args.objective=Foo"], "There is no objective 'Foo'"),
    (
        ["--model.init_args.objective=MaximumLikelihood", "--model.init_args.objective.prior=laplas"],
        "prior cannot be laplas; expected: one of 'none', 'laplace', 'gaussian'",
    ),
    (["--model.init_args.augment=[z3]"], "use its symmetries (z2, translation, rotation, reflection)"),
    (["--model.init_args.augment=[z2]", "--data.init_args.field=0.5"], "does not declare"),
    (["--trainer.callbacks=Hamiltonin"], "did you mean 'Hamiltonian'"),
    (["--data.init_args.temperature=-1"], "temperature must be positive"),
    (["--data.init_args.temperature=nan"], "temperature cannot be nan"),
    (["--data.init_args.temperature=[2.0,3.0]"], "set model.temperature_input to true"),
    (["--data.init_args.splits=[0.5,0.5,0.5]"], "splits must be three positive fractions"),
    (["--ckpt_path=nowhere.ckpt"], "There is no checkpoint at nowhere.ckpt"),
    (
        ["--data=XY", "--model.init_args.conditional=Bernoulli"],
        "use one of BetaMixture, CircularSpline, VonMisesMixture",
    ),
    (
        ["--data=XY", "--model.init_args.conditional=VonMisesMixture", NO_COMPONENTS],
        "components ≥ 1, not components = 0",
    ),
    (["--data=XY"], "names z2, which the system does not declare"),
    (["--data=Recorded"], "Recorded needs the option path"),
    (["--bogus=1"], "There is no option '--bogus'; known: --ckpt_path, "),
    (["--trainer.maxepochs=1"], "The trainer has no option 'maxepochs'; did you mean 'max_epochs'?"),
    (["--trainer=3"], "trainer cannot be '3'"),
    (["--trainer.logger=CSVLoger"], "There is no logger 'CSVLoger'; did you mean 'CSVLogger'?"),
    (["--trainer.devices=many"], "The trainer refuses an option: `devices`"),
    (["--trainer.default_root_dir=/proc/nowhere"], "The directory /proc/nowhere cannot be written"),
    (["--model.init_args.optimizer=Adan"], "There is no optimizer 'Adan'; did you mean 'Adam'?"),
    (
        ["--model.init_args.optimizer=Adam", LEARNING_RATE],
        "Adam has no option 'lrr'; did you mean 'lr'?",
    ),
    (["--model.init_args.scheduler=StepRL"], "There is no scheduler 'StepRL'; did you mean 'StepLR'?"),
    (["--seed_everything=-1"], "seed_everything must be an integer from 0 to 4294967295, not -1"),
    (["--data.init_args.seed=-1"], "seed must be at least 0"),
    (["--data"], "The option --data needs a value"),
    (["--data="], "data cannot be empty; expected: the name of a class, one of BlockSpin, "),
    (["--data.help=Isng"], "There is no system 'Isng'; did you mean 'Ising'?"),
    (["--config="], "The option --config needs a file"),
    (["--ckpt_path="], "The option --ckpt_path is empty"),
    (["--start_from="], "The option --start_from is empty"),
]


@pytest.mark.parametrize(("wrong", "said"), BAD, ids=[" ".join(wrong) for wrong, _ in BAD])
def test_bad_input_is_one_sentence(wrong, said, arguments, capsys):
    assert main(["fit", *arguments, *wrong]) == 2
    assert said in one_line(capsys)


DRAW = ["--ckpt_path", "x", "--output", "y.h5"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["fit", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (
            ["tset"],
            "There is no command 'tset'; did you mean 'test'? known: fit, images, inspect, ",
        ),
        (["--bogus", "fit"], "There is no command '--bogus'; known: fit, images, inspect"),
        (["fit"], "pass --data and --model, here or in a --config file"),
        (["fit", "--modl=MADE"], "There is no option '--modl'; did you mean '--model'?"),
        (["list", "all"], "The argument 'all' belongs to no option"),
        (["list", "--config=x"], "There is no option '--config'; known: --help."),
        (["test", "--config", MADE_CONFIG], "pass --ckpt_path"),
        (["sample", "--num", "3"], "pass --ckpt_path and --output"),
        (["sample", "--num"], "The option --num needs a value"),
        (["sample", "--num", "many", *DRAW], "num cannot be many; expected: int"),
        (
            ["sample", "--nmu", "3", *DRAW],
            "There is no option '--nmu'; did you mean '--num'? known: --ckpt_path, ",
        ),
        (["sample", "--num", "3", *DRAW, "--temperature", "0"], "temperature must be positive"),
        (["sample", "--num", "3", *DRAW], "There is no checkpoint at x"),
        (["sample", "--config", "nowhere.yaml"], "There is no file "),
        (
            ["sample", "--config", MADE_CONFIG],
            "There is no option 'model.init",
        ),
        (
            ["simulate", "--temperature", "1", "a", "--num=3", "--output=x"],
            "temperature cannot be [1.0, 'a']",
        ),
        (["predict-action", "--ckpt_paths", "x"], "pass --beta"),
        (["predict-action", "--ckpt_paths", "x", "--beta=1", "--trajectories=1"], "must be at least 2"),
        (["sample", "--num", "0", *DRAW], "--num must be at least 1"),
        (["sample", "--num", "1", *DRAW, "--seed=-1"], "--seed must be at least 0"),
        (["sample", "--num", "1", *DRAW, "--output=."], "--output . is a directory"),
        (["simulate", "--temperature", "--num=3"], "The option --temperature needs a value"),
        (["sample", "--num", "3", "--ckpt_path", "x", "--output", "no/y.h5"], "does not exist"),
    ],
)
def test_bad_commands_are_one_sentence(command, said, arguments, capsys):
    assert main(command) == 2
    assert said in one_line(capsys)


@pytest.mark.parametrize("command", ["fit", "scan", "sample"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no options"),
        (b"- a", "has no options"),
        (b"\xff", "is not valid YAML: 'utf-8' codec"),
        (b"data: [1,\nmodel: {", "is not valid YAML: while parsing a flow"),
    ],
)
def test_a_bad_configuration_is_named(command, content, said, tmp_path, capsys):
    (tmp_path / "bad.yaml").write_bytes(content)
    assert main([command, "--config", str(tmp_path / "bad.yaml")]) == 2
    assert f"The configuration {tmp_path / 'bad.yaml'} {said}" in one_line(capsys)


@pytest.mark.parametrize(
    ("exception", "code"),
    [(Stopped(signal.SIGTERM), 143), (Stopped(signal.SIGUSR1), 138), (KeyboardInterrupt(), 130)],
    ids=["SIGTERM", "SIGUSR1", "SIGINT"],
)
def test_a_stopped_fit_has_the_code_of_its_signal(exception, code, monkeypatch):
    def stop(args):
        try:
            raise exception
        except KeyboardInterrupt:
            sys.exit(1)  # as Lightning does

    monkeypatch.setattr(lightning, "run", stop)
    assert main(["fit"]) == code


def test_checkpoint_of_another_system_is_refused_before_any_work(arguments, capsys):
    assert main(["fit", *arguments, "--trainer.callbacks=Hamiltonian"]) == 0
    checkpoint = next(Path("runs").rglob("last.ckpt"))
    assert main(["fit", *arguments, "--data.init_args.shape=5", f"--ckpt_path={checkpoint}"]) == 2
    assert "lattice_shape = (4, 4)" in one_line(capsys)


PLUGIN = '''
from lightdan import Architecture, MADE, Simulation, System
import numpy as np

class Coins(System):
    """Independent coins."""
    def __init__(self, bias: float = 0.7, **kwargs):
        super().__init__(**kwargs)
        self.bias = bias
        self.lattice_shape = (5,)
        self.symmetries = ("reflection",)
    def simulate(self, temperature, seed, progress):
        draws = np.random.default_rng(seed).random((self.num_configurations, 5))
        return Simulation(np.where(draws < self.bias, 1, -1).astype(np.int8))

class Deep(MADE):
    """MADE of three layers."""
    def __init__(self, hidden: int = 2, **kwargs):
        super().__init__(width=hidden, depth=3, **kwargs)
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A distribution with an entry point, as pip would leave it, and a broken one beside it."""
    site = tmp_path / "site"
    for name, code in (("coins_plugin", PLUGIN), ("broken_plugin", "import does_not_exist")):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[lightdan.plugins]\n{name} = {name}\n")
    monkeypatch.syspath_prepend(site)
    yield
    sys.modules.pop("coins_plugin", None)
    registry._loaded.clear()


def test_third_party_plugin_trains_and_a_broken_one_warns(plugin, arguments, capsys):
    train = ["--data=Coins", "--data.init_args.num_configurations=1000", "--model=Deep"]
    train += [
        "--model.init_args.hidden=3",
        "--trainer.max_epochs=1",
        "--trainer.callbacks=[Hamiltonian,Symmetry]",
    ]
    with pytest.warns(UserWarning, match="plugin 'broken_plugin'.*left out.*does_not_exist"):
        assert main(["fit", *train]) == 0
    measured = estimates("runs")
    assert set(measured["hamiltonian"]) == {"nll"}
    assert set(measured["symmetry"]) == {"reflection", "reflection_spread"}
    capsys.readouterr()
    with pytest.warns(UserWarning, match="broken_plugin"):
        assert main(["list"]) == 0
    assert "coins_plugin" in capsys.readouterr().out
    checkpoint = next(Path("runs").rglob("best.ckpt"))
    with pytest.warns(UserWarning, match="broken_plugin"):
        assert type(lightdan.load(checkpoint)).__name__ == "Deep"


def test_class_in_a_file_beside_the_config(arguments, tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "beside_config.py").write_text(PLUGIN)
    config = {
        "data": {"class_path": "beside_config.Coins", "init_args": {"num_configurations": 500}},
        "model": {"class_path": "beside_config.Deep"},
        "trainer": {"max_epochs": 1, "callbacks": ["Hamiltonian"]},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(["fit", "--config", str(folder / "config.yaml")]) == 0
    assert issubclass(registry.find(Architecture, "beside_config.Deep"), lightdan.MADE)


def records(path):
    """Return the records of a file of Weights & Biases, whose check sums are right."""
    from wandb.proto import wandb_internal_pb2

    data, start, part = path.read_bytes(), 7, b""
    found = []
    while start + 7 < len(data):
        left = 32768 - start % 32768
        if left < 7:
            start += left
            continue
        check, size, kind = struct.unpack_from("<IHB", data, start)
        end = start + 7 + size
        if end > len(data):  # it is being written
            break
        assert check == zlib.crc32(data[start + 6 : end])
        part, start = part + data[start + 7 : end], end
        if kind in (1, 4):  # whole, or the last part
            found.append(wandb_internal_pb2.Record.FromString(part))
            part = b""
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Checkpoint directory")
def test_weights_and_biases_offline(arguments, tmp_path):
    import wandb

    logger = ["--trainer.logger=WandbLogger", "--trainer.logger.init_args.offline=true"]
    logger += ["--trainer.logger.init_args.project=p", f"--trainer.logger.init_args.save_dir={tmp_path}"]
    assert main(["fit", *arguments, *logger]) == 0
    wandb.finish()
    (run,) = tmp_path.glob("p/*")
    assert (run / "config.yaml").exists()
    assert set(estimates(run)) == {"hamiltonian", "symmetry", "observables", "importance_sampling"}
    images = {path.parent.name for path in tmp_path.rglob("files/media/images/*/*.png")}
    assert images == {"hamiltonian", "symmetry", "observables", "importance_sampling"}
    longer = ["--trainer.max_epochs=3", "--trainer.callbacks=Hamiltonian"]
    last = run / "checkpoints" / "last.ckpt"
    assert main(["fit", *arguments, *logger, *longer, f"--ckpt_path={last}"]) == 0
    wandb.finish()
    assert [*tmp_path.glob("p/[!.]*")] == [run]
    files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    for file in files:
        found = records(file)
        for _ in range(100):  # another process writes the file
            if any(record.HasField("exit") for record in found):
                break
            time.sleep(0.1)
            found = records(file)
        assert [record.run.run_id for record in found if record.HasField("run")] == [run.name]
        settings = [entry for record in found for entry in record.config.update]
        names = [entry.key or entry.nested_key[0] for entry in settings]
        assert len(set(names)) == len(names)
        assert {"data", "model", "trainer"} <= set(names)
        assert not {"width", "lattice_shape"} & set(names)  # they are in `model` and `data`


QUICK = ["--trainer.callbacks=Hamiltonian", "--trainer.max_epochs=1"]


def test_a_run_is_where_default_root_dir_or_the_logger_says(arguments, capsys):
    fit = ["fit", *arguments, *QUICK]
    logger = "--trainer.logger.init_args.save_dir=there"
    assert main([*fit, "--trainer.default_root_dir=here"]) == 0
    assert main([*fit, "--trainer.default_root_dir=here", logger]) == 0
    assert main([*fit, "--trainer.default_root_dir=nowhere", "--trainer.logger=false"]) == 0
    assert not Path("runs").exists()
    for run in ("here/ising-made/version_0", "there/ising-made/version_0", "nowhere/version_0"):
        assert Path(run, "checkpoints", "best.ckpt").exists()
        assert Path(run, "config.yaml").exists()
        assert set(estimates(run)) == {"hamiltonian"}
    saved = ["--config=here/ising-made/version_0/config.yaml"]
    saved += ["--ckpt_path=here/ising-made/version_0/checkpoints/best.ckpt"]
    assert main(["predict", *saved]) == 0
    assert Path("here/ising-made/version_1/predictions.h5").exists()


def test_torch_keeps_to_one_thread_unless_the_environment_says_otherwise(monkeypatch):
    started = []
    monkeypatch.setattr(
        lightning, "CLI", lambda *args, **options: started.append(torch.get_num_threads())
    )
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        lightning.run(["fit"])
        monkeypatch.delenv("OMP_NUM_THREADS")
        lightning.run(["fit"])
    finally:
        torch.set_num_threads(threads)
    assert started == [2, 1]


def start(folder, *arguments):
    """Start the command in a process of its own that handles Ctrl-C as in a terminal."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "lightdan", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0][-2000:]
        assert time.monotonic() < end
        time.sleep(0.02)


def test_interrupts_at_the_exit_end_it(monkeypatch):
    """Libraries print tracebacks if Ctrl-C meets them at the exit of a program."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(sys, "argv", ["lightdan", "list"])
    try:
        assert main() == 0
        assert signal.getsignal(signal.SIGINT) is leave
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_interrupted_simulation_leaves_nothing(arguments, tmp_path):
    big = [*arguments, "--data.init_args.num_configurations=3000000", "--data.init_args.shape=32"]
    process = start(tmp_path, "fit", *big)
    cache = tmp_path / "cache" / "lightdan"
    wait_for(lambda: list(cache.glob("*.lock")), process)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not [path for path in cache.iterdir() if path.suffix != ".lock"]


@pytest.mark.slow
def test_two_processes_and_then_one_train_as_one(arguments, tmp_path):
    # Batches and steps are the same, so the results differ only by the noise of augmentation.
    arguments = [
        *arguments,
        "--data.init_args.num_configurations=4000",
        "--trainer.callbacks=Hamiltonian",
    ]
    arguments += ["--model.init_args.optimizer.init_args.lr=0.01", "--trainer.logger.init_args.name"]
    longer = ["one", "--trainer.max_epochs=10"]
    assert main(["fit", *arguments, *longer]) == 0
    several = ["--trainer.max_epochs=5", "--trainer.devices=2", "--trainer.strategy=ddp"]
    process = start(tmp_path, "fit", *arguments, "two", *several)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output[-2000:]
    assert output.count("Measurements on the test configurations") == 1
    with open("runs/two/version_0/metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert sum(bool(row.get("hamiltonian/kl")) for row in rows) == 1
    with pytest.warns(UserWarning, match="of a run of 2 processes, and this one has 1: the results"):
        assert (
            main(["fit", *arguments, *longer, "--ckpt_path=runs/two/version_0/checkpoints/last.ckpt"])
            == 0
        )
    nll = [estimates(f"runs/one/version_{number}")["hamiltonian"]["nll"] for number in (0, 1)]
    assert nll[0]["value"] == pytest.approx(nll[1]["value"], abs=nll[0]["error"])


def test_checkpoint_of_an_unknown_class(arguments, capsys):
    assert main(["fit", *arguments, "--trainer.callbacks=Hamiltonian"]) == 0
    path = next(Path("runs").rglob("best.ckpt"))
    content = torch.load(path, weights_only=True)
    content["lightdan"]["architecture"] = "gone.Gone"
    torch.save(content, path)
    assert main(["sample", "--ckpt_path", str(path), "--num", "1", "--output", "x.h5"]) == 2
    assert "There is no architecture 'gone.Gone'" in one_line(capsys)


POTENTIAL = ["--data=Path", "--data.init_args.num_slices=6", "--data.init_args.beta=2.0"]
BAD_PATHS = [
    (["--data.init_args.beta=0"], "beta must be positive"),
    (["--data.init_args.beta=[20.0,80.0]"], "set model.temperature_input to true"),
    (["--data.init_args.num_slices=2"], "num_slices must be at least 3"),
    (["--data.init_args.strength=-4"], "strength must be positive"),
    ([*POTENTIAL, "--data.init_args.potential=[0,0,-1]"], "unbounded below"),
    ([*POTENTIAL, "--data.init_args.potential=nowhere.potential"], "nowhere"),
    (
        ["--model.init_args.conditional=BoxBetaMixture", "--model.init_args.conditional.bound=0.1"],
        "set a larger one",
    ),
    (
        ["--model.init_args.conditional=VonMisesMixture"],
        "use one of BoxBetaMixture, Gaussian",
    ),
]


@pytest.mark.parametrize(("wrong", "said"), BAD_PATHS, ids=[" ".join(wrong) for wrong, _ in BAD_PATHS])
def test_bad_paths_are_one_sentence(wrong, said, arguments, capsys):
    config = str(CONFIGS / "double_well" / "made.yaml")
    assert main(["fit", "--config", config, "--data.init_args.num_slices=8", *FEW, *wrong]) == 2
    assert said in one_line(capsys)


def test_a_potential_of_ones_own(arguments, tmp_path):
    """A potential is a list of coefficients or a function in a file of the working directory."""
    (tmp_path / "own.py").write_text("def well(x):\n    return (x * x - 1) ** 2 + 0.3 * x\n")
    config = str(CONFIGS / "double_well" / "made.yaml")
    rest = ["--model.init_args.augment=[translation]", "--trainer.callbacks=[Action, Correlator]", *FEW]
    for potential in ("[0, 0, 0.5]", "own.well"):
        chosen = [*POTENTIAL, f"--data.init_args.potential={potential}"]
        assert main(["fit", "--config", config, *chosen, *rest]) == 0
    assert len(list(Path("runs").rglob("correlator.json"))) == 2


def test_recorded_fields(arguments, tmp_path):
    """Real fields far from zero are recognised in a file."""
    fields = np.random.default_rng(0).normal(300.0, 5.0, (400, 6))
    np.save(tmp_path / "configurations.npy", fields)
    config = str(CONFIGS / "recorded" / "made.yaml")
    few = ["--model.init_args.augment=[]", "--model.init_args.symmetrize=[]", *FEW[1:]]
    assert main(["fit", "--config", config, *few, "--trainer.max_epochs=40"]) == 0
    nll = estimates("runs")["hamiltonian"]["nll"]
    entropy = 6 * (0.5 * np.log(2 * np.pi * np.e) + np.log(5.0))
    assert abs(nll["value"] - entropy) < 3 * nll["error"] + 0.5
