"""What a results folder may hold, and what it keeps when a run fails at once."""

import errno

import pytest

from gendesign.errors import UserError
from gendesign.run.folder import Folder, open_folder


def fail(path):
    with pytest.raises(UserError), open_folder(path, {"settings": {}}):
        raise UserError("a mistake found after the folder was opened")


def test_a_failed_start_leaves_what_was_there_and_nothing_else(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".env").write_text("mine")
    fail(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".env", ".git"]
    fail(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_run_with_a_shard_is_kept(tmp_path):
    with pytest.raises(KeyError), open_folder(tmp_path / "run", {"settings": {}}) as folder:
        folder.write_shard(0, lambda path: (path / "file").write_text("done"))
        raise KeyError
    assert (tmp_path / "run" / "shards" / "00000" / "file").read_text() == "done"


def test_a_file_that_could_not_be_written_leaves_no_part(tmp_path):
    def fill(path):
        path.write_text("a part")
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = Folder(tmp_path, {})
    with pytest.raises(OSError, match="No space"):
        folder.replace("table.csv", fill)
    assert not list(tmp_path.iterdir())
