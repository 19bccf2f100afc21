from pathlib import Path

import numpy as np
import pytest

from lightdan.images.conditions import conditions, controls_of
from lightdan.images.files import Page

SWEEP = [Page(Path(f"films/film_T300K_B{b}mT_{k:03d}.tif"), 0) for k, b in enumerate((-12, 0, 2.5, 12))]


def pages(*names):
    return [Page(Path("films") / name, 0) for name in names]


def test_numbers_in_names_keep_their_signs():
    np.testing.assert_array_equal(controls_of(SWEEP, {"B": "B*mT"})[:, 0], [-12, 0, 2.5, 12])
    np.testing.assert_array_equal(
        controls_of(pages("a_-3mT.tif", "a_3mT.tif"), {"B": "*mT"}), [[-3], [3]]
    )
    with pytest.raises(ValueError, match=r"B-12mT_000\.tif has no number there"):
        controls_of(SWEEP, {"B": "*mT"})


@pytest.mark.parametrize(
    ("names", "option"),
    [
        (("film_T300K_B-12mT_003.tif", "film_T300K_B12mT_004.tif"), r"\{B: 'B\*mT'\}"),
        (("f_100Oe.tif", "f_200Oe.tif"), r"\{B: '\*Oe'\}"),
        (("f_h=0.1_T=2.tif", "f_h=0.2_T=3.tif"), r"\{h: 'h=\*', kelvin: 'T=\*'\}"),
        (("f_290K.tif", "f_300K.tif"), r"\{kelvin: '\*K'\}"),
        (("f_field-2p5.tif", "f_field2p5.tif"), r"\{field: 'field\*'\}"),
    ],
)
def test_fields_in_names_are_asked_for(names, option):
    with pytest.raises(
        ValueError, match=f"seem to hold values of .*set controls to {option} if they do, or"
    ):
        controls_of(pages(*names), None)
    assert controls_of(pages(*names), {}) is None


@pytest.mark.parametrize(
    "names",
    [
        ("film_t1.tif", "film_t2.tif"),
        ("T001.tif", "T002.tif"),
        ("b1.tif", "b2.tif"),
        ("a_B5mT_1.tif", "a_B5mT_2.tif"),
        ("image10.tif", "image11.tif"),
        ("B2.tif", "other.tif"),
    ],
)
def test_numbers_of_images_are_not(names):
    assert controls_of(pages(*names), None) is None


def test_a_table_has_a_line_for_each_file(tmp_path):
    table = tmp_path / "fields.csv"
    lines = [f"{page.file.name}; {k}; 300" for k, page in enumerate(SWEEP)]
    table.write_text("File; B; kelvin\n" + "\n".join(reversed(lines)))
    np.testing.assert_array_equal(controls_of(SWEEP, {"B": str(table)})[:, 0], range(4))
    with pytest.raises(ValueError, match="kelvin is 300 in all images of films"):
        controls_of(SWEEP, {"kelvin": str(table)})
    with pytest.raises(
        ValueError, match="has no column 'H': name the control like one of 'B', 'kelvin'"
    ):
        controls_of(SWEEP, {"H": str(table)})
    with pytest.raises(ValueError, match=r"no line for the image films/c\.tif"):
        controls_of([*SWEEP, *pages("c.tif")], {"B": str(table)})
    table.write_text("file,page,B\na.tif,1,5\na.tif,2,?\n")
    with pytest.raises(ValueError, match=r"no number in the column 'B', but '\?', for .*a\.tif, page 2"):
        controls_of([Page(Path("a.tif"), k) for k in (0, 1)], {"B": str(table)})


def test_lists_have_a_number_for_each_file_or_image(tmp_path):
    two = [Page(Path(name), number) for name in ("a.tif", "b.tif") for number in (0, 1)]
    np.testing.assert_array_equal(controls_of(two, {"h": [1, 2]})[:, 0], [1, 1, 2, 2])
    np.save(tmp_path / "h.npy", [4.0, 3.0, 4.0, 1.0])
    values = controls_of(two, {"h": str(tmp_path / "h.npy")})
    np.testing.assert_array_equal(values[:, 0], [4, 3, 4, 1])
    found = [(value, images.tolist()) for value, images in conditions(values)]
    assert found == [((1.0,), [3]), ((3.0,), [1]), ((4.0,), [0, 2])]
    with pytest.raises(ValueError, match=r"h has 3 values, but \. has 4 images"):
        controls_of(two, {"h": [1, 2, 3]})
