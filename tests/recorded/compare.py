"""`python -m tests.recorded.compare`: does the program still give what it gave at the start?

Runs the recorded scenario again, goes on with the fixtures, and prints every difference that
`renames.yaml` does not list; exit status 1 where there is one. Adapters must be the same to the
last byte where processor and libraries are those that were recorded. Elsewhere it says which are
not, and compares loosely (see `differences`).
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.recorded import environment, fixtures
from tests.recorded.command import ENVIRONMENT, workplace
from tests.recorded.differences import ABSENT, Difference, differences, tensor_differences
from tests.recorded.make import START
from tests.recorded.renames import Renames, read_renames
from tests.recorded.scenario import Scenario
from tests.recorded.steps import Step
from tests.recorded.trained import VARIANTS, Trained

ROWS = "rows.arrow"


@dataclass
class Comparison:
    """What was recorded, against what the program gives now; each check yields differences."""

    start: Mapping[str, Any] = field(default_factory=lambda: json.loads(START.read_text("utf-8")))
    renames: Renames = field(default_factory=read_renames)

    @cached_property
    def reasons(self) -> list[str]:
        """Why results are compared loosely; none where they must be equal to the last bit."""
        return environment.changed(self.start["environment"], environment.ARITHMETIC)

    @cached_property
    def other_packages(self) -> list[str]:
        """Libraries of another version, which caches and written files may depend on."""
        return environment.changed(self.start["environment"], environment.PACKAGES)

    def base(self, now: Mapping[str, str]) -> Iterator[Difference]:
        """The base's files, which are made in code."""
        if not self.other_packages:
            yield from differences(self.start["base"], now, document="base")

    def trained(
        self, group: str, name: str, now: Trained, *, recorded: Path
    ) -> Iterator[Difference]:
        """An adapter's hashes; loosely: its tensors against those in the folder ``recorded``."""
        if self.reasons or self.other_packages:
            old = recorded / now.file.name
            yield from tensor_differences(old, now.file, document=f"{group}-{name}")
            return
        hashes = {key: self.start[group][name][key] for key in ("tensors", "config")}
        yield from self.of(hashes, now.to_json(), f"{group}-{name}")

    def documents(self, now: Mapping[str, object]) -> Iterator[Difference]:
        """Documents of commands, by name."""
        for name, document in now.items():
            yield from self.of(self.start["documents"].get(name, ABSENT), document, name)

    def of(self, recorded: object, now: object, document: str) -> Iterator[Difference]:
        """Where a value is not the recorded one, renames and what is meant left out."""
        expected = self.renames.of(recorded, document)
        loosely = bool(self.reasons or self.other_packages)
        for each in differences(expected, now, document=document, loosely=loosely):
            # On another processor a resumed run says in one more notice that it is not exact.
            is_excuse = bool(self.reasons) and each.path == "notices" and each.recorded == ABSENT
            is_meant = self.renames.ignores(document, each.path)
            if not (
                is_excuse or is_meant or self.renames.rounds(*each.place, each.recorded, each.now)
            ):
                yield each

    def scenario(self, root: Path, steps: Sequence[Step]) -> Iterator[Difference]:
        """All variants and the commands of ``steps``, run in the new folder ``root``."""
        scenario = Scenario(root, self.renames)
        yield from self.base(scenario.begin())
        trained, documents = scenario.train()
        for name, result in trained.items():
            yield from self.trained(
                "adapters", name, result, recorded=fixtures.FIXTURES / "adapters" / name
            )
        yield from self.documents(documents)
        yield from self.documents(scenario.commands(steps))

    def fixtures(
        self, root: Path, *, resumed: Sequence[str], loaded: Sequence[str]
    ) -> Iterator[Difference]:
        """Caches, the finished run, adapters and interrupted runs, in the new folder ``root``."""
        fixtures.place(root)
        with workplace(root):
            before = fixtures.cached(root)
            for name, document in fixtures.finished().items():
                yield from self.of(self.start["finished"][name], document, f"finished-{name}")
            yield from self._caches(before, fixtures.cached(root))
            for name in loaded:
                now = fixtures.loaded(name)
                yield from self.of(self.start["loaded"][name], now, f"loaded-{name}")
            for name in resumed:
                result, document = fixtures.resumed(name)
                kept = fixtures.FIXTURES / "resumed" / name
                yield from self.trained("resumed", name, result, recorded=kept)
                old = self.start["resumed"][name]["document"]
                yield from self.of(old, document, f"resumed-{name}")

    def _caches(
        self, before: Mapping[str, Mapping[str, bytes]], now: Mapping[str, Mapping[str, bytes]]
    ) -> Iterator[Difference]:
        """Files of the caches that are new or changed: something was made or answered again.

        Rows that were tokenised again are compared with the recorded ones, whatever their key is.
        Where libraries are of other versions, which a key counts, nothing else is compared.
        """
        rows = {data for name, data in before["tokens"].items() if name.endswith(ROWS)}
        for cache, files in now.items():
            for name, data in files.items():
                was = f"{len(before[cache][name])} bytes" if name in before[cache] else ABSENT
                found = Difference("caches", f"{cache}.{name}", was, f"{len(data)} bytes")
                known = self.other_packages or self.renames.ignores(*found.place)
                if data != before[cache].get(name) and not known:
                    yield found
                if name.endswith(ROWS) and data not in rows:
                    yield Difference("caches", "rows", "rows of these tokens", "other ones")


def main() -> int:
    """Print every difference; 1 where there is one."""
    from tests.recorded.steps import QUICK, SLOW

    comparison = Comparison()
    for reason in (*comparison.reasons, *comparison.other_packages):
        sys.stdout.write(f"compared loosely: {reason}\n")
    found = 0
    with tempfile.TemporaryDirectory() as folder:
        everything = (
            comparison.scenario(Path(folder) / "scenario", (*QUICK, *SLOW)),
            comparison.fixtures(
                Path(folder) / "placed", resumed=[*fixtures.INTERRUPTED], loaded=[*VARIANTS]
            ),
        )
        for part in everything:
            for difference in part:
                found += 1
                sys.stdout.write(f"{difference}\n")
    sys.stdout.write(f"{found} differences\n" if found else "No difference.\n")
    return int(found > 0)


if __name__ == "__main__":
    os.environ.update(ENVIRONMENT)
    sys.exit(main())
