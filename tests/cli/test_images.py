"""The command ``lightdan images``: its pages, its table, its refusals, and its command to paste."""

import contextlib
import csv
import io
import math
import shlex
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from lightdan import KerrImages
from lightdan.cli.images import _folder
from lightdan.cli.main import main

RNG = np.random.default_rng(0)


def camera(texture, blur=1.2, noise=0.02):
    light = 1 + 0.1 * ndimage.gaussian_filter(texture.astype(float), blur)
    light *= 1 + 0.1 * np.linspace(-1, 1, texture.shape[1])
    return (2e4 * (light + noise * RNG.normal(size=texture.shape))).astype(np.uint16)


def bubbles(shape=(180, 220), spacing=20, radius=6):
    y, x = np.mgrid[: shape[0], : shape[1]]
    texture = np.full(shape, -1)
    for i in range(-1, 12):
        for j in range(-1, 13):
            centre = np.array([i * math.sqrt(0.75), j + i % 2 / 2]) * spacing + RNG.normal(size=2) * 0.5
            texture[np.hypot(y - centre[0], x - centre[1]) < radius] = 1
    return texture


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Return a file with three images of a bubble lattice, half a micrometre per pixel."""
    path = tmp_path_factory.mktemp("films") / "films.tif"
    films = np.stack([camera(bubbles()) for _ in range(3)])
    tifffile.imwrite(path, films, imagej=True, resolution=(2, 2), metadata={"unit": "um", "axes": "TYX"})
    return path


@pytest.fixture(scope="module")
def shown(stack, tmp_path_factory):
    """Return the folder of pages, and what is printed."""
    folder, out = tmp_path_factory.mktemp("pages") / "new", io.StringIO()
    options = ["--masks", "[[160, 170, 20, 60]]", "--patch=8", "--site_size", "0.5"]
    with contextlib.redirect_stdout(out):
        assert main(["images", str(stack), *options, "--output", str(folder)]) == 0
    return folder, out.getvalue()


def test_pages_are_pictures(shown):
    folder, _ = shown
    assert sorted(page.name for page in folder.iterdir()) == [
        *(f"image-000{k}.png" for k in (1, 2, 3)),
        "images.csv",
    ]
    with Image.open(folder / "image-0001.png") as page:
        assert min(page.size) > 900
        assert len(set(page.convert("L").tobytes())) > 100
        colours = set(page.convert("RGB").resize((400, 300)).get_flattened_data())
    assert any(r > g + 60 and r > b + 60 for r, g, b in colours)  # contour and test regions


def test_table_has_numbers_with_units_and_errors(shown):
    with open(shown[0] / "images.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["1", "2", "3"]
    assert [row["page"] for row in rows] == ["1", "2", "3"]
    exact = {
        "domain_period [µm]": 20 * math.sqrt(0.75) / 2,
        "density [1/µm²]": 2 / math.sqrt(3) / 10**2,
        "area_fraction": 2 * math.pi / math.sqrt(3) * 0.3**2,
    }
    for row in rows:
        for name, value in exact.items():
            assert float(row[name]) == pytest.approx(value, rel=0.06), name
            assert 0 < float(row[f"{name.partition(' ')[0]} error"]) < 0.1 * value
        assert float(row["psi6"]) > 0.9
        assert float(row["signal to noise"]) == pytest.approx(0.2 / 0.02, rel=0.3)
        assert float(row["wall 10-90 % [µm]"]) == pytest.approx(2.56 * 1.2 / 2, rel=0.15)
        assert float(row["separation"]) > 4
        assert 80 < int(row["domains"]) < 150


def test_report_and_command(stack, shown):
    _, out = shown
    assert "whole images; errors from" in out
    assert "1/µm²" in out
    said, tabled = (line.split() for line in out.splitlines() if "area fraction of the br" in line)
    assert said[-1] == tabled[-1]
    command = shlex.split(out.splitlines()[-1])
    expected = ["lightdan", "fit", "--config", "configs/kerr/images.yaml", "--data.init_args.path"]
    assert command[:6] == [*expected, str(stack)]
    assert sum("site_size" in word for word in command) == 1
    assert "--data.init_args.patch=8" in command
    assert command[-4:-1] == ["--data.init_args.threshold", "mixture", "--model.init_args.reach"]
    assert int(command[-1]) == pytest.approx(1.5 * 20 * math.sqrt(0.75), rel=0.06)  # in sites of a pixel


def test_one_image_is_in_the_singular_with_the_error_of_its_threshold(tmp_path, capsys):
    np.save(tmp_path / "film.npy", camera(bubbles((100, 120)), noise=0.1))
    system = KerrImages(str(tmp_path / "film.npy"), patch=8)
    with warnings.catch_warnings(action="ignore"):
        system.setup()
    out = capsys.readouterr().out
    assert "film.npy: 1 image of 100 × 120 pixels" in out
    assert "drift" not in out
    sampling = system.series.survey.together.estimates["area_fraction"].error
    threshold = float(system.stack.phases.share_errors[-1])
    assert threshold > 0.1 * sampling
    assert system.summary["area_fraction"].error == pytest.approx(math.hypot(sampling, threshold))


def test_what_means_nothing_for_a_segmentation_is_left_out(tmp_path, capsys):
    np.save(tmp_path / "mask.npy", bubbles((100, 120)) > 0)
    folder = tmp_path / "new"
    assert main(["images", str(tmp_path / "mask.npy"), "--patch=8", "--output", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "denoise" not in out
    assert "threshold" not in out.splitlines()[-1]
    with open(folder / "images.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert not any(word in name for name in row for word in ("separation", "wall 10", "noise", "thresh"))
    assert float(row["density [1/px²]"]) > 0


def test_new_folders_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _folder("films/*.tif", None).as_posix() == "runs/images-film/version_0"
    (tmp_path / "runs" / "images-a" / "version_0").mkdir(parents=True)
    assert _folder("films/a.tif", None).as_posix() == "runs/images-a/version_1"


@pytest.mark.parametrize("options", [["--patch", "400"], ["--denoise", "-1"], ["--num_levels", "1"]])
def test_what_kerr_images_refuses_is_refused_with_its_sentence(options, stack, tmp_path, capsys):
    name, value = options[0][2:], int(options[1])
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        KerrImages(str(stack), **{name: value}).setup()
    folder = tmp_path / "new"
    assert main(["images", str(stack), *options, "--output", str(folder)]) == 2
    assert str(refused.value) in capsys.readouterr().err
    assert not folder.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "images needs one folder, pattern or file, not 0"),
        (["a.tif", "b.tif"], "images needs one folder, pattern or file, not 2"),
        (["a.tif"], "There is no image at a.tif"),
        (["a.tif", "--crops", "1"], "There is no option '--crops'; did you mean"),
        (["a.tif", "--output", "."], "is a directory"),
    ],
)
def test_refusals(words, sentence, capsys):
    assert main(["images", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_inspect_sends_images_here(stack, capsys):
    assert main(["inspect", str(stack)]) == 2
    assert f"lightdan images {stack}" in capsys.readouterr().err
