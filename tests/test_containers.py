"""The Dockerfiles copy what is there, install what the project pins, and run as no root."""

import re
import shlex
import subprocess
import tomllib

import pytest

from tests.source import ROOT

NAMES = ("Dockerfile", "Dockerfile.cuda")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]


def instructions(name):
    """Each instruction of a Dockerfile with its words."""
    text = re.sub(r"^#.*\n", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.M)
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield word, rest


def of(name, word):
    return [rest for found, rest in instructions(name) if found == word]


@pytest.mark.parametrize("name", NAMES)
def test_every_source_of_a_copy_exists_and_reaches_docker(name):
    reaches = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sources = [
        source
        for rest in of(name, "COPY")
        if not rest.startswith("--from")
        for source in shlex.split(rest)[:-1]
    ]
    assert {"pyproject.toml", "constraints.txt", "src"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in reaches, source
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {project["readme"], *project["license-files"]} <= set(sources)


@pytest.mark.parametrize("name", NAMES)
def test_all_is_installed_at_the_pinned_versions(name):
    installs = [
        part for rest in of(name, "RUN") for part in re.findall(r"pip install [^;&]+", rest)
    ]
    assert installs
    assert all("--constraint constraints.txt" in each for each in installs)
    assert '".[$EXTRAS]"' in installs[-1]


def test_both_have_the_same_extras_and_python():
    (extras,) = {tuple(r for r in of(n, "ARG") if r.startswith("EXTRAS=")) for n in NAMES}
    assert len(extras) == 1
    assert set(extras[0].removeprefix("EXTRAS=").split(",")) <= set(EXTRAS)
    bases = {rest.split()[0] for name in NAMES for rest in of(name, "FROM")}
    assert len(bases) == 1


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_the_command_and_not_as_root(name):
    assert of(name, "ENTRYPOINT") == ['["tunesmith"]']
    assert of(name, "USER") == ["1000"]
    words = [word for word, _ in instructions(name)]
    last = len(words) - 1 - words[::-1].index("FROM")
    assert words.index("USER") > last


@pytest.mark.parametrize("target", ["image", "image-cuda"])
def test_make_says_what_is_missing_where_docker_is(target, tmp_path):
    (tmp_path / "make").symlink_to("/usr/bin/make")
    for tool in ("sh", "echo", "grep"):
        (tmp_path / tool).symlink_to(f"/bin/{tool}")
    done = subprocess.run(
        [str(tmp_path / "make"), target],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "PYTHON": "python3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "docker is not installed" in done.stderr
