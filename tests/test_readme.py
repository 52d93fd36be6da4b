"""The README's Python runs as printed, only with fewer molecules."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_python_of_the_readme_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 16
    assert "range(10)" in code and "Screening()" in code
    monkeypatch.chdir(tmp_path)
    quick = "Screening(strain_methods=['potential'], workers=0)"
    small = code.replace("range(10)", "range(2)").replace("Screening()", quick)
    exec(compile(small, str(README), "exec"), {"__name__": "readme"})
    assert (tmp_path / "molecules.sdf").is_file()
