"""The first free name for a result under `runs/`."""

from pathlib import Path


def free_folder(stem: str) -> Path:
    """runs/STEM, with a number where that is taken."""
    taken = {path.name for path in Path("runs").iterdir()} if Path("runs").is_dir() else set()
    names = [stem, *(f"{stem}-{i}" for i in range(2, len(taken) + 3))]
    return Path("runs") / next(name for name in names if name not in taken)
