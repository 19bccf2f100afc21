import os

import pytest

from lightdan.simulation import place_compiled_code


def test_compiled_code_has_a_place_where_nothing_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")  # so that its value is restored
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    (tmp_path / "file").touch()
    refused = tmp_path / "file" / "cache"
    place_compiled_code(refused, tmp_path / "home")
    assert "NUMBA_CACHE_DIR" not in os.environ
    with pytest.warns(UserWarning, match="can be written, so that compiled code is not kept: set the"):
        place_compiled_code(refused, refused)
    assert os.path.isdir(os.environ["NUMBA_CACHE_DIR"])
