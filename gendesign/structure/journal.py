"""The log of a training run: log.csv and TensorBoard event files."""

import csv
from pathlib import Path


class Journal:
    """Writer of log.csv and of TensorBoard event files.

    Rows beyond `step`, which an interrupted run wrote after its last checkpoint, are removed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path = folder / "log.csv"
        self.rows = [row for row in read_log(self.path) if row["step"] <= step]
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, row: dict[str, float]) -> None:
        """Append a row, which must have the key "step"."""
        self.rows.append(row)
        partial = self.path.with_suffix(".partial")
        with open(partial, "w", newline="") as handle:
            out = csv.DictWriter(handle, list(dict.fromkeys(key for r in self.rows for key in r)))
            out.writeheader()
            out.writerows({k: v if k == "step" else f"{v:.6g}" for k, v in r.items()} for r in self.rows)
        partial.rename(self.path)
        for key, value in row.items():
            if key != "step":
                self.board.add_scalar(key, value, int(row["step"]))
        self.board.flush()


def read_log(path: Path) -> list[dict[str, float]]:
    """Rows of a log.csv; an empty list if the file does not exist."""
    if not path.is_file():
        return []
    with open(path, newline="") as handle:
        rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(handle)]
    return [{**row, "step": int(row["step"])} for row in rows]
