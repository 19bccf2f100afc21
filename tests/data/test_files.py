import pytest

from lightdan.data.files import whole_file, write_text


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
