"""QM9 is read from its wheel once, and kept as arrays."""

import csv
import io
import zipfile

import numpy as np
import pytest

from gendesign.errors import UserError
from gendesign.generate.diffusion import data, qm9

WATER = ("['O', 'H', 'H']", "[[0.0, 0.0, 0.12], [0.0, 0.76, -0.47], [0.0, -0.76, -0.47]]", "O")
METHANE = (
    "['C', 'H', 'H', 'H', 'H']",
    "[[0,0,0],[0.63,0.63,0.63],[-0.63,-0.63,0.63],[-0.63,0.63,-0.63],[0.63,-0.63,-0.63]]",
    "C",
)


def part(rows) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("Elements", "XYZ_Ang", "SMILES"))
    writer.writerows(rows)
    return text.getvalue()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GENDESIGN_ENGINES", str(tmp_path))
    (tmp_path / "qm9pack").mkdir()
    return tmp_path / "qm9pack"


def test_all_parts_of_the_wheel_are_read_once(folder):
    wheel = folder / f"qm9pack-{qm9.VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, rows in zip(qm9.PARTS, ([WATER], [METHANE], [WATER]), strict=True):
            archive.writestr(f"qm9pack/data/{name}", part(rows))
    arrays = qm9.read()
    assert list(arrays["counts"]) == [3, 5, 3] and list(arrays["smiles"]) == ["O", "C", "O"]
    assert list(arrays["numbers"]) == [8, 1, 1, 6, 1, 1, 1, 1, 8, 1, 1]
    assert np.linalg.norm(arrays["positions"][0] - arrays["positions"][1]) == pytest.approx(0.962, abs=1e-3)
    wheel.write_bytes(b"no longer needed")
    again = qm9.read()
    assert all(np.array_equal(arrays[key], again[key]) for key in arrays)
    with pytest.raises(UserError, match="needs 100 at least"):
        data.read(data.QM9)


def test_a_wheel_that_cannot_be_fetched_is_one_line(folder, monkeypatch):
    monkeypatch.setattr(qm9, "NAME", "no-such-package-of-molecules")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UserError, match="put the wheel there, or give files"):
        qm9.wheel()
