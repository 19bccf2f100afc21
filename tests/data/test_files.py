import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import Timeout

from lightdan.data.files import locked, whole_file, write_text


def test_a_file_is_replaced_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "numbers.csv"
    write_text(path, "1\n")
    with whole_file(path) as temporary:
        temporary.write_text("2\n")
        assert path.read_text() == "1\n"
        assert temporary.parent == tmp_path
    assert path.read_text() == "2\n"
    assert [*tmp_path.iterdir()] == [path]


def test_a_failed_block_leaves_the_former_file_and_nothing_else(tmp_path):
    path = tmp_path / "numbers.csv"
    write_text(path, "1\n")

    def write_half():
        with whole_file(path) as temporary:
            temporary.write_text("2")
            raise OSError("No space left")

    with pytest.raises(OSError, match="No space left"):
        write_half()
    assert path.read_text() == "1\n"
    assert [*tmp_path.iterdir()] == [path]


def test_a_lock_excludes_others_and_leaves_no_file(tmp_path, monkeypatch):
    """Waiting threads meet files of the lock that are being removed."""
    path, number, unlink = tmp_path / "lock", tmp_path / "number", Path.unlink
    number.write_text("0")

    def slowly(self):
        time.sleep(0.01)
        unlink(self)

    def count(_):
        for _ in range(6):
            with locked(path):
                before = int(number.read_text())
                time.sleep(0.01)
                number.write_text(str(before + 1))

    monkeypatch.setattr(Path, "unlink", slowly)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert int(number.read_text()) == 24
    with locked(path), ThreadPoolExecutor(1) as pool, pytest.raises(Timeout):
        pool.submit(locked(path, 0).__enter__).result()
    assert [*tmp_path.iterdir()] == [number]
