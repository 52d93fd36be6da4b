"""The coordinator of a toy's campaign as a program: python run_toy.py FOLDER ENGINE N."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import toys

from gendesign.campaign import Campaign
from gendesign.errors import UserError

ENGINES = {
    "local": {"use": "local", "workers": 2},
    "slurm": {"use": "slurm", "poll": 1.0, "shards_per_job": 8, "memory": "1500M"},
    "parsl": {"use": "parsl", "workers": 2},
}

if __name__ == "__main__":
    folder, engine, n = sys.argv[1:]
    content = toys.content(folder, n=int(n)) | {"engine": ENGINES[engine]}
    try:
        Campaign(content, allow=["toys"]).run()
    except UserError as error:
        sys.exit(f"gendesign: {error}")
