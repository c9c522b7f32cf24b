"""bitsandbytes is loaded without a warning, and without asking a hub for kernels."""

import os
import subprocess
import sys

CODE = """
import sys
from tunesmith.models.bnb import functional
assert functional().create_dynamic_map().numel() == 256
assert "kernels" not in sys.modules
import kernels
kernels.get_kernel("now it is there")
"""


def test_a_package_of_hub_kernels_is_not_asked_and_nothing_is_said(tmp_path):
    fake = tmp_path / "kernels.py"
    fake.write_text("def get_kernel(name, **options):\n    print('asked for', name)\n")
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "asked for now it is there\n"
