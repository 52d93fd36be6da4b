"""The groups of a verb: which option is chosen in each, whether these go together, and conf/ composed by Hydra."""

import difflib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gendesign.errors import SettingsError
from gendesign.run.conf import EXPERIMENT, NONE, VERBS, all_groups, brought, conf_folder, options, starts, verbs_of
from gendesign.run.schema import TARGET

# Groups that a verb can do without, besides those that are null from the beginning.
MATCHING = ("generator", "screening")
KINDS = {".perovskite.": "crystals", ".amorphous.": "amorphous models"}  # by a word in the name of the class
LEFT_OUT = {
    "generate": ("relaxation", "screening", "generator/halving", "generator/evolution"),
    "agent": ("relaxation", "screening", "expert_iteration"),
    "train": ("architecture",),
    "validate": ("teacher",),
    "label": ("teacher",),  # refused by `label_files`, in words of its own
}
SHOWN = {"agent": "train generator=agent", "diffusion": "train generator=diffusion", "score": "analyse score"}


def shown(verb: str) -> str:
    """The verb as it is typed."""
    return SHOWN.get(verb, verb)


def is_group(key: str) -> bool:
    """Whether a key chooses an option of a group."""
    return key in all_groups()


def groups_of(verb: str, choices: Mapping[str, str]) -> dict[str, str]:
    """The groups of a verb and of the options chosen in them, and the option each starts with."""
    own = starts(conf_folder() / f"{verb}.yaml")
    by_experiment = brought(_experiment(choices))
    own |= {group: option for group, option in by_experiment.items() if group in own}
    if "generator" in own:  # a generator may bring the relaxation and the screening of its kind of structures
        path = conf_folder() / "generator" / f"{choices.get('generator', own['generator'])}.yaml"
        along = brought(path).items()
        own |= {group: option for group, option in along if group in own and group not in by_experiment}
    chosen = {group: choices.get(group, start) for group, start in own.items() if group != EXPERIMENT}
    files = {group: conf_folder() / group / f"{option}.yaml" for group, option in chosen.items()}
    within = {f"{group}/{sub}": start for group, path in files.items() for sub, start in starts(path).items()}
    return own | {group: by_experiment.get(group, start) for group, start in within.items()}


def chosen_options(verb: str, choices: Mapping[str, str]) -> dict[str, str]:
    """The option of every group but the experiment, as it is composed."""
    used = groups_of(verb, choices)
    return {group: choices.get(group, start) for group, start in used.items() if group != EXPERIMENT}


def composed(verb: str, choices: Mapping[str, str]) -> DictConfig:
    """The files of conf/ composed for a verb and options of its groups; raises SettingsError for what does not fit."""
    _check_choices(verb, choices)
    return _composed(verb, tuple(choices.items())).copy()


@cache
def _composed(verb: str, pairs: tuple[tuple[str, str], ...]) -> DictConfig:
    choices = dict(pairs)
    used = groups_of(verb, choices)
    # an experiment may have chosen otherwise, so that with one even the usual choice is stated
    stated = {group: name for group, name in choices.items() if name != used[group] or EXPERIMENT in choices}
    nothing = [group for group, name in stated.items() if name == NONE and "/" in group]
    composed = {group: name for group, name in stated.items() if group not in nothing}
    words = [f"{group}={name}" if name != NONE else f"~{group}" for group, name in composed.items()]
    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3", job_name="gendesign"):
            config = compose(verb, overrides=words)
    except (HydraException, OmegaConfBaseException) as error:
        refuse_other_generator(verb, choices)
        typed = " ".join(f"{group}={name}" for group, name in choices.items())
        reason = str(error).strip().splitlines()[0]
        raise SettingsError(f"{typed}: these do not go together in {shown(verb)} ({reason}); leave one out") from None
    OmegaConf.set_struct(config, False)
    for group in nothing:
        OmegaConf.update(config, group.replace("/", "."), None, force_add=True)
    for section in (VERBS, EXPERIMENT):
        config.pop(section, None)
    return config


def check_together(verb: str, config: DictConfig, choices: Mapping[str, str]) -> None:
    """Raise SettingsError for a screening of other structures than the generator makes."""
    chosen = chosen_options(verb, choices)
    kinds = {group: _kind(str(OmegaConf.select(config, f"{group}.{TARGET}"))) for group in MATCHING}
    present = [group for group in MATCHING if chosen.get(group, NONE) != NONE]
    if len(present) == len(MATCHING) and len(set(kinds.values())) > 1:
        typed = " and ".join(f"{group}={chosen[group]}" for group in MATCHING)
        made, judged = (kinds[group] for group in MATCHING)
        raise SettingsError(f"{typed} do not go together: one is for {made}, one for {judged}; leave screening out")


def _kind(target: str) -> str:
    """The structures that a generator makes or a screening judges, by the place of its class."""
    return next((name for word, name in KINDS.items() if word in target), "molecules")


def refuse_other_generator(verb: str, choices: Mapping[str, str]) -> None:
    """Raise SettingsError where an experiment is given with another generator than its own."""
    own = groups_of(verb, {EXPERIMENT: choices.get(EXPERIMENT, NONE)}).get("generator")
    if choices.get(EXPERIMENT, NONE) != NONE and choices.get("generator", own) != own:
        other = choices["generator"]
        raise SettingsError(f"experiment={choices[EXPERIMENT]} goes with generator={own}, not {other}; leave one out")


def _experiment(choices: Mapping[str, str]) -> Path:
    return conf_folder() / EXPERIMENT / f"{choices.get(EXPERIMENT)}.yaml"


def _check_choices(verb: str, choices: Mapping[str, str]) -> None:
    """Raise SettingsError for groups that the verb has not, options that the group has not, and misfits."""
    if choices.get(EXPERIMENT, NONE) != NONE:
        _check_experiment(verb, choices[EXPERIMENT])
    if "generator" in brought(_experiment(choices)):
        refuse_other_generator(verb, choices)
    used = groups_of(verb, choices)
    usual = used | groups_of(verb, {group: name for group, name in choices.items() if group != EXPERIMENT})
    for group, name in choices.items():
        if group not in used:
            allowed = ", ".join(used) or "none"
            raise SettingsError(f"{group}={name}: {shown(verb)} has no group '{group}' here; its groups are {allowed}")
        optional = _may_be_left_out(verb, group, usual[group])
        if name == NONE and not optional:
            listed = ", ".join(options(group))
            raise SettingsError(f"{group}=null: {shown(verb)} cannot do without; allowed: {listed}")
        if name != NONE and name not in options(group):
            null = " or null" if optional else ""
            raise SettingsError(f"{group}={name} is unknown; allowed: {', '.join(options(group))}{null}")


def _check_experiment(verb: str, name: str) -> None:
    """Raise SettingsError for an experiment that does not exist or is for other verbs."""
    fits = ", ".join(option for option in options(EXPERIMENT) if verb in verbs_of(option))
    if name not in options(EXPERIMENT):
        near = difflib.get_close_matches(name, options(EXPERIMENT), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise SettingsError(f"experiment={name} is unknown; {hint}those for {shown(verb)}: {fits or 'none'}")
    if verb not in verbs_of(name):
        meant = " and ".join(f"gendesign {shown(other)}" for other in verbs_of(name))
        other = f"those for {shown(verb)}: {fits}" if fits else f"{shown(verb)} has no experiments; leave it out"
        raise SettingsError(f"experiment={name} is for {meant}; {other}")


def _may_be_left_out(verb: str, group: str, start: str) -> bool:
    return start == NONE or group == EXPERIMENT or group in LEFT_OUT.get(verb, ())
