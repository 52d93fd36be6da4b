"""Store the scores of the reference molecules with the checkpoint, for comparison with generated molecules.

gendesign benchmark molecules && python -m scripts.organic.scores [results/benchmark]
"""

import json
import sys
from pathlib import Path

# Scores without meaning for references: they are their own references, and the potential was trained on them.
EXCLUDED = ("novel", "unique")


def main(folder: str = "results/benchmark") -> None:
    """Write reference_scores.json from the benchmark in `folder`."""
    rows = json.loads((Path(folder) / "references-sample" / "summary.json").read_text())["table"]
    kept = [
        {key: row[key] for key in ("name", "value", "unit", "n")}
        for row in rows
        if not row["name"].startswith(EXCLUDED)
    ]
    Path("checkpoints/organic/reference_scores.json").write_text(json.dumps(kept, indent=1) + "\n")
    print(f"{len(kept)} rows over {kept[0]['n']} molecules")


if __name__ == "__main__":
    main(*sys.argv[1:])
