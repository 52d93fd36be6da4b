"""Pages of the documentation: links lead somewhere, tables have data, guides stay short."""

import json
import re
from pathlib import Path

import pytest
import yaml
from documentation import PAGES, REPOSITORY, name_of

LONGEST_GUIDE, LONGEST_README = 1500, 700  # words
GUIDES = sorted((REPOSITORY / "docs/guides").glob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
TABLE = re.compile(r'^\{\{ table\("([\w-]+)"', re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as mkdocs makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings(page):
    for target in LINK.findall(re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)):
        if ":" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), f"{name_of(page)} links to {target}"
        assert not anchor or anchor in anchors(file), f"{name_of(page)} links to {target}, which has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tables_have_data(page):
    for name in TABLE.findall(page.read_text()):
        assert json.loads((REPOSITORY / f"docs/benchmarks/{name}.json").read_text())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_scripts_exist(page):
    text = page.read_text()
    modules = [module.replace(".", "/") for module in re.findall(r"python -m (scripts\.[\w.]+\w)", text)]
    paths = [f"{path}/__main__.py" if (REPOSITORY / path).is_dir() else f"{path}.py" for path in modules]
    paths += re.findall(r"scripts/[\w/]+\.\w+", text)
    assert [path for path in paths if not (REPOSITORY / path).is_file()] == []


def test_guides_and_readme_are_short():
    words = {name_of(guide): len(guide.read_text().split()) for guide in GUIDES}
    assert {guide: n for guide, n in words.items() if n > LONGEST_GUIDE} == {}
    assert len((REPOSITORY / "README.md").read_text().split()) <= LONGEST_README


def test_every_page_is_in_the_navigation():
    navigation = (REPOSITORY / "mkdocs.yml").read_text()
    listed = set(re.findall(r"[\w/-]+\.md", navigation[navigation.index("\nnav:") :]))
    written = {
        page.relative_to(REPOSITORY / "docs").as_posix() for page in PAGES if page.is_relative_to(REPOSITORY / "docs")
    }
    assert written - listed == set()


def test_citation_and_licence_agree_with_the_package():
    from gendesign import __version__

    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == __version__ and citation["license"] == "MIT"
    assert (REPOSITORY / "LICENSE").read_text().startswith("MIT License")
