"""What is free in a container: pages of files, which are given up on need, count."""

import pytest

from tunesmith.core import host_memory


@pytest.mark.parametrize("below", ["", "total_"])
def test_pages_of_files_are_free(tmp_path, below):
    (tmp_path / "limit").write_text("1000\n")
    (tmp_path / "current").write_text("900\n")
    assert host_memory._cgroup(tmp_path / "limit", tmp_path / "current") == 100
    lines = f"anon 200\ninactive_file 7\n{below}inactive_file 500\n{below}active_file 150\n"
    (tmp_path / "memory.stat").write_text(
        lines if below else lines.replace("inactive_file 7\n", "")
    )
    assert host_memory._cgroup(tmp_path / "limit", tmp_path / "current") == 750
    (tmp_path / "limit").write_text("max\n")
    assert host_memory._cgroup(tmp_path / "limit", tmp_path / "current") is None
