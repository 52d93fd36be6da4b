"""The command `gendesign VERB [FILE ...] [key=value ...]`."""

import difflib
import errno
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from gendesign import __version__, benchmark
from gendesign.benchmark.command import run_benchmark
from gendesign.campaign.commands import campaign_help, run_campaign_verb
from gendesign.errors import SettingsError, UserError
from gendesign.run import sweep
from gendesign.run.commands.export import run_export
from gendesign.run.commands.install import run_install
from gendesign.run.commands.runner import FolderCommand
from gendesign.run.help import describe
from gendesign.run.settings import flatten, resolve
from gendesign.run.values import literal
from gendesign.view.command import HELP as VIEW_HELP
from gendesign.view.command import run_view, view_help

CANNOT_WRITE, BAD_INPUT, INTERRUPTED = 1, 2, 130
# A full or read-only disk, a folder that became unwritable half-way.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE}
KEY_AND_VALUE = re.compile(r"^[+~]?[A-Za-z_][\w.]*(/[a-z_]+)?=")
STRUCTURE_SUFFIXES = {".xyz", ".extxyz", ".sdf", ".sd", ".mol", ".cif", ".vasp", ".pdb", ".gz", ".data", ".lmp"}
TRAINED = {
    "generator=agent": "agent",
    "generator=diffusion": "diffusion",
}  # generators that are trained, and their verbs
CAMPAIGN, SCORE, VIEW = "campaign", "score", "view"
STRUCTURE_FILES, POTENTIAL_AND_FILES, NAME, NAMES = "FILE ...", "POTENTIAL [FILE ...]", "NAME", "[NAME ...]"


@dataclass(frozen=True)
class Verb:
    """`act(verb, files, config)` does it; `files` says what stands between the verb and its keys, if anything.

    has_keys: False for a verb that takes words alone, whose `config` is empty.
    """

    about: str
    act: Callable[[str, list[str], DictConfig], None]
    files: str = ""
    has_keys: bool = True

    @property
    def reads_structures(self) -> bool:
        """Whether words between the verb and its keys are structure files."""
        return self.files in (STRUCTURE_FILES, POTENTIAL_AND_FILES)

    def structure_files(self, files: Sequence[str]) -> Sequence[str]:
        """Those of `files` that hold structures."""
        return files[self.files == POTENTIAL_AND_FILES :] if self.reads_structures else ()


COMMANDS = "gendesign.run.commands"
STRUCTURES = FolderCommand(f"{COMMANDS}.structures:run_structures", loads=True)
VERBS = {
    "generate": Verb("generate structures, relax them with the potential and screen them", STRUCTURES),
    "relax": Verb("relax structures from files (any format ASE reads, periodic ones too)", STRUCTURES, STRUCTURE_FILES),
    "screen": Verb("screen structures from files as they are", STRUCTURES, STRUCTURE_FILES),
    "label": Verb(
        "label structures from files by a teacher (xTB, DFT, ...), to train on",
        FolderCommand(f"{COMMANDS}.training:run_label"),
        STRUCTURE_FILES,
    ),
    "train": Verb(
        "fit a potential to labelled extxyz files",
        FolderCommand(f"{COMMANDS}.training:run_train", kept="state.pt"),
        STRUCTURE_FILES,
    ),
    "agent": Verb(
        "train an agent that builds molecules: gendesign train generator=agent ...",
        FolderCommand(f"{COMMANDS}.structures:run_agent", kept="state.pt", loads=True),
    ),
    "diffusion": Verb(
        "train a diffusion model of molecules: gendesign train generator=diffusion data=qm9",
        FolderCommand(f"{COMMANDS}.training:run_diffusion", kept="state.pt"),
    ),
    "validate": Verb(
        "measure a potential: errors, physical tests, a card",
        FolderCommand(f"{COMMANDS}.validation:run_validate", kept="parts/*.json", loads=True, named=True),
        POTENTIAL_AND_FILES,
    ),
    "analyse": Verb(
        "analyse amorphous models: coordination, g(r), rings, S(q), voids, defects, energies",
        FolderCommand(f"{COMMANDS}.analysis:run_analyse", kept="analysis.json", loads=True, optional=True),
        STRUCTURE_FILES,
    ),
    "score": Verb(
        "compare the score of a diffusion model with forces: gendesign analyse score checkpoint=NAME",
        FolderCommand(f"{COMMANDS}.analysis:run_score", kept="score.json", loads=True, optional=True),
    ),
    "distil": Verb(
        "fit a fast student of a potential, for LAMMPS, to structures from files",
        FolderCommand(f"{COMMANDS}.lammps:run_distil", kept="results.json", loads=True),
        STRUCTURE_FILES,
    ),
    "export": Verb("write a deck of another program: gendesign export lammps potential=NAME", run_export, NAME),
    "benchmark": Verb("measure a capability against its targets and references", run_benchmark, NAME),
    "install": Verb(
        "install the package of a pretrained model (chgnet, ...) or lammps; alone: a table", run_install, NAMES, False
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit status.

    0, 1 where results cannot be written, 2 for bad input, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return dispatch(arguments)
    except UserError as error:
        _print_error(error)
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


def _print_error(error: UserError, place: str = "") -> None:
    print(f"gendesign: {place}{' '.join(str(error).split())}", file=sys.stderr)


def stopped(why: str, arguments: Sequence[str]) -> int:
    """Print why a run ended early and how to continue it; the exit status of one that cannot write."""
    command = shlex.join(["gendesign", *arguments])
    print(f"gendesign: {why}; finished shards are kept; to continue, give the same command: {command}", file=sys.stderr)
    return CANNOT_WRITE


def dispatch(arguments: Sequence[str]) -> int:
    """Find the verb, separate files from keys, and act."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    if arguments[0] == CAMPAIGN:
        if {"-h", "--help"} & set(arguments):
            print(campaign_help())
        else:
            run_campaign_verb(arguments[1:])
        return 0
    if arguments[0] == VIEW:
        if {"-h", "--help"} & set(arguments):
            print(view_help())
        else:
            run_view(arguments[1:])
        return 0
    name, words = verb_of(arguments)
    files, overrides, flags = separated(name, words)
    if "--help" in flags or "-h" in flags:
        print(verb_usage(name, overrides, files), flush=True)
        return 0
    if unknown := [flag for flag in flags if flag != "--sweep"]:
        raise SettingsError(
            f"unknown option '{unknown[0]}': allowed are --help and --sweep; see gendesign {name} --help"
        )
    if not VERBS[name].has_keys:
        if overrides:
            raise SettingsError(f"{name} has no keys, but '{overrides[0]}' was given; see gendesign {name} --help")
        VERBS[name].act(name, files, DictConfig({}))
        return 0
    missing = [word for word in overrides if VERBS[name].reads_structures and is_missing_file(name, word)]
    files, overrides = [*files, *missing], [word for word in overrides if word not in missing]
    check_files(name, files)
    run_all(name, files, sweep.plan(name, overrides, "--sweep" in flags))
    return 0


def verb_of(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The verb and the words after it; raises SettingsError for an unknown verb."""
    name, words = arguments[0], list(arguments[1:])
    if name == "train" and (word := next((word for word in words if word in TRAINED), "")):
        # one verb for all training; the settings of each generator are its own
        name, words = TRAINED[word], [other for other in words if other != word]
    if name == "analyse" and words[:1] == [SCORE]:
        name, words = SCORE, words[1:]
    if name not in VERBS:
        near = difflib.get_close_matches(name, [*VERBS, CAMPAIGN, VIEW], n=1)
        hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join([*VERBS, CAMPAIGN, VIEW])};"
        raise SettingsError(f"unknown verb '{name}': {hint} see gendesign --help")
    return name, words


def separated(name: str, words: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """The words as files, key=value and options; a file that exists may have a = in its name."""
    reads_files = VERBS[name].reads_structures
    overrides = [word for word in words if KEY_AND_VALUE.match(word) and not (reads_files and Path(word).is_file())]
    flags = [word for word in words if word.startswith("-")]
    return [word for word in words if word not in overrides and word not in flags], overrides, flags


def is_missing_file(name: str, word: str) -> bool:
    """Whether key=value is meant as a file: its end is a structure file's, and the verb has no such key."""
    key = word.partition("=")[0]
    if Path(word).suffix.lower() not in STRUCTURE_SUFFIXES:
        return False
    known = flatten(OmegaConf.to_container(resolve(name), resolve=True))
    return not any(other == key or other.startswith(f"{key}.") for other in known) and "." not in key


def check_files(name: str, files: Sequence[str]) -> None:
    """Raise SettingsError for words that are not key=value, before anything is done."""
    verb = VERBS[name]
    if verb.files and not files:
        raise SettingsError(f"{name} needs {verb.files}: gendesign {name} {verb.files} [key=value ...]")
    if files and not verb.files:
        raise SettingsError(f"'{files[0]}' is not key=value, and {name} reads no files; see gendesign {name} --help")
    for file in verb.structure_files(files):
        if not Path(file).is_file():
            kind = "is a folder" if Path(file).is_dir() else "is no regular file"
            kind = kind if Path(file).exists() else "does not exist"
            raise SettingsError(f"{file} {kind}; give structure files that ASE can read, such as extxyz, SDF or CIF")


def run_all(name: str, files: list[str], runs: Sequence[sweep.Run]) -> None:
    """Run one command, or all runs of a sweep; one that ends with an error does not stop the others."""
    configs = [resolve(name, run.overrides) for run in runs]  # all of them, before hours are spent on the first
    failed = []
    for run, config in zip(runs, configs, strict=True):
        above = Path(config.output)
        config.output = literal(str(above / run.folder))
        try:
            VERBS[name].act(name, files, config)
        except UserError as error:
            if len(runs) == 1:
                raise
            failed.append(run.folder)
            _print_error(error, f"{run.folder}: ")
        if len(runs) > 1 and (table := sweep.write_table(above, runs)):
            print(f"runs so far: {table}")
    if failed:
        raise SettingsError(f"{len(failed)} of {len(runs)} runs ended with an error, said above: {'; '.join(failed)}")


def usage() -> str:
    """The answer to `gendesign --help`."""
    rows = [(f"{name} {verb.files}", verb.about) for name, verb in VERBS.items()]
    rows.append((f"{CAMPAIGN} CONFIG.yaml", "many candidates through stages from cheap to dear, over many workers"))
    rows.append((f"{VIEW} [FOLDER|FILE ...]", VIEW_HELP))
    width = max(len(name) for name, _ in rows)
    verbs = "\n".join(f"  {name:<{width}}  {about}" for name, about in rows)
    return (
        f"usage: gendesign VERB [FILE ...] [key=value ...] [--sweep]\n\n{verbs}\n\n"
        "gendesign VERB --help   every key, its value and what it means\n"
        "--sweep                 key=a,b,c runs once per value, each into a folder of its own; sweep.csv compares\n\n"
        "example: gendesign generate n=100 seed=7 output=results/run1 generator.n_heavy_atoms=5-12"
    )


def verb_usage(name: str, overrides: Sequence[str], files: Sequence[str] = ()) -> str:
    """The answer to `gendesign VERB --help`, with `overrides` applied; of a named benchmark, its own settings."""
    verb = VERBS[name]
    without = benchmark.others(files[0]) if name == "benchmark" and files and files[0] in benchmark.NAMES else ()
    words = f"{name} {verb.files}".strip()
    if not verb.has_keys:
        return f"usage: gendesign {words}\n\n{verb.about}"
    return f"usage: gendesign {words} [key=value ...]\n\n{verb.about}\n\n{describe(name, overrides, without)}"


def entry() -> None:
    """The console script."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the cores to others
    sys.exit(main())


if __name__ == "__main__":
    entry()
