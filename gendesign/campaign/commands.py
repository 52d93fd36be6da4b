"""`gendesign campaign ...`: the words of the command line."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gendesign.errors import SettingsError
from gendesign.run.conf import about_file

EXPERIMENT, ALLOW = "experiment", "allow"
EVERY = 2.0  # seconds between two looks of `watch`


def run_campaign_verb(words: Sequence[str]) -> None:
    """Act on the words after `campaign`. Raises UserError."""
    if words and words[0] in ACTIONS:
        return _act(words[0], words[1:])
    keys = dict(word.partition("=")[::2] for word in words if "=" in word and not Path(word).is_file())
    files = [word for word in words if word.partition("=")[0] not in keys or "=" not in word]
    if len(files) + (EXPERIMENT in keys) != 1:
        raise SettingsError(f"{' '.join(['campaign', *words])}: give one file.yaml, or experiment=NAME, or one of "
                            f"{', '.join(ACTIONS)} and a campaign's folder; see gendesign campaign --help")  # fmt: skip
    from gendesign.campaign.campaign import Campaign
    from gendesign.campaign.config import experiment

    source = Path(files[0]) if files else experiment(keys[EXPERIMENT])
    allow = [name for name in keys.pop(ALLOW, "").strip("[]").split(",") if name]
    keys.pop(EXPERIMENT, None)
    campaign = Campaign(source, [f"{key}={value}" for key, value in keys.items()], allow=allow)
    campaign.run()
    print("\n".join([*_status_lines(campaign.folder), f"results in {campaign.folder}: open "
                     f"{campaign.folder / 'report.html'}"]))  # fmt: skip


def _act(action: str, words: Sequence[str]) -> None:
    keys = dict(word.partition("=")[::2] for word in words if "=" in word and not Path(word).is_dir())
    folders = [word for word in words if "=" not in word or Path(word).is_dir()]
    if len(folders) != 1:
        raise SettingsError(f"campaign {action} {' '.join(words)}: give the folder of one campaign")
    allowed = KEYS.get(action, ())
    if strange := [key for key in keys if key not in allowed]:
        raise SettingsError(f"campaign {action}: {strange[0]} is unknown; allowed: {', '.join(allowed) or 'no keys'}")
    lines = ACTIONS[action](Path(folders[0]), keys)
    if lines:
        print("\n".join(lines))


def _status_lines(folder: Path) -> list[str]:
    from gendesign.campaign.campaign import status
    from gendesign.run.table import aligned  # ase takes a second to import

    rows = status(folder)
    table = [("stage", "shards", "entered", "kept", "core seconds")]
    table += [(r["stage"], f"{r['shards']} of {r['of']}" if k == 0 else str(r["shards"]), str(r["entered"]),
               str(r["kept"]), f"{r['seconds']:.1f}") for k, r in enumerate(rows)]  # fmt: skip
    return [f"{folder}: {rows[0]['state']}", *aligned(table)]


def _status(folder: Path, keys: dict[str, str]) -> list[str]:
    return _status_lines(folder)


def _watch(folder: Path, keys: dict[str, str]) -> list[str]:
    from gendesign.campaign.campaign import running

    shown: list[str] = []
    while True:
        lines = _status_lines(folder)
        if lines != shown:
            print("\n".join(lines), flush=True)
            shown = lines
        if not running(folder):
            return []
        time.sleep(EVERY)


def _stop(folder: Path, keys: dict[str, str]) -> list[str]:
    from gendesign.campaign.campaign import stop

    return ["the coordinator ends its workers and leaves" if stop(folder) else f"{folder}: no coordinator runs"]


def _verify(folder: Path, keys: dict[str, str]) -> list[str]:
    from gendesign.campaign.campaign import verify

    found = list(verify(folder))
    if found:
        raise SettingsError(f"{folder}: {len(found)} fault(s): {'; '.join(found[:5])}")
    return [f"{folder}: every shard can be read, and the ledger agrees with them"]


def _results(folder: Path) -> Any:
    from gendesign.campaign.plan import read_plan
    from gendesign.campaign.results import write_results
    from gendesign.campaign.survey import Survey

    return write_results(Survey(read_plan(folder)))


def _report(folder: Path, keys: dict[str, str]) -> list[str]:
    from gendesign.campaign.report import write_pages

    write_pages(_results(folder))
    return [f"open {folder / 'report.html'}"]


def _export(folder: Path, keys: dict[str, str]) -> list[str]:
    from gendesign.campaign.export import FORMATS, EmptyExportError, export

    forms = [form for form in keys.get("format", "extxyz").strip("[]").split(",") if form]
    if unknown := [form for form in forms if form not in FORMATS]:
        raise SettingsError(f"format={unknown[0]} is unknown; allowed: {', '.join(FORMATS)}")
    top = _count(keys, "top", None)
    results = _results(folder)
    written, empty = [], []
    for form in forms:
        try:
            written.append(f"written: {export(results, form, top)}")
        except EmptyExportError as error:
            empty.append(str(error))
    if not written:
        raise SettingsError("; ".join(empty))
    return written + empty


def _export_for_labelling(folder: Path, keys: dict[str, str]) -> list[str]:
    from gendesign.campaign.export import write_labelling
    from gendesign.campaign.plan import read_plan
    from gendesign.campaign.survey import Survey

    return [f"written: {write_labelling(Survey(read_plan(folder)), _count(keys, 'n', 100) or 100)}"]


def _count(keys: dict[str, str], key: str, default: int | None) -> int | None:
    if key not in keys:
        return default
    if not keys[key].isdecimal() or int(keys[key]) < 1:
        raise SettingsError(f"{key}={keys[key]}: give a whole number of 1 or more")
    return int(keys[key])


ACTIONS: dict[str, Callable[[Path, dict[str, str]], list[str]]] = {
    "status": _status,
    "watch": _watch,
    "stop": _stop,
    "verify": _verify,
    "report": _report,
    "export": _export,
    "export-for-labelling": _export_for_labelling,
}
KEYS = {"export": ("format", "top"), "export-for-labelling": ("n",)}


def campaign_help() -> str:
    """The answer to `gendesign campaign --help`."""
    from gendesign.campaign.config import ENGINES, EXPERIMENTS, KINDS
    from gendesign.campaign.settings import Gate, Ranking, Settings
    from gendesign.fields import settings_of
    from gendesign.run.conf import conf_folder, options
    from gendesign.run.table import aligned

    lines = ["usage: gendesign campaign CONFIG.yaml [key=value ...]", "       gendesign campaign experiment=NAME [...]"]
    lines += [f"       gendesign campaign {action} FOLDER" for action in ACTIONS]
    for title, place, cls in (("keys", "", Settings), ("keys of every stage", "stages.NAME.", Gate),
                              ("ranking", "rank.", Ranking)):  # fmt: skip
        lines += ["", f"{title}:"]
        lines += aligned([(f"  {place}{key}", about.help) for key, about in settings_of(cls).items()])
    lines += ["", f"kinds of stages (stages.NAME.kind): {', '.join(options(KINDS))}"]
    lines += [f"engines: {', '.join(options(ENGINES))}", "", "experiments:"]
    lines += aligned([(f"  {name}", about_file(conf_folder() / EXPERIMENTS / f"{name}.yaml"))
                      for name in options(EXPERIMENTS)])  # fmt: skip
    return "\n".join(lines)
