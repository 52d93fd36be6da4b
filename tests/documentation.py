"""The fenced code blocks of the documentation."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
FENCE = re.compile(r"(<!-- run -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"&&|\|\||;|\|")


@dataclass(frozen=True)
class Block:
    """A code block: its language, its text, the line where the text begins, and whether a test executes it."""

    page: Path
    language: str
    text: str
    line: int
    executed: bool

    @property
    def commands(self) -> list[list[str]]:
        """The words of every gendesign command of a shell block, without the name of the program."""
        lines = self.text.replace("\\\n", " ").splitlines()
        words = [shlex.split(line, comments=True) for line in lines]
        return [rest for line in words for first, *rest in _divided(line) if first == "gendesign"]


def _divided(words: list[str]) -> list[list[str]]:
    """The commands of a line, divided at && and similar signs."""
    commands: list[list[str]] = [[]]
    for word in words:
        if SHELL.fullmatch(word):
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


def blocks(page: Path) -> list[Block]:
    """All code blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(page, match[2], match[3], text.count("\n", 0, match.start(3)) + 1, bool(match[1]))
        for match in FENCE.finditer(text)
    ]


def name_of(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(REPOSITORY).as_posix()
