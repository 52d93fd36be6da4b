"""Results folders as galleries, while they grow and when they have ended; downloads."""

import io
import json
import zipfile

import chains
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import read

from gendesign.errors import UserError
from gendesign.run.folder import open_folder
from gendesign.run.pipeline import run
from gendesign.structure.step_cache import StepCache
from gendesign.structure.types import Candidate, Verdict
from gendesign.view.results import Results, download


def finish(folder, n=chains.N):
    identity = {**chains.IDENTITY, "settings": {**chains.IDENTITY["settings"], "n": n}}
    with open_folder(folder, identity) as opened:
        run(
            chains.stages(), opened, n=n, seed=chains.SEED, shard_size=chains.SHARD_SIZE, progress=chains.Silent()
        )  # fmt: skip


def test_a_gallery_has_every_attempt_with_its_checks_and_reasons(tmp_path):
    finish(tmp_path / "run")
    gallery = Results(tmp_path / "run").rows()
    rows = gallery["rows"]
    assert [row["index"] for row in rows] == list(range(chains.N))
    failed = [row for row in rows if row["failure"]]
    assert {row["index"] for row in failed} == {4, 9} and all("no room" in row["reason"] for row in failed)
    odd = [row for row in rows if row["reason"] == "an odd chain"]
    assert odd and all(not row["valid"] and row["atoms"] % 2 for row in odd)
    assert {"valid", "strain_toy"} <= gallery["checks"].keys()
    whole = next(row for row in rows if row["valid"])
    assert whole["checks"]["strain_toy"]["value"] == pytest.approx(whole["atoms"] / 3)


def test_shards_count_before_the_run_has_ended_and_new_ones_are_read(tmp_path):
    finish(tmp_path / "run", n=3)
    results = Results(tmp_path / "run")
    assert len(results.rows()["rows"]) == 3
    finish(tmp_path / "run", n=9)
    assert len(results.rows()["rows"]) == 9
    (tmp_path / "run/candidates.extxyz").unlink()  # as where a run was ended before its files were merged
    assert len(Results(tmp_path / "run").rows()["rows"]) == 9
    with pytest.raises(UserError, match="no candidate 99"):
        results.candidate(99)
    assert results.picture(0).startswith("<svg")


def test_the_newest_kept_step_of_a_quench_is_shown(tmp_path):
    results = Results(tmp_path)
    assert results.growing() is None
    cache = StepCache(tmp_path / "shards/.00000.begun")
    cache.get_or_make("melt", lambda: [Candidate(bulk("Si", cubic=True), 0)])
    assert results.growing().get_chemical_formula() == "Si8"


def test_a_file_is_a_gallery_too(tmp_path):
    path = tmp_path / "two.xyz"
    path.write_text("1\n\nO 0 0 0\n3\n\nO 0 0 0.12\nH 0 0.76 -0.48\nH 0 -0.76 -0.48\n")
    assert [row["formula"] for row in Results(path).rows()["rows"]] == ["O", "H2O"]


def test_downloads_hold_what_was_asked_for():
    mixed = [Candidate(molecule("CH3OH"), 3), Candidate(bulk("Si"), 5)]
    assert download(mixed, "sdf").count(b"$$$$") == 1
    xyz = read(io.StringIO(download(mixed, "xyz").decode()), ":", format="extxyz")
    assert [atoms.get_chemical_formula() for atoms in xyz] == ["CH4O", "Si2"]
    cif = read(io.BytesIO(download(mixed, "cif")), format="cif")
    assert np.allclose(cif.cell.lengths(), bulk("Si").cell.lengths(), atol=1e-3)
    with zipfile.ZipFile(io.BytesIO(download(mixed, "zip"))) as archive:
        assert sorted(archive.namelist()) == ["00003.xyz", "00005.xyz", "all.cif", "all.sdf"]
    for candidates, form, said in [
        (mixed[:1], "cif", "periodic"), (mixed[1:], "sdf", "clear bonds"), ([], "xyz", "no structure"),
        (mixed, "exe", "not known"),
    ]:  # fmt: skip
        with pytest.raises(UserError, match=said):
            download(candidates, form)


def test_equal_numbers_of_several_runs_are_files_of_their_own(tmp_path):
    pair = [Candidate(molecule(name), 0, "toy") for name in ("CH4", "H2O")]
    names = zipfile.ZipFile(io.BytesIO(download(pair, "zip"))).namelist()
    assert len(set(names)) == len(names) and {"00000.xyz", "00001.xyz"} <= set(names)


def test_an_aromatic_molecule_does_not_fail_by_the_table_that_lacks_aromatic_bonds(tmp_path):
    benzene = Candidate(molecule("C6H6"), 0, "toy")
    edm = Verdict(0, "edm_molecule", False, reason="other valences")
    row = Results(tmp_path)._row(benzene, {"edm_molecule": edm, "valid": Verdict(0, "valid", True)})
    assert row["valid"] and not row["reason"] and row["checks"]["edm_molecule"]["passed"] is False
    row = Results(tmp_path)._row(benzene, {"valid": Verdict(0, "valid", False)})
    assert not row["valid"]


def test_values_that_json_lacks_are_left_out(tmp_path):
    results = Results(tmp_path)
    odd = Candidate(molecule("CH4"), 0, "toy", info={"energy": float("nan")})
    row = results._row(odd, {"strain": Verdict(0, "strain", None, value=float("inf"))})
    json.dumps(row, allow_nan=False)
    assert row["energy"] is None and row["checks"]["strain"]["value"] is None
