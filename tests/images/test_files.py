import numpy as np
import pytest
import tifffile
from skimage import io

from lightdan.images.files import Page, find_files, pages, to_grey
from lightdan.images.scale import pixel_size

RNG = np.random.default_rng(0)


def image(dtype=np.uint8, shape=(12, 15)):
    return (100 * RNG.random(shape)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.int16])
def test_tiff_keeps_its_type(dtype, tmp_path):
    given = image(dtype)
    tifffile.imwrite(tmp_path / "a.tif", given)
    read = Page(tmp_path / "a.tif", 0).read()
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, given)


@pytest.mark.parametrize("compression", ["zlib", "lzw"])
def test_compressed_tiff_is_read_or_named(compression, tmp_path):
    given = image(np.uint16)
    try:
        tifffile.imwrite(tmp_path / "a.tif", given, compression=compression)
    except (ValueError, KeyError):
        pytest.skip("no such codec here")
    np.testing.assert_array_equal(Page(tmp_path / "a.tif", 0).read(), given)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_of_eight_and_sixteen_bits(dtype, tmp_path):
    given = image(dtype)
    io.imsave(tmp_path / "a.png", given, check_contrast=False)
    np.testing.assert_array_equal(Page(tmp_path / "a.png", 0).read(), given)


def test_colours_become_their_luminance():
    rgb = image(np.uint8, (4, 5, 3))
    expected = rgb @ [0.2125, 0.7154, 0.0721]
    np.testing.assert_allclose(to_grey(rgb), expected, rtol=1e-6)
    rgba = np.concatenate([rgb, np.full((4, 5, 1), 255, np.uint8)], axis=2)
    np.testing.assert_allclose(to_grey(rgba), expected, rtol=1e-6)
    planes = np.moveaxis(image(np.uint8, (7, 5, 3)), -1, 0)
    np.testing.assert_allclose(
        to_grey(planes), np.moveaxis(planes, 0, -1) @ [0.2125, 0.7154, 0.0721], rtol=1e-6
    )
    np.testing.assert_array_equal(to_grey(rgb[..., :2]), rgb[..., 0])  # grey with opacity
    np.testing.assert_array_equal(to_grey(rgb[..., 0] > 50), rgb[..., 0] > 50)
    assert to_grey(np.zeros((5, 6, 7))) is None


def test_pages_of_all_files_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9, 1):
        tifffile.imwrite(tmp_path / f"image{number}.tif", np.stack([image(), image()]))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._image1.tif").write_bytes(b"no image either")
    found = find_files(str(tmp_path))
    assert [file.name for file in found] == ["image1.tif", "image9.tif", "image10.tif"]
    assert [file.name for file in find_files(str(tmp_path / "image1*.tif"))] == [
        "image1.tif",
        "image10.tif",
    ]
    assert find_files(str(found[0])) == [found[0]]
    listed = list(pages(found, skip=False))
    assert len(listed) == 6
    assert str(listed[1]).endswith("image1.tif, page 2")


def test_size_of_a_pixel_from_what_microscopes_write(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image(), imagej=True, resolution=(4.0, 4.0), metadata={"unit": "um"})
    assert pixel_size(path) == pytest.approx(0.25)
    tifffile.imwrite(path, image(), resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    assert pixel_size(path) == pytest.approx(0.5)
    tifffile.imwrite(path, image(), resolution=(72, 72), resolutionunit="INCH")
    assert pixel_size(path) is None
    tifffile.imwrite(path, image())
    assert pixel_size(path) is None
    ome = tmp_path / "b.ome.tif"
    metadata = {"axes": "YX", "PhysicalSizeX": 320.0, "PhysicalSizeXUnit": "nm"}
    tifffile.imwrite(ome, image(), metadata=metadata)
    assert pixel_size(ome) == pytest.approx(0.32)
    assert pixel_size(tmp_path / "c.png") is None
    path.write_bytes(b"junk")
    assert pixel_size(path) is None


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no image at .*nowhere"):
        find_files(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="has no images"):
        find_files(str(tmp_path))
    (tmp_path / "a.npy").write_bytes(b"1")
    with pytest.raises(ValueError, match=r"ends in '\.npy'"):
        find_files(str(tmp_path / "a.npy"))
    whole = tmp_path / "whole.tif"
    tifffile.imwrite(whole, image(np.uint16, (64, 64)))
    content = whole.read_bytes()
    for length in (0, 6, len(content) // 2):
        (tmp_path / "cut.tif").write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"cut\.tif cannot be read .*set bad_files to skip"):
            [page.read() for page in pages([tmp_path / "cut.tif"], skip=False)]
    (tmp_path / "cut.png").write_bytes(b"\x89PNG no image")
    with pytest.raises(ValueError, match=r"cut\.png cannot be read"):
        Page(tmp_path / "cut.png", 0).read()
    tifffile.imwrite(tmp_path / "nan.tif", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"nan\.tif has values that are not finite numbers"):
        Page(tmp_path / "nan.tif", 0).read()
    (tmp_path / "cut.tif").write_bytes(content[:6])
    with pytest.warns(UserWarning, match=r"cut\.tif cannot be read .*is skipped"):
        found = list(pages([tmp_path / "cut.tif", whole], skip=True))
    assert found == [Page(whole, 0)]
