"""Results that an interrupted measurement has finished, in training/published."""

import json
from collections import UserDict
from pathlib import Path

from gendesign.structure.files import write_atomically

FOLDER = Path("training/published")


class Kept(UserDict):
    """Plain results by text, read from the file of a method's measure and stored there on request.

    Delete the file after a change of the method or of what is measured.
    """

    def __init__(self, method: str, measure: str) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.path = FOLDER / f"{method}-{measure}.json"
        super().__init__(json.loads(self.path.read_text()) if self.path.is_file() else {})

    def store(self) -> None:
        """Write all results."""
        write_atomically(self.path, json.dumps(self.data, default=float) + "\n")
