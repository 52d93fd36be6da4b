"""Hooks of `mkdocs build`: tables from docs/benchmarks, and pages from outside docs/ (model cards, changelog).

A line `{{ table("NAME") }}` in a page is replaced by the rows of docs/benchmarks/NAME.json. A second argument,
`{{ table("NAME", "prefix") }}`, selects the rows whose names begin with it.
"""

import json
import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# Files of the repository that the documentation shows, and the pages they become.
SHOWN = {
    "checkpoints/organic/card.md": "cards/organic.md",
    "checkpoints/organic/card.png": "cards/card.png",
    "checkpoints/organic-cc/card.md": "cards/organic-cc.md",
    "checkpoints/organic/rigidity.png": "cards/rigidity.png",
    "checkpoints/hoip/card.md": "cards/hoip.md",
    "checkpoints/silicon-oxygen/card.md": "cards/silicon-oxygen.md",
    "checkpoints/silicon-oxygen-fast/card.md": "cards/silicon-oxygen-fast.md",
    "checkpoints/builder/card.md": "cards/builder.md",
    "checkpoints/qm9-diffusion/card.md": "cards/qm9-diffusion.md",
    "scripts/hoip/README.md": "notebook/hoip.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
SOURCES = {page: path for path, page in SHOWN.items()}
TABLE = re.compile(r'^\{\{ table\("([\w-]+)"(?:, "([^"]*)")?\) \}\}$', re.MULTILINE)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files from outside docs/."""
    for path, page in SHOWN.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Insert tables, and replace links to files outside docs/ by links to their pages."""
    uri = page.file.src_uri
    source = SOURCES.get(uri, f"docs/{uri}")
    markdown = TABLE.sub(lambda match: table(match[1], match[2] or ""), markdown)
    return LINK.sub(lambda match: link(match, source, uri, files), markdown)


def link(match: re.Match[str], source: str, uri: str, files: Files) -> str:
    """The link relative to the page at `uri`; plain text if the file is not part of the documentation."""
    picture, text, target, anchor = match[1], match[2], match[3], match[4] or ""
    if ":" in target:
        return match[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    page = SHOWN.get(path, path.removeprefix("docs/") if path.startswith("docs/") else "")
    if not page or files.get_file_from_path(page) is None:
        return match[0] if source not in SHOWN and path.startswith("docs/") else text
    return f"{picture}[{text}]({os.path.relpath(page, posixpath.dirname(uri) or '.')}{anchor})"


def table(name: str, beginning: str = "") -> str:
    """The rows of a benchmark whose names begin with `beginning`, as a Markdown table with the hardware."""
    rows = json.loads((ROOT / f"docs/benchmarks/{name}.json").read_text())
    rows = [row for row in rows if row["name"].startswith(beginning)]
    if not rows:
        raise ValueError(f"docs/benchmarks/{name}.json has no row that begins with '{beginning}'")
    lines = ["| | value | n | target | |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['name'].replace('|', ' ')} | {value(row)} | {row['n']} | {row['target'] or ''} | {verdict(row)} |"
        for row in rows
    ]
    hardware = " or ".join(sorted({row["hardware"] for row in rows}))
    return "\n".join([*lines, "", f"Hardware: {hardware}."])


def value(row: dict) -> str:
    """The value of a row with three digits and its unit."""
    return "not measured" if row["value"] is None else f"{row['value']:.3g} {row['unit']}".strip()


def verdict(row: dict) -> str:
    """Whether a row reaches its target, in words; "" without a target."""
    if row["target"] is None:
        return ""
    relation, number = row["target"].split()
    reached = row["value"] is not None and (
        row["value"] >= float(number) if relation == ">=" else row["value"] <= float(number)
    )
    return "met" if reached else "**not met**"
