"""Adapters by name, attached when one is first asked for; the least recently used leaves for it."""

import contextlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from tunesmith.adapters.folder import CONFIG
from tunesmith.core.errors import AdapterError
from tunesmith.generation.shared_base import Adapters

IN_RUN = "adapter"  # the folder of a run's adapter in the run's
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class AdapterPool:
    """Which adapters can be asked for, and those that are attached: at most ``most`` of them.

    ``named`` are folders by name; every adapter, and every run's adapter, in a folder below
    ``root`` can be asked for too, by that folder's name. ``forget`` hears of an adapter that was
    taken off the base. All but ``names`` belongs to the thread that computes.
    """

    def __init__(
        self,
        adapters: Adapters,
        named: Mapping[str, Path],
        *,
        root: Path | None,
        most: int,
        forget: Callable[[str], object],
        force: bool = False,
    ) -> None:
        """``force`` is that of ``Adapters.load``, for ``named``.

        Raises AdapterError for a name that no request could give.
        """
        self._adapters, self._most, self._forget = adapters, most, forget
        self._forced = frozenset(named) if force else frozenset[str]()
        self.root = None if root is None else root.expanduser().resolve()
        self._named: dict[str, Path] = {}
        self._uses: dict[str, int] = {}  # of those that are attached; the least recently used first
        for name, folder in named.items():
            self.add(name, folder)
        self._given = frozenset(named)

    @property
    def names(self) -> tuple[str, ...]:
        """All that can be asked for."""
        return (*self._named, *sorted(self._in_root().keys() - self._named.keys()))

    @property
    def attached(self) -> tuple[str, ...]:
        """Those that are on the base now, the least recently used first."""
        return tuple(self._uses)

    def _in_root(self) -> dict[str, Path]:
        """Adapters by the folders below the root that hold them; no link leads out of it."""
        if self.root is None or not self.root.is_dir():
            return {}
        found = {folder.name: adapter_in(folder) for folder in self.root.iterdir()}
        return {
            name: folder
            for name, folder in found.items()
            if NAME.fullmatch(name)
            and (folder / CONFIG).is_file()
            and folder.resolve().is_relative_to(self.root)
        }

    def folder(self, name: str) -> Path:
        """An adapter's folder; AdapterError (code `unknown`) where no such name is known."""
        if name in self._named:
            return self._named[name]
        if name in (below := self._in_root()):
            return below[name]
        raise AdapterError(f"There is no adapter {name!r}.", code="unknown")

    def add(self, name: str, folder: Path) -> None:
        """Give an adapter's folder a name; AdapterError for one that is taken or not allowed.

        What is attached under the name is read anew, unless it is answering.
        """
        if not NAME.fullmatch(name):
            raise AdapterError(
                f"{name!r} cannot name an adapter.",
                remedy="Use letters, digits, dots, underscores and hyphens.",
            )
        other = self.folder(name) if name in self.names else folder
        if other != folder:
            raise AdapterError(
                f"Another adapter is called {name!r}.", remedy="Unload it, or take another name."
            )
        if self._uses.get(name):
            raise self._answering(name)
        if name in self._uses:
            self._detach(name)
        self._named[name] = folder

    def _answering(self, name: str) -> AdapterError:
        return AdapterError(
            f"The adapter {name!r} is answering.", remedy="Try again later.", code="in_use"
        )

    def place_below_root(self, path: str) -> Path:
        """A folder that a client names; AdapterError where it is not below the root."""
        if self.root is None:
            raise AdapterError(
                "This server loads no adapters that a request names.",
                remedy="Start it with --adapters FOLDER.",
                code="not_allowed",
            )
        folder = None
        with contextlib.suppress(ValueError, OSError):  # no path, or a name that is too long
            wanted = (self.root / path).resolve()
            wanted.is_dir()
            if wanted != self.root and wanted.is_relative_to(self.root):
                folder = adapter_in(wanted).resolve()
        if folder is None or not folder.is_relative_to(self.root):
            raise AdapterError(
                "The adapter's path is not below the folder that this server was given.",
                remedy="Give the name of a folder in it.",
                code="not_allowed",
            )
        return folder

    def remove(self, name: str) -> None:
        """Forget a name; AdapterError where it is unknown, in use, or was given at the start."""
        if name not in self._named and name not in self._uses:
            raise AdapterError(f"There is no adapter {name!r}.", code="unknown")
        if name in self._given:
            raise AdapterError(
                f"The server was started with the adapter {name!r}.",
                remedy="Requests unload only what requests have loaded.",
                code="not_allowed",
            )
        if self._uses.get(name):
            raise self._answering(name)
        if name in self._uses:
            self._detach(name)
        self._named.pop(name, None)

    def acquire(self, name: str) -> None:
        """Attach an adapter, and keep it until ``release``.

        Raises AdapterError for an unknown one, one that does not fit the base, and where all that
        are attached are in use.
        """
        if name not in self._uses:
            folder = self.folder(name)
            self._make_place()
            self._adapters.load(folder, name=name, force=name in self._forced)
        self._uses[name] = self._uses.pop(name, 0) + 1

    def release(self, name: str) -> None:
        """One request less needs it."""
        self._uses[name] -= 1

    def _make_place(self) -> None:
        while len(self._uses) >= self._most:
            idle = next((name for name, uses in self._uses.items() if not uses), None)
            if idle is None:
                raise AdapterError(
                    f"All adapters that can be loaded at once ({self._most}) are answering.",
                    remedy="Try again later.",
                    code="busy",
                )
            self._detach(idle)

    def _detach(self, name: str) -> None:
        del self._uses[name]
        self._adapters.unload(name)
        self._forget(name)


def adapter_in(folder: Path) -> Path:
    """The folder of the adapter that a folder holds: itself, or the one in it where it is a run."""
    inside = folder / IN_RUN
    is_run = (inside / CONFIG).is_file() and not (folder / CONFIG).is_file()
    return inside if is_run else folder
