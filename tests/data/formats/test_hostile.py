"""Files that point at other files, run code, or declare more than there is."""

import gzip
import json
import pickle
import struct
import zipfile
import zlib
from io import BytesIO
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import tifffile
import torch

from lightdan.data import memory
from lightdan.data.formats.readers import open_array
from lightdan.images.files import Page

SPINS = np.random.default_rng(0).choice([-1, 1], (40, 8)).astype(np.int8)
DENSE = 2_000_000
"""Number of equal bytes that a small file unpacks to."""


def header(shape):
    file = BytesIO()
    contents = {"descr": "|i1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, contents)
    return file.getvalue()


def equal_bytes():
    """Return a stream of zlib that unpacks to DENSE equal bytes."""
    compress = zlib.compressobj()
    return b"".join(
        [*(compress.compress(b"\1" * 10**6) for _ in range(DENSE // 10**6)), compress.flush()]
    )


def external(path):
    (path.parent / "secret").write_bytes(bytes(64))
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (8, 8), "u1", external=[(str(path.parent / "secret"), 0, 64)])


def external_text(path):
    (path.parent / "secret").write_bytes(b"ab" * 32)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (32, 1), "S2", external=[(str(path.parent / "secret"), 0, 64)])


def virtual(path):
    with h5py.File(path.with_name("other.h5"), "w") as file:
        file["x"] = SPINS
    layout = h5py.VirtualLayout(SPINS.shape, "i1")
    layout[:] = h5py.VirtualSource(path.with_name("other.h5"), "x", SPINS.shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("x", layout)


def linked(path):
    with h5py.File(path.with_name("other.h5"), "w") as file:
        file["x"] = SPINS
    with h5py.File(path, "w") as file:
        file["x"] = h5py.ExternalLink("other.h5", "/x")


def unwritten(path, chunks=None, rows=0):
    with h5py.File(path, "w", userblock_size=512) as file:
        dataset = file.create_dataset("x", (10**10, 1000), "i1", chunks=chunks)
        dataset[:rows] = 1


def zarr_array(path, **changes):
    metadata = {"zarr_format": 2, "shape": [40, 8], "chunks": [40, 8], "dtype": "|i1", "order": "C"}
    metadata |= {"compressor": None, "fill_value": 0, "filters": None, **changes}
    path.mkdir()
    (path / ".zarray").write_text(json.dumps(metadata))
    (path / "0.0").write_bytes(SPINS.tobytes())


def zarr_link(path):
    zarr_array(path)
    (path / "0.0").rename(path.with_name("secret"))
    (path / "0.0").symlink_to(path.with_name("secret"))


class Bomb:
    def __reduce__(self):
        return (open, ("EXPLODED", "w"))


def zarr_pickle(path, **changes):
    zarr_array(path, **changes)
    (path / "0.0").write_bytes(pickle.dumps(Bomb()))


def zarr_object(path):
    """An array of objects, whose fill value some versions of zarr unpickle when they open it."""
    zarr_pickle(path, dtype="|O", filters=[{"id": "pickle"}], fill_value="gAROLg==")


def sparse(path):
    path.write_bytes(header((10**6, 10**6)))
    with path.open("r+b") as file:
        file.truncate(len(header((10**6, 10**6))) + 10**12)


def declared(path, shape=(10**9, 10**6)):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header(shape) + b"\1" * 1000)


def packed_text(path):
    with gzip.open(path, "wb") as file:
        for _ in range(DENSE // 10**6):
            file.write(b"1\n" * 500_000)


def packed_array(path):
    with gzip.open(path, "wb") as file:
        file.write(header((10**6, 10**6)))


def packed_matlab(path):
    side = DENSE // 1000
    matrix = struct.pack("<IIIIIIiiHHIII", 6, 8, 8, 0, 5, 8, side, 1000, 1, 1, ord("x"), 1, DENSE)
    compress = zlib.compressobj()
    content = compress.compress(struct.pack("<II", 14, len(matrix) + DENSE) + matrix)
    content += (
        b"".join(compress.compress(b"\1" * 10**6) for _ in range(DENSE // 10**6)) + compress.flush()
    )
    start = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    path.write_bytes(start + struct.pack("<II", 15, len(content)) + content)


def expanded(path):
    torch.save(torch.ones(1).expand(10**9, 100), path)


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("a.h5", external, "in other files"),
        ("a.h5", external_text, "in other files"),
        ("a.mat", external, "in other files"),
        ("a.h5", virtual, "in other files"),
        ("a.h5", linked, "holds no array"),
        ("a.h5", unwritten, "Only 0 % of"),
        ("a.mat", unwritten, "Only 0 % of"),
        ("a.h5", lambda path: unwritten(path, (10**5, 1000), 10), "Only 0.001 % of"),
        ("a.zarr", zarr_link, "is a link out of"),
        ("a.zarr", lambda path: zarr_pickle(path, filters=[{"id": "pickle"}]), "encoded by pickle"),
        ("a.zarr", lambda path: zarr_pickle(path, compressor={"id": "pickle"}), "encoded by pickle"),
        ("a.zarr", zarr_object, "encoded by pickle"),
        ("a.zarr", lambda path: zarr_array(path, shape=[10**9, 10**6]), "takes .* on disk"),
        ("a.zarr", lambda path: zarr_array(path, chunks=[10**9, 10**6]), "A chunk of .* needs 1e.03 TB"),
        ("a.npy", sparse, "takes .* on disk|Cannot allocate"),
        ("a.npz", declared, "takes .* on disk"),
        ("a.npy.gz", packed_array, "takes .* on disk"),
        ("a.csv.gz", packed_text, "takes .* on disk"),
        ("a.mat", packed_matlab, "takes .* on disk"),
        ("a.pt", expanded, "takes 4 bytes on disk"),
    ],
)
def test_it_is_refused_before_it_is_read(name, write, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "LONG", 10**6)
    write(tmp_path / name)
    with pytest.raises(ValueError, match=said) as error:
        open_array(tmp_path / name)
    assert str(error.value).endswith(".")
    assert not (tmp_path / "EXPLODED").exists()


@pytest.mark.parametrize(("name", "write"), [("a.zarr", zarr_array), ("a.h5", None)])
def test_plain_files_are_read(name, write, tmp_path):
    path = tmp_path / name
    if write is None:
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=SPINS, chunks=(16, 8), compression="gzip")
            file["again"] = h5py.SoftLink("/x")
    else:
        write(path)
    np.testing.assert_array_equal(open_array(path)[:], SPINS)


def test_a_damaged_chunk_is_a_sentence(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", data=SPINS, chunks=(40, 8), compression="gzip")
        place = dataset.id.get_chunk_info(0).byte_offset
    with path.open("r+b") as file:
        file.seek(place + 4)
        file.write(b"\xff" * 20)
    with pytest.raises(ValueError, match=r"'/x' in .* is damaged"):
        open_array(path)[:]


def test_memory_that_is_left_is_refused_beyond(monkeypatch, tmp_path):
    """The limits of a process, of its control groups and of the machine are compared."""
    total = memory.available_memory()
    assert 0 < total < 2**60
    monkeypatch.setattr(memory, "_left", lambda: iter([10**7, 5 * 10**6]))
    assert memory.available_memory() == 5 * 10**6
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).integers(100, size=(1000, 1000)))
    with pytest.raises(ValueError, match="needs 8 MB of memory, but 5 MB are left"):
        open_array(tmp_path / "a.npz")


def test_bytes_on_disk_are_counted_where_the_file_system_counts_no_blocks(tmp_path):
    class Uncounted(type(tmp_path)):
        def stat(self, **options):
            return SimpleNamespace(st_size=super().stat(**options).st_size, st_blocks=0)

    full, sparse = Uncounted(tmp_path / "full"), Uncounted(tmp_path / "sparse")
    full.write_bytes(bytes(10**6))
    with sparse.open("wb") as file:
        file.truncate(10**8)
        file.seek(10**7)
        file.write(b"x")
    assert memory.stored_bytes(full) == 10**6
    assert 0 < memory.stored_bytes(sparse) < 10**5


def test_an_image_is_refused_by_its_size(monkeypatch, tmp_path):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, np.zeros((1000, 2000), np.uint8), compression="zlib")
    monkeypatch.setattr(memory, "_left", lambda: iter([10**7]))
    with pytest.raises(ValueError, match=r"needs 32 MB of memory"):
        Page(file, 0).read()
    monkeypatch.setattr(memory, "LONG", 10**6)
    with pytest.raises(ValueError, match=r"is 2 MB long but takes"):
        Page(file, 0).read()


def test_control_groups_of_both_versions(monkeypatch, tmp_path):
    files = {
        "proc": "4:memory:/job/step\n2:cpu:/\n0::/job\n",
        "memory/job/memory.limit_in_bytes": "3000",
        "memory/job/memory.usage_in_bytes": "1000",
        "memory/job/memory.stat": "rss 7\ntotal_inactive_file 300\n",
        "memory/job/step/memory.limit_in_bytes": "max",
        "job/memory.max": "5000",
        "job/memory.current": "4000",
        "job/memory.stat": "inactive_file 0",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(memory, "OWN_GROUPS", tmp_path / "proc")
    monkeypatch.setattr(memory, "ALL_GROUPS", tmp_path)
    assert [*memory._left_in_groups()] == [2300, 1000]
