"""A served scene: runs are followed, cancelled, repeated by their command, and kept through kill -9."""

import http.client
import os
import shlex
import signal
import subprocess
import sys
import time

import ase.io
import pytest
from served import Served

pytest.importorskip("starlette", reason="the extra [view] is not installed")
from gendesign.view.app import LIBRARY

pytestmark = pytest.mark.skipif(not LIBRARY.is_file(), reason="the page is not built: run `make view`")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("served")) as served:
        yield served


def test_foreign_pages_and_paths_are_refused(server):
    assert server.refusal("api/state", headers={"origin": "http://evil.example"})[0] == 403
    assert server.refusal("api/state", headers={"x-token": "wrong"})[0] == 403
    host, port = server.base.removeprefix("http://").split(":")
    for path in (
        "/page/../app.py",
        "/page/%2e%2e/app.py",
        "/page//etc/passwd",
        "/page/lib/LICENSE",
        "/api/structures/..%2fscene",
    ):
        connection = http.client.HTTPConnection(host, int(port))
        connection.request("GET", path, headers={"x-token": server.token})  # sent as it is written
        assert connection.getresponse().status in (400, 404), path


def test_uploads_are_read_or_refused_in_one_line(server):
    xyz = b"3\nwater\nO 0 0 0.12\nH 0 0.76 -0.48\nH 0 -0.76 -0.48\n"
    assert server.ask("api/upload?name=..%2F..%2Fwater%20one.xyz", xyz)["file"] == "water_one.xyz"
    scene = server.ask("api/state")["scene"]
    assert server.ask(f"api/structures/{scene['structures'][-1]['file']}")["numbers"] == [8, 1, 1]
    kept = [path.name for path in (server.folder / "scene/uploads").iterdir()]
    assert kept == ["water_one.xyz"]
    for name, body, said in [
        ("a.exe", b"x", "of no known kind"),
        ("a.pkl", b"x", "of no known kind"),
        ("a.xyz", b"", "is empty"),
        ("a.xyz", b"nonsense", "a.xyz"),
        ("open.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "open mesh"),
    ]:
        status, reason = server.refusal(f"api/upload?name={name}", body)
        assert status == 400 and said in reason and "\n" not in reason
    assert server.ask("api/state")["scene"] == scene


def test_hydrogens_are_added_to_all_atoms_or_to_some(server):
    server.ask("api/scene", {"changes": {"structures": []}, "label": "clear"})
    server.ask("api/upload?name=propane.xyz", b"3\n\nC 0 0 0\nC 1.25 0.88 0\nC 2.5 0 0\n")
    server.ask("api/hydrogenate", {"structure": 0, "atoms": [0]})

    def formula():
        row = server.ask("api/state")["scene"]["structures"][0]
        return sorted(server.ask(f"api/structures/{row['file']}")["numbers"])

    assert formula() == [1] * 3 + [6] * 3
    server.ask("api/hydrogenate", {"structure": 0})
    assert formula() == [1] * 8 + [6] * 3
    server.ask("api/undo", {})
    assert formula() == [1] * 3 + [6] * 3


def test_impossible_scenes_are_said_and_start_nothing(server):
    server.ask("api/scene", {"changes": {"structures": [], "prior": {"kind": "drawn"}, "strokes": []}, "label": "x"})
    assert "nothing is drawn" in server.refusal("api/jobs", {"verb": "generate"})[1]
    assert "cannot be started" in server.refusal("api/jobs", {"verb": "install"})[1]
    assert "nothing is chosen" in server.refusal("api/jobs", {"verb": "relax"})[1]
    server.ask("api/scene", {"changes": {"prior": {"kind": "none"}}, "label": "y"})
    assert server.ask("api/state")["jobs"] == []


def test_selected_atoms_of_two_structures_move_and_all_others_are_held(server):
    server.ask("api/scene", {"changes": {"structures": []}, "label": "clear"})
    for place in ("0 0 0", "0 0 5"):
        server.ask("api/upload?name=carbons.xyz", f"2\n\nC {place}\nC 1.5 0 {place[-1]}\n".encode())
    free = {"0": [1], "1": [0]}
    job = server.ask("api/jobs", {"verb": "screen", "structures": [0, 1], "free": free})
    server.ask(f"api/jobs/{job['name']}/cancel", {})
    given = next(word for word in shlex.split(job["command"]) if word.endswith(".extxyz"))
    held = [frame.constraints[0].index.tolist() for frame in ase.io.read(server.folder / given, index=":")]
    assert held == [[0], [1]]
    server.wait(job["name"])


def test_a_run_its_command_and_a_restart_give_the_same(server):
    server.ask("api/scene", {"changes": {"prior": {"kind": "circle"}, "settings": {}}, "label": "circle"})
    name = server.ask("api/jobs", {"verb": "generate"})["name"]
    job = server.wait(name)
    assert job["state"] == "finished", job
    rows = server.ask(f"api/folders/{name}")["rows"]
    assert [row["index"] for row in rows] == [0, 1]
    assert server.ask(f"api/folders/{name}/0/picture.svg").startswith(b"<svg")
    assert all(row["atoms"] for row in rows)
    assert server.ask(f"api/download.xyz?folder={name}").count(b"index=") == 2
    # the command that the page copies, in a shell, writes the same bytes into another folder
    words = shlex.split(server.ask("api/command/generate", {})["command"])
    assert words[0] == "gendesign" and words[-1] == "output=results/mine"
    paths = os.pathsep.join(path or "." for path in sys.path)
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-P", "-m", "gendesign.cli", *words[1:]], cwd=server.folder, env=environment, check=True,
        capture_output=True,
    )  # fmt: skip
    made = (server.folder / "results/mine/candidates.extxyz").read_bytes()
    assert made == (server.folder / f"scene/runs/{name}/candidates.extxyz").read_bytes() and made


def test_cancel_ends_within_a_second_and_a_new_server_goes_on(server):
    settings = {"generate": {"n": "3", "generator.steps": "4000", "shard_size": "1"}}
    server.ask("api/scene", {"changes": {"settings": settings}, "label": "long"})
    name = server.ask("api/jobs", {"verb": "generate"})["name"]
    server.wait(name, ("running",))
    while "sampl" not in (said := server.job(name)["progress"].get("text", "")) and "generating" not in said:
        time.sleep(0.05)
    start = time.monotonic()
    server.ask(f"api/jobs/{name}/cancel", {})
    job = server.wait(name)
    assert time.monotonic() - start < 1.0
    assert job["state"] == "cancelled" and "kept" in job["message"]
    # killed while another run is under way: the scene, the runs and the results are there again
    server.ask(f"api/jobs/{name}/continue", {})
    server.wait(name, ("running",))
    before = server.ask("api/state")
    finished = next(job["name"] for job in before["jobs"] if job["state"] == "finished")
    server.end(signal.SIGKILL)
    with Served(server.folder) as again:
        after = again.ask("api/state")
        assert {key: after[key] for key in ("scene", "undo", "revision")} == {
            key: before[key] for key in ("scene", "undo", "revision")
        }
        assert again.job(name)["state"] == "interrupted"
        assert again.job(finished)["state"] == "finished"
        assert len(again.ask(f"api/folders/{finished}")["rows"]) == 2
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait(30) in (0, -signal.SIGTERM)
    assert "Traceback" not in (server.folder / "errors.txt").read_text()
