"""The command `gendesign VERB [FILE ...] [key=value ...]`."""

import difflib
import errno
import importlib
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gendesign import __version__
from gendesign.errors import SettingsError
from gendesign.run import sweep
from gendesign.run.folder import SUMMARY, check_folder, open_folder, to_json
from gendesign.run.help import describe
from gendesign.run.identity import identify
from gendesign.run.settings import flatten, resolve
from gendesign.run.values import literal

CANNOT_WRITE, BAD_INPUT, INTERRUPTED = 1, 2, 130
# A full or read-only disk, a folder that became unwritable half-way.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE}


@dataclass(frozen=True)
class Verb:
    """`act(verb, files, config)` does it; `files` says what stands between the verb and its keys, if anything."""

    about: str
    act: Callable[[str, list[str], DictConfig], None]
    files: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit status.

    0, 1 where results cannot be written, 2 for bad input, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return dispatch(arguments)
    except SettingsError as error:
        print(f"gendesign: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ChildProcessError as error:
        return stopped(str(error), arguments)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        where = error.filename or "the results folder"
        return stopped(f"{where} cannot be written ({error.strerror}); make room for it", arguments)
    except KeyboardInterrupt:
        stopped("stopped", arguments)
        return INTERRUPTED


def stopped(why: str, arguments: Sequence[str]) -> int:
    """Say in one line that a run ended early and how to continue it; the exit status for one that cannot write."""
    command = shlex.join(["gendesign", *arguments])
    print(f"gendesign: {why}; finished shards are kept; to continue, give the same command: {command}", file=sys.stderr)
    return CANNOT_WRITE


def dispatch(arguments: list[str]) -> int:
    """Find the verb, separate files from keys, and act."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    name, rest = arguments[0], arguments[1:]
    if name == "train" and AGENT in rest:  # one verb for all training; an agent's settings are its own
        name, rest = "agent", [word for word in rest if word != AGENT]
    if name not in VERBS:
        near = difflib.get_close_matches(name, VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(VERBS)};"
        raise SettingsError(f"unknown verb '{name}': {hint} see gendesign --help")
    verb = VERBS[name]
    reads_files = verb.files in (STRUCTURE_FILES, POTENTIAL_AND_FILES)
    overrides = [word for word in rest if KEY_AND_VALUE.match(word) and not (reads_files and Path(word).is_file())]
    flags = [word for word in rest if word.startswith("-")]
    files = [word for word in rest if word not in overrides and word not in flags]
    if "--help" in flags or "-h" in flags:
        print(verb_usage(name, overrides), flush=True)
        return 0
    if unknown := [flag for flag in flags if flag != "--sweep"]:
        raise SettingsError(
            f"unknown option '{unknown[0]}': allowed are --help and --sweep; see gendesign {name} --help"
        )
    if reads_files:
        missing = [word for word in overrides if is_missing_file(name, word)]
        files, overrides = [*files, *missing], [word for word in overrides if word not in missing]
    check_files(name, verb, files)
    runs = sweep.plan(name, overrides, "--sweep" in flags)
    configs = [resolve(name, run.overrides) for run in runs]  # all of them, before hours are spent on the first
    failed = []
    for run, config in zip(runs, configs, strict=True):
        above = Path(config.output)
        config.output = literal(str(above / run.folder))
        try:
            verb.act(name, files, config)
        except SettingsError as error:
            if len(runs) == 1:
                raise
            failed.append(run.folder)  # the others need not wait for one that cannot be
            print(f"gendesign: {run.folder}: {' '.join(str(error).split())}", file=sys.stderr)
        if len(runs) > 1 and (table := sweep.write_table(above, runs)):
            print(f"runs so far: {table}")
    if failed:
        raise SettingsError(f"{len(failed)} of {len(runs)} runs ended with an error, said above: {'; '.join(failed)}")
    return 0


def is_missing_file(verb: str, word: str) -> bool:
    """Whether key=value is meant as a file: its end is a structure file's, and the verb has no such key."""
    key = word.partition("=")[0]
    if Path(word).suffix.lower() not in STRUCTURE_SUFFIXES:
        return False
    known = flatten(OmegaConf.to_container(resolve(verb), resolve=True))
    return not any(name == key or name.startswith(f"{key}.") for name in known) and "." not in key


def check_files(name: str, verb: Verb, files: Sequence[str]) -> None:
    """The words that are not key=value, checked before anything is done."""
    if verb.files and not files:
        raise SettingsError(f"{name} needs {verb.files}: gendesign {name} {verb.files} [key=value ...]")
    if files and not verb.files:
        raise SettingsError(f"'{files[0]}' is not key=value, and {name} reads no files; see gendesign {name} --help")
    for file in files if verb.files == STRUCTURE_FILES else files[1:] if verb.files == POTENTIAL_AND_FILES else ():
        if not Path(file).is_file():
            kind = "is a folder" if Path(file).is_dir() else "is no regular file"
            kind = kind if Path(file).exists() else "does not exist"
            raise SettingsError(f"{file} {kind}; give structure files that ASE can read, such as extxyz, SDF or CIF")


def run_verb(verb: str, files: list[str], config: DictConfig) -> None:
    """generate, relax, screen, and the training of an agent: one run into a results folder."""
    output = Path(config.output)
    identity = {"verb": verb, **identify(files, config), "weights": None}
    check_folder(output, identity)
    with quiet():
        from gendesign.errors import UserError
        from gendesign.run.agents import train_agent
        from gendesign.run.build import load, make_run

    act, kept = (train_agent, "state.pt") if verb == "agent" else (make_run, "shards/[0-9]*")
    try:
        potential = load(config)
        identity["weights"] = potential.weights_hash
        check_folder(output, identity)
        with open_folder(output, identity, kept) as folder:
            summary = act(config, files, potential, folder)
    except UserError as error:
        raise SettingsError(str(error)) from error
    print_table(summary, output)


def benchmark_verb(verb: str, names: list[str], config: DictConfig) -> None:
    """One table against references; a benchmark is a module of gendesign.benchmark with `run(config)`."""
    from gendesign import benchmark

    if len(names) != 1 or names[0] not in benchmark.NAMES:
        raise SettingsError(f"benchmark {' '.join(names)}: give one of {', '.join(benchmark.NAMES)}")
    if PRETRAINING in config and names != [PRETRAINING]:
        raise SettingsError(f"experiment={PRETRAINING} is for benchmark {PRETRAINING}, not {names[0]}; leave it out")
    with quiet():
        from gendesign.errors import UserError

        module = importlib.import_module(f"gendesign.benchmark.{names[0]}")
    try:
        module.run(config)
    except UserError as error:
        raise SettingsError(str(error)) from error


def train_verb(verb: str, files: list[str], config: DictConfig) -> None:
    """label, train: a folder of labels, or of a checkpoint, from structure files."""
    output = Path(config.output)
    identity = {"verb": verb, **identify(files, config)}
    check_folder(output, identity)
    settings = OmegaConf.to_container(config, resolve=True)
    settings.pop("output")
    threads = settings.pop("threads", None)
    with quiet():
        from gendesign.errors import UserError
        from gendesign.train import label_files, train_files

        if verb == "train":
            importlib.import_module("gendesign.train.fit")
            set_threads = importlib.import_module("gendesign.run.workers").set_threads
    warned: list[str] = []

    def warn(line: str) -> None:
        warned.append(line)
        print(f"gendesign: warning: {line}", file=sys.stderr)

    act, kept = {"label": (label_files, "shards/[0-9]*"), "train": (train_files, "state.pt")}[verb]
    try:
        if verb == "train":
            set_threads(threads)
        with open_folder(output, identity, kept) as folder:
            rows = flatten(act(files, output, **settings, **({"warn": warn} if verb == "label" else {})))
            if warned:
                text = to_json({"identity": identity, "warnings": warned})
                folder.replace(SUMMARY, lambda path: path.write_text(text))
    except UserError as error:
        raise SettingsError(str(error)) from error
    width = max(map(len, rows))
    print("\n".join(f"{name:<{width}}  {value:.6g}" for name, value in rows.items()))
    print(f"results in {output}")


def validate_verb(verb: str, words: list[str], config: DictConfig) -> None:
    """One potential measured: a folder with its card."""
    (potential, *files), output = words, Path(config.output)
    identity = {"verb": verb, "potential": potential, **identify(files, config), "weights": None}
    check_folder(output, identity)
    with quiet():
        from gendesign.benchmark.record import table
        from gendesign.errors import UserError
        from gendesign.run.build import load
        from gendesign.run.validation import run_validation

    settings = OmegaConf.to_container(config, resolve=True)
    try:
        asked = config.copy()
        OmegaConf.set_struct(asked, False)
        asked.potential = literal(potential)
        loaded = load(asked)
        identity["weights"] = loaded.weights_hash
        check_folder(output, identity)
        with open_folder(output, identity, "parts/*.json"):
            rows = run_validation(loaded, files, settings, output)
    except UserError as error:
        raise SettingsError(str(error)) from error
    print(table([row for group in rows.values() for row in group]))
    print(f"results in {output}: open {output / 'card.html'}")


@contextmanager
def quiet() -> Iterator[None]:
    """Import heavy libraries without their greetings, some of which come from C and pass by sys.stderr."""
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("ignore", FutureWarning)
    for message in (".*TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD.*", "The TorchScript type system"):
        warnings.filterwarnings("ignore", message=message)
    sys.stdout.flush()
    kept = {stream: os.dup(stream) for stream in (1, 2)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in kept:
            os.dup2(nowhere, stream)
        yield
    finally:
        sys.stdout.flush()
        for stream, copy in kept.items():
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nowhere)


def print_table(summary: dict[str, Any], output: Path) -> None:
    """The run's table on stdout and where the results lie."""
    from gendesign.run.table import terminal_lines

    print("\n".join(terminal_lines(summary)))
    print(f"results in {output}: open {output / 'report.html'}")


def usage() -> str:
    """The answer to `gendesign --help`."""
    width = max(len(f"{name} {verb.files}") for name, verb in VERBS.items())
    verbs = "\n".join(f"  {f'{name} {verb.files}':<{width}}  {verb.about}" for name, verb in VERBS.items())
    return (
        f"usage: gendesign VERB [FILE ...] [key=value ...] [--sweep]\n\n{verbs}\n\n"
        "gendesign VERB --help   every key, its value and what it means\n"
        "--sweep                 key=a,b,c runs once per value, each into a folder of its own; sweep.csv compares\n\n"
        "example: gendesign generate n=100 seed=7 output=results/run1 generator.n_heavy_atoms=5-12"
    )


def verb_usage(name: str, overrides: Sequence[str]) -> str:
    """The answer to `gendesign VERB --help`, with `overrides` applied."""
    verb = VERBS[name]
    words = f"{name} {verb.files}".strip()
    return f"usage: gendesign {words} [key=value ...]\n\n{verb.about}\n\n{describe(name, overrides)}"


KEY_AND_VALUE = re.compile(r"^[+~]?[A-Za-z_][\w.]*(/[a-z_]+)?=")
STRUCTURE_SUFFIXES = {".xyz", ".extxyz", ".sdf", ".sd", ".mol", ".cif", ".vasp", ".pdb", ".gz"}
AGENT, PRETRAINING = "generator=agent", "pretraining"
STRUCTURE_FILES, POTENTIAL_AND_FILES = "FILE ...", "POTENTIAL [FILE ...]"
VERBS = {
    "generate": Verb("generate structures, relax them with the potential and screen them", run_verb),
    "relax": Verb("relax structures from files (any format ASE reads, periodic ones too)", run_verb, STRUCTURE_FILES),
    "screen": Verb("screen structures from files as they are", run_verb, STRUCTURE_FILES),
    "label": Verb("label structures from files by a teacher (xTB, DFT, ...), to train on", train_verb, STRUCTURE_FILES),
    "train": Verb("fit a potential to labelled extxyz files", train_verb, STRUCTURE_FILES),
    "agent": Verb("train an agent that builds molecules: gendesign train generator=agent ...", run_verb),
    "validate": Verb("measure a potential: errors, physical tests, a card", validate_verb, POTENTIAL_AND_FILES),
    "benchmark": Verb("measure a capability against its targets and references", benchmark_verb, "NAME"),
}


def entry() -> None:
    """The console script."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the cores to others
    sys.exit(main())


if __name__ == "__main__":
    entry()
