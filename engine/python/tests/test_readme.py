"""The README's lines for Python do what it says."""

import re
import subprocess
import sys

from conftest import ROOT


def test_the_readme_looks_rows_up():
    program = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    lines = ran.stdout.splitlines()
    assert [line.split(",")[0] for line in lines] == ["layer 1: (3", "layer 3: (3"]
