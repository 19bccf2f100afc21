import struct

import gwyfile
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import io

from lightdan.images.files import Page, find_files, pages
from lightdan.images.formats import Choice, to_grey
from lightdan.images.scale import pixel_size, site_scale

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


def test_images_of_one_magnification(tmp_path):
    for name, resolution in (("a", 4.0), ("b", 2.0)):
        options = {"resolution": (resolution, resolution), "metadata": {"unit": "um"}}
        tifffile.imwrite(tmp_path / f"{name}.tif", image(), imagej=True, **options)
    with pytest.raises(
        ValueError, match=r"0\.25 µm wide in .*a\.tif, but 0\.5 µm in .*b\.tif: use images of"
    ):
        site_scale(str(tmp_path), None, None)
    assert site_scale(str(tmp_path), 0.5, 1.0) == (2.0, 1.0, "µm")


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no image at .*nowhere"):
        find_files(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="has no images"):
        find_files(str(tmp_path))
    (tmp_path / "a.mrc").write_bytes(b"1")
    with pytest.raises(ValueError, match=r"ends in '\.mrc', .*: convert it to \.tif, with the program"):
        find_files(str(tmp_path / "a.mrc"))
    with pytest.raises(ValueError, match=r"no images, but 1 files that end in \.mrc: convert them to"):
        find_files(str(tmp_path))
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
    tifffile.imwrite(tmp_path / "line.tif", image()[:1])
    with pytest.raises(ValueError, match=r"line\.tif is a line of 15 pixels"):
        Page(tmp_path / "line.tif", 0).read()
    tifffile.imwrite(tmp_path / "complex.tif", np.ones((4, 4), np.complex64))
    with pytest.raises(ValueError, match=r"complex\.tif has values of complex64, not real numbers"):
        Page(tmp_path / "complex.tif", 0).read()
    tifffile.imwrite(tmp_path / "nan.tif", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"nan\.tif has no values that are finite numbers"):
        Page(tmp_path / "nan.tif", 0).read()
    (tmp_path / "cut.tif").write_bytes(content[:6])
    with pytest.warns(UserWarning, match=r"cut\.tif cannot be read .*is skipped"):
        found = list(pages([tmp_path / "cut.tif", whole], skip=True))
    assert found == [Page(whole, 0)]


def test_large_values_are_bright_whatever_the_polarity(tmp_path):
    given = image(np.uint8)
    tifffile.imwrite(tmp_path / "white.tif", 255 - given, photometric="miniswhite")
    np.testing.assert_array_equal(Page(tmp_path / "white.tif", 0).read(), given)
    bits = given > 50
    options = {"photometric": "miniswhite", "bitspersample": 1, "software": "GIMP"}
    tifffile.imwrite(tmp_path / "bits.tif", ~bits, **options)
    np.testing.assert_array_equal(Page(tmp_path / "bits.tif", 0).read(), bits)
    tifffile.imwrite(tmp_path / "mask.tif", bits)
    np.testing.assert_array_equal(Page(tmp_path / "mask.tif", 0).read(), bits)


def test_colours_of_printers_become_their_luminance(tmp_path):
    inks = image(np.uint8, (6, 7, 4))
    tifffile.imwrite(tmp_path / "inks.tif", inks, photometric="separated")
    light = (255.0 - inks[..., :3]) * (1 - inks[..., 3:] / 255)
    expected = light @ [0.2125, 0.7154, 0.0721]
    np.testing.assert_allclose(Page(tmp_path / "inks.tif", 0).read(), expected, rtol=1e-5)
    Image.fromarray(inks, "CMYK").save(tmp_path / "inks.jpg", quality=100)
    assert np.abs(Page(tmp_path / "inks.jpg", 0).read() - expected).mean() < 25  # JPEG blurs colours


def test_channels_and_planes_are_asked_for(tmp_path):
    path = tmp_path / "stack.tif"
    given = image(np.uint16, (3, 2, 12, 15))
    tifffile.imwrite(path, given, imagej=True, metadata={"axes": "TCYX"})
    with pytest.raises(
        ValueError, match=r"stack\.tif has 2 channels: set channel to one of 0, 1, or axis to c for"
    ):
        list(pages([path], skip=True))
    second = [page.read() for page in pages([path], False, Choice(channel=1))]
    np.testing.assert_array_equal(second, given[:, 1])
    each = [page.read() for page in pages([path], False, Choice(axis="c"))]
    np.testing.assert_array_equal(each, given.reshape(6, 12, 15))
    tifffile.imwrite(path, given[:, 0], imagej=True, metadata={"axes": "ZYX", "spacing": 2.0})
    with pytest.raises(ValueError, match=r"has 3 planes along z: set axis to z"):
        list(pages([path], skip=False))
    planes = [page.read() for page in pages([path], False, Choice(axis="z"))]
    np.testing.assert_array_equal(planes, given[:, 0])
    tifffile.imwrite(path, given[:, 0], imagej=True, metadata={"axes": "ZYX"})
    assert len(list(pages([path], skip=False))) == 3  # ImageJ calls any series slices
    tifffile.imwrite(path, given[:, 0], photometric="rgb", planarconfig="separate")
    with pytest.raises(ValueError, match=r"has 3 channels: set channel to one of 0, 1, 2, or axis to c"):
        list(pages([path], skip=False))
    each = [page.read() for page in pages([path], False, Choice(axis="c"))]
    np.testing.assert_array_equal(each, given[:, 0])
    rgb = image(np.uint8, (12, 15, 3))
    tifffile.imwrite(path, rgb, photometric="rgb")
    np.testing.assert_array_equal(Page(path, 0, Choice(channel=2)).read(), rgb[..., 2])


def test_pages_like_the_first_one_and_turned_pictures(tmp_path):
    given = image(np.uint16, (3, 12, 15))
    tifffile.imwrite(tmp_path / "a.ome.tif", given, metadata={"axes": "TYX"})
    np.testing.assert_array_equal([p.read() for p in pages([tmp_path / "a.ome.tif"], False)], given)
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :8] = 200
    turned = Image.Exif()
    turned[274] = 6  # to be turned clockwise
    Image.fromarray(np.rot90(upright)).save(tmp_path / "a.jpg", exif=turned, quality=100)
    assert np.abs(Page(tmp_path / "a.jpg", 0).read().astype(int) - upright).max() < 5


def test_arrays_are_read_from_disk_and_never_unpickled(tmp_path):
    path = tmp_path / "stack.npy"
    given = image(np.float32, (4, 12, 15))
    np.save(path, given)
    np.testing.assert_array_equal([page.read() for page in pages([path], False)], given)
    np.save(path, given[0])
    np.testing.assert_array_equal(Page(path, 0).read(), given[0])
    np.save(path, np.moveaxis(given, 0, 2))
    with pytest.raises(ValueError, match=r"shape 12 × 15 × 4: set axis to 0, 1 or 2"):
        list(pages([path], skip=True))
    np.testing.assert_array_equal([p.read() for p in pages([path], False, Choice(axis=2))], given)
    with pytest.raises(ValueError, match="axis is z, but"):
        list(pages([path], False, Choice(axis="z")))
    np.save(path, given[None])
    with pytest.raises(ValueError, match=r"shape 1 × 4 × 12 × 15: save an array of \(images, rows"):
        list(pages([path], skip=False))
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"stack\.npy cannot be read"):
        list(pages([path], skip=False))


def test_scanning_probes(tmp_path):
    height, phase = image(np.float64), image(np.float64)
    path = tmp_path / "a.gwy"
    field = gwyfile.objects.GwyDataField
    unit = gwyfile.objects.GwySIUnit(unitstr="m")
    container = gwyfile.objects.GwyContainer()
    for number, (title, data) in enumerate({"Height": height, "Phase": phase}.items()):
        container[f"/{number}/data/title"] = title
        container[f"/{number}/data"] = field(data, xreal=3e-6, si_unit_xy=unit)
    container.tofile(str(path))
    with pytest.raises(ValueError, match=r"2 channels: set channel to one of 0 \(Height\), 1 \(Phase\)"):
        Page(path, 0).read()
    for channel in (1, "Phase"):
        (page,) = pages([path], False, Choice(channel=channel))
        np.testing.assert_array_equal(page.read(), phase)
        assert pixel_size(path, page.choice) == pytest.approx(0.2)
    path = tmp_path / "a.sxm"
    data = image(np.float32, (2, 5, 6))
    table = (
        ":DATA_INFO:\n\tChannel\tName\tUnit\tDirection\tCalibration\tOffset\n\t14\tZ\tm\tboth\t1\t0\n"
    )
    header = ":NANONIS_VERSION:\n2\n:SCAN_PIXELS:\n6 5\n:SCAN_TIME:\n1 1\n:SCAN_RANGE:\n6E-7 5E-7\n"
    header += f":SCAN_OFFSET:\n0 0\n:BIAS:\n1\n:ACQ_TIME:\n1\n{table}\n:SCANIT_END:\n\n\n"
    path.write_bytes(header.encode() + b"\x1a\x04" + data.astype(">f4").tobytes())
    np.testing.assert_array_equal(Page(path, 0).read(), data[0])
    assert pixel_size(path) == pytest.approx(0.1)


def gatan(images, side, unit):
    """Return a file of version 3 by its published layout: groups (20) and values (21) with names."""

    def tag(kind, name):
        return struct.pack(">BH", kind, len(name)) + name.encode()

    def group(name, *tags):
        return tag(20, name) + struct.pack(">BBI", 1, 0, len(tags)) + b"".join(tags)

    def value(name, code, form, x):
        return tag(21, name) + b"%%%%" + struct.pack(">II", 1, code) + struct.pack(form, x)

    def array(name, x):
        return tag(21, name) + b"%%%%" + struct.pack(">IIII", 3, 20, 4, x.size) + x.tobytes()

    units = array("Units", np.frombuffer(unit.encode("utf-16-le"), "<u2"))
    scale = [value("Origin", 6, "<f", 0.0), value("Scale", 6, "<f", side), units]
    axes = group("Dimension", *[group("", *scale) for _ in images.shape])
    sides = group("Dimensions", *[value("", 5, "<I", n) for n in images.shape[::-1]])
    kind = [value("DataType", 5, "<I", 10), value("PixelDepth", 5, "<I", 2)]
    data = group("ImageData", group("Calibrations", axes), array("Data", images), *kind, sides)
    root = group("", group("ImageList", group("", data, group("ImageTags"))))[3:]
    return struct.pack(">III", 3, len(root), 1) + root + bytes(8)


def test_electron_micrographs(tmp_path):
    path = tmp_path / "a.dm3"
    series = image(np.uint16, (3, 12, 15))
    for given in (series, series[:1]):
        path.write_bytes(gatan(given.squeeze(), 12.5, "nm"))
        np.testing.assert_array_equal([page.read() for page in pages([path], False)], given)
        assert pixel_size(path) == pytest.approx(0.0125)
    path.write_bytes(gatan(series[0], 12.5, "1/nm"))
    assert np.isnan(pixel_size(path))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"a\.dm3 cannot be read"):
        list(pages([path], skip=False))
