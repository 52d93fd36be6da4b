"""A process that has imported everything and holds the potential; each run and each tool is forked from it.

    python -m gendesign.view.warm KEY=VALUE ...

It reads requests from standard input and writes answers to standard output, a line of JSON each. A request has an
`id` and either `words`, the command to run, or `call`, a function of gendesign.view.tools, with its `arguments`.
Children write to the file `log`. Answers are {"ready": true}, {"id", "pid"} and {"id", "status", "result"}.
"""

import gc
import importlib
import json
import os
import select
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gendesign.errors import UserError
from gendesign.potential.bundled import checkpoints_folder
from gendesign.processes.children import die_with_parent
from gendesign.structure.identity import canonical_smiles

LIBRARIES = (
    "gendesign.cli", "gendesign.run.build", "gendesign.run.commands.structures", "gendesign.generate.simgen",
    "gendesign.generate.simgen.shape_prior", "gendesign.screening", "gendesign.screening.screen",
    "gendesign.relaxation", "gendesign.view.tools", "rdkit.Chem.AllChem",
)  # fmt: skip
TICK = 0.05  # seconds between two looks at the children


def main(given: Sequence[str]) -> None:
    """Serve until standard input ends."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # these threads wait
    answers = os.dup(1)
    os.dup2(2, 1)  # what libraries print
    for name in LIBRARIES:
        importlib.import_module(name)
    with suppress(UserError):  # the runs themselves will say what is wrong
        _prepare(given)
    gc.collect()
    gc.freeze()  # garbage collection in children then copies no shared pages
    _answer(answers, {"ready": True})
    children: dict[int, dict[str, Any]] = {}
    buffer = b""
    preparations: Iterator[None] | None = _preparations(given)
    while True:
        ready, _, _ = select.select([0], [], [], TICK if children or preparations else None)
        if preparations and not ready and not children and next(preparations, False) is False:
            preparations = None
        if ready:
            chunk = os.read(0, 1 << 16)
            if not chunk:
                for pid in children:
                    _kill(pid)
                return
            *lines, buffer = (buffer + chunk).split(b"\n")
            for request in map(json.loads, lines):
                pid = _start(request, answers)
                children[pid] = request
                _answer(answers, {"id": request["id"], "pid": pid})
        for pid in list(children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                _answer(answers, {"id": children.pop(pid)["id"], "status": os.waitstatus_to_exitcode(status)})


def _prepare(given: Sequence[str]) -> None:
    """Load the potential and describe the references, so that the first frame comes at once."""
    from gendesign.run.build import keep, make
    from gendesign.run.settings import resolve

    config = resolve("generate", given)
    potential = keep(config)
    keep(resolve("relax", [word for word in given if word.startswith(("potential=", "device="))]))
    with suppress(UserError):
        make(config.generator, potential=potential).prepare()


def _preparations(given: Sequence[str]) -> Iterator[None]:
    """Short steps of what runs need in the end, while nobody waits: the names of the molecules that are known."""
    from gendesign.run.settings import resolve

    if "novelty" not in (resolve("generate", given).get("screening") or {}).get("checks", ()):
        return
    training = checkpoints_folder() / "organic" / "training.smi"
    for number, line in enumerate(training.read_text().splitlines() if training.is_file() else ()):
        with suppress(UserError, IndexError):  # called as screening/uniqueness.py does, so that the answers are kept
            canonical_smiles(line.split()[0])
            canonical_smiles(line.split()[0], stereo=True)
        if number % 100 == 0:
            yield


def _answer(descriptor: int, content: dict[str, Any]) -> None:
    with suppress(BrokenPipeError):
        os.write(descriptor, json.dumps(content).encode() + b"\n")


def _start(request: dict[str, Any], answers: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()  # a group of its own, which can be ended as a whole
        die_with_parent()
        os.close(answers)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, null), (1, log), (2, log)):
            os.dup2(source, target)
        os.environ.update(request.get("environment", {}))
        status = _run(request)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _run(request: dict[str, Any]) -> int:
    if "words" in request:
        # the command line stands above this package: it is started here, as a program would be
        status: int = importlib.import_module("gendesign.cli").main(request["words"])
        return status
    from gendesign.view import tools

    try:
        result = {"result": getattr(tools, request["call"])(**request["arguments"])}
    except UserError as error:
        result = {"error": " ".join(str(error).split())}
    path = Path(request["answer"])
    path.with_suffix(".partial").write_text(json.dumps(result))
    path.with_suffix(".partial").replace(path)
    return 0


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
