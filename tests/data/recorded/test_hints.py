"""Temperatures and controls in names, arrays and attributes, which are never ignored in silence."""

import h5py
import numpy as np
import pytest

from lightdan.data.recorded.temperatures import open_recorded

NUM = 40
ROWS = (2 * np.random.default_rng(0).integers(2, size=(4 * NUM, 9)) - 1).astype(np.int8)
T, H = np.repeat([1.5, 1.5, 3.0, 3.0], NUM), np.repeat([-0.2, 0.4, -0.2, 0.4], NUM)


def parts():
    """Yield T, h and the rows of each condition."""
    for k in range(4):
        yield T[k * NUM], H[k * NUM], ROWS[k * NUM : (k + 1) * NUM]


def groups(folder, name):
    with h5py.File(folder / "a.h5", "w") as file:
        for t, h, rows in parts():
            file[name.format(t, h)] = rows
    return {"path": str(folder / "a.h5"), "dataset": "*/s"}


def files(folder, name):
    for t, h, rows in parts():
        np.save(folder / name.format(t, h), rows)
    return {"path": str(folder / "*.npy")}


def attributes(folder, name):
    with h5py.File(folder / "a.h5", "w") as file:
        for k, (t, h, rows) in enumerate(parts()):
            file[f"run{k}/s"] = rows
            file[f"run{k}"].attrs["T"], file[f"run{k}/s"].attrs["h"] = t, h
    return {"path": str(folder / "a.h5"), "dataset": "*/s"}


def arrays(folder, name):
    np.savez(folder / "a.npz", s=ROWS, T=T, h=H)
    return {"path": str(folder / "a.npz"), "dataset": "s"}


@pytest.mark.parametrize(("name", "value"), [("beta", 0.0), ("T", np.nan), ("T", [np.nan, np.nan])])
def test_numbers_that_are_no_temperature_are_no_hint(tmp_path, name, value):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["s"] = ROWS
        file["s"].attrs[name] = value
    assert open_recorded(str(tmp_path / "a.h5")).notes == ()


def test_an_attribute_is_called_so(tmp_path):
    opened = open_recorded(**attributes(tmp_path, ""), temperature="T", controls={"h": "h"})
    assert opened.origin == f"attribute 'T' of the file {tmp_path / 'a.h5'}"
    opened = open_recorded(**arrays(tmp_path, ""), temperature="T", controls={"h": "h"})
    assert opened.origin == f"array 'T' of the file {tmp_path / 'a.npz'}"


@pytest.mark.parametrize(
    ("write", "name", "temperature", "control"),
    [
        (groups, "T={}_h={}/s", "T=*", "h=*"),
        (groups, "T={}/h={}/s", "T=*/", "h=*"),
        (groups, "h={1}/b={0}_x/s", "b=*_x", "h=*"),
        (files, "ising_T{}_h_{}.npy", "T*", "h_*"),
        (files, "t{}h{}.npy", "t*", "t1.5h*"),
        (attributes, "", "T", "h"),
        (arrays, "", "T", "h"),
    ],
)
def test_conditions_by_name(tmp_path, write, name, temperature, control):
    given = write(tmp_path, name)
    if control == "t1.5h*":  # where T = 3 the name has no such number
        with pytest.raises(
            ValueError, match=r"control h is 't1.5h\*', but the name .*t3.0h.* has no number"
        ):
            open_recorded(**given, temperature=temperature, controls={"h": control})
        return
    opened = open_recorded(**given, temperature=temperature, controls={"h": control})
    order = np.lexsort([np.arange(len(ROWS)), opened.controls[:, 0], opened.temperature])
    np.testing.assert_array_equal(np.asarray(opened.array[:])[order], ROWS)
    np.testing.assert_array_equal(opened.temperature[order], T)
    np.testing.assert_array_equal(opened.controls[order, 0], H)


def notes(opened):
    """Return the sentences on temperatures."""
    return [note for note in opened.notes if note.startswith("temperature")]


@pytest.mark.parametrize(
    ("write", "name", "of_t", "of_h"),
    [
        (groups, "T={}_h={}/s", r"temperatures: set temperature to \[1.5, 1.5, 3, 3\]", r"{h: 'h=\*'}"),
        (files, "x_T{}_mu_{}.npy", r"set temperature to \[1.5, 1.5, 3, 3\]", r"{mu: 'mu_\*'}"),
        (attributes, "", "several temperatures in the attribute 'T': set temperature to that", "{h: h}"),
        (arrays, "", "several temperatures in the array 'T': set temperature to that", "{h: h}"),
    ],
)
def test_ignored_conditions_are_asked_for(tmp_path, write, name, of_t, of_h):
    given = write(tmp_path, name)
    with pytest.raises(ValueError, match=of_t):
        open_recorded(**given)
    with pytest.raises(ValueError, match=f"set controls to {of_h} .*or to {{}} if"):
        open_recorded(**given, temperature=1.0)
    opened = open_recorded(**given, temperature=1.0, controls={})
    assert opened.controls is None
    assert notes(opened) == []


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("name", "the name says T = 2.5: set temperature to 2.5 if"),
        ("inverse", "the name says beta = 0.4: set temperature to 2.5 if"),
        ("attribute", "attribute 'T' says T = 2.5"),
        ("array", "array 'run/T' says T = 2.5"),
        ("column", "array 'T' says T = 2.5"),
    ],
)
def test_a_single_temperature_is_mentioned(tmp_path, place, said):
    """Nothing is said if temperature is set, or if the number is 1."""
    path = tmp_path / {"name": "T=2.5.npy", "inverse": "s_beta0.4.npy"}.get(place, "a.h5")
    if path.suffix == ".npy":
        np.save(path, ROWS)
    else:
        with h5py.File(path, "w") as file:
            file["run/s"] = ROWS
            if place == "attribute":
                file.attrs["T"] = 2.5
            else:
                file["run/T" if place == "array" else "T"] = np.full(
                    1 if place == "array" else 4 * NUM, 2.5
                )
    dataset = None if path.suffix == ".npy" else "run/s"
    (note,) = notes(open_recorded(str(path), dataset))
    assert note.startswith("temperature: 1, because none is set; ")
    assert said in note
    assert notes(open_recorded(str(path), dataset, temperature=2.5)) == []
    one = path.with_name("T=1.npy")
    np.save(one, ROWS)
    assert notes(open_recorded(str(one))) == []


@pytest.mark.parametrize("name", ["h/mT", "a=b", "two words", "", "T", "Temperature"])
def test_names_of_controls(tmp_path, name):
    np.save(tmp_path / "a.npy", ROWS)
    with pytest.raises(ValueError, match="A control cannot have the name"):
        open_recorded(str(tmp_path / "a.npy"), controls={name: H.tolist()})
    assert open_recorded(str(tmp_path / "a.npy"), controls={"μ_1.x-y": H.tolist()}).control_names
