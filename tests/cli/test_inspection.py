"""The command ``lightdan inspect``: its page, its command to paste, and its figure."""

import shlex

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lightdan.cli import inspection
from lightdan.cli.main import main

RANDOM = np.random.default_rng(0)
SPINS = np.where(RANDOM.normal(size=(600, 8, 1)) + RANDOM.normal(size=(600, 8, 8)) > 0, 1, -1)
FILES = {
    "rectangle": SPINS,
    "line": SPINS.reshape(600, 64),
    "levels": RANDOM.integers(0, 3, (300, 12)),
    "fields": RANDOM.normal(size=(300, 12)),
    "few": RANDOM.choice([-1, 1], (40, 12)),
}


@pytest.mark.parametrize("name", ["rectangle", "line"])
def test_page_and_figure(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", FILES[name])
    assert main(["inspect", "a.npy", "--output", "page.png"]) == 0
    out = capsys.readouterr().out
    num, *sides = FILES[name].shape
    assert f"a.npy: {num} configurations of {' × '.join(map(str, sides))} sites" in out
    assert "lightdan fit --config configs/recorded/any.yaml --data.init_args.path a.npy" in out
    with Image.open("page.png") as image:
        assert min(image.size) > 500
        assert len(set(image.convert("L").tobytes())) > 50


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["angle", "level", "real"])
@pytest.mark.parametrize("shape", [(6, 6), (12,)])
def test_figure_of_other_kinds(kind, shape, tmp_path):
    values = {"angle": np.pi, "level": 1.5, "real": 9.0}[kind] * (
        1 + RANDOM.uniform(-1, 1, (90, *shape))
    )
    np.save(tmp_path / "a.npy", np.floor(values) if kind == "level" else values)
    figure = tmp_path / "page.pdf"
    assert main(["inspect", str(tmp_path / "a.npy"), "--values", kind, "--output", str(figure)]) == 0
    assert figure.read_bytes().startswith(b"%PDF")


def test_options_are_passed_on_and_suggestions_added(tmp_path, capsys):
    path = tmp_path / "my spins.csv"
    np.savetxt(path, FILES["line"], fmt="%d", delimiter=",")
    assert main(["inspect", str(path), "--values", "level", "--shape", "[8, 8]"]) == 0
    out = capsys.readouterr().out
    assert "2 integer levels" in out
    command = shlex.split(out.splitlines()[-1])
    options = dict(zip(command[4::2], command[5::2], strict=False))
    assert options["--data.init_args.path"] == str(path)
    assert options["--data.init_args.shape"] == "[8, 8]"
    assert options["--data.init_args.boundary"] in ("open", "periodic")
    assert options["--data.init_args.values"] == "level"


def test_several_files_each_get_a_figure(tmp_path, capsys):
    paths = [tmp_path / f"{name}.npy" for name in ("line", "fields")]
    for path in paths:
        np.save(path, FILES[path.stem])
    args = ["inspect", *map(str, paths), "--output", str(tmp_path / "page.png")]
    assert main(args) == 0
    assert {p.name for p in tmp_path.glob("*.png")} == {"page-line.npy.png", "page-fields.npy.png"}
    assert main(args) == 2
    assert "exists already" in capsys.readouterr().err


def test_counts_are_repeated(tmp_path, capsys):
    path = tmp_path / "a.npz"
    rows, counts = np.unique(FILES["few"][RANDOM.integers(0, 40, 900)], axis=0, return_counts=True)
    np.savez(path, s=rows, n=counts)
    assert main(["inspect", str(path), "--dataset", "s", "--weights", "n"]) == 0
    out = capsys.readouterr().out
    assert "of 66 pairs of sites are correlated" in out
    np.savez(path, s=FILES["few"], n=np.linspace(0.1, 1, 40))
    assert main(["inspect", str(path), "--dataset", "s", "--weights", "n"]) == 0
    assert "rows have different weights" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["inspect"], "pass its path"),
        (["inspect", "no.npy"], "no.npy does not exist"),
        (["inspect", "a.npy", "--output", "a.npy"], "use .png, .pdf, .svg"),
        (["inspect", "a.npy", "--output", "old.png"], "exists already"),
        (["inspect", "a.npy", "--shap", "[4]"], "did you mean"),
        (["inspect", "a.npy", "--shape", "[5, 5]"], "25 sites"),
        (["inspect", "axes.npy"], "temperature to a list of 3 numbers"),
        (["inspect", "a.npy", "bad.npy"], "bad.npy cannot be read"),
    ],
)
def test_bad_input_ends_in_a_sentence(args, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", FILES["levels"])
    np.save("axes.npy", SPINS.reshape(3, 200, 8, 8))
    np.save("bad.npy", np.full((10, 4), np.nan))
    (tmp_path / "old.png").write_text("mine")
    assert main(args) == 2
    assert words in capsys.readouterr().err
    assert (tmp_path / "old.png").read_text() == "mine"


def test_refused_file_shows_its_start(tmp_path, capsys):
    path = tmp_path / "a.npy"
    np.save(path, np.where(np.arange(40).reshape(10, 4) == 7, np.nan, 1.5))
    assert main(["inspect", str(path)]) == 2
    assert "shape (10, 4), type float64, first values 1.5" in capsys.readouterr().out


def test_the_command_for_several_temperatures_lets_the_network_see_them(tmp_path, capsys):
    path = tmp_path / "a.npz"
    np.savez(path, s=SPINS.reshape(600, 64), T=RANDOM.permutation(np.repeat([1.0, 2.0], 300)))
    options = ["--dataset", "s", "--temperature", "T", "--boundary=open"]
    assert main(["inspect", str(path), *options]) == 0
    out = capsys.readouterr().out
    assert "other arrays: T" in out
    assert "at each of 2 conditions; what has no p-value is of the rows at T = 1" in " ".join(
        out.split()
    )
    command = out.rstrip().splitlines()[-1]
    assert command.endswith("--data.init_args.boundary=open --model.init_args.temperature_input true")


@pytest.mark.parametrize("array", [np.float64(3), np.eye(3)[np.arange(60).reshape(20, 3) % 3] > 0])
def test_start_of_a_number_and_of_truths(array, tmp_path, capsys):
    np.save(tmp_path / "a.npy", array)
    assert main(["inspect", str(tmp_path / "a.npy")]) == 2
    shown = capsys.readouterr()
    assert "first values" in shown.out
    assert "error: The file" in shown.err


def test_two_processes_do_not_replace_each_others_figure(tmp_path, monkeypatch, capsys):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).choice([-1, 1], (100, 4)))

    def meanwhile(*_):
        (tmp_path / "a.png").write_text("of another")
        return Figure()

    monkeypatch.setattr(inspection, "draw", meanwhile)
    assert main(["inspect", str(tmp_path / "a.npy"), "--output", str(tmp_path / "a.png")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".npy"] == ["a.png"]
    assert (tmp_path / "a.png").read_text() == "of another"


@pytest.mark.parametrize("name", ["film.tif", "film.PNG", "scan.sxm"])
def test_an_image_is_sent_to_its_command(tmp_path, capsys, name):
    (tmp_path / name).write_bytes(b"0")
    assert main(["inspect", str(tmp_path / name)]) == 2
    assert f"is an image: use 'lightdan images {tmp_path / name}'." in capsys.readouterr().err
