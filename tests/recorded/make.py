"""`python -m tests.recorded.make`: record what the program gives now, and leave the fixtures.

It is run once, at the commit that later ones are compared with.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from tests.recorded.command import ENVIRONMENT, workplace

START = Path(__file__).with_name("start.json")


def record(root: Path) -> dict[str, object]:
    """Run the scenario below ``root`` and make the fixtures anew."""
    from tests.recorded import environment, fixtures
    from tests.recorded.scenario import Scenario
    from tests.recorded.steps import QUICK, SLOW

    scenario = Scenario(root / "scenario")
    start: dict[str, object] = {"environment": environment.facts(), "base": scenario.begin()}
    adapters, documents = scenario.train()
    start["adapters"] = {name: result.to_json() for name, result in adapters.items()}
    expected = fixtures.make_fixtures(scenario.root, root / "fixtures")
    start["documents"] = documents | scenario.commands((*QUICK, *SLOW))
    placed = root / "placed"
    fixtures.place(placed)
    with workplace(placed):
        before = fixtures.cached(placed)
        finished = fixtures.finished()
        assert fixtures.cached(placed) == before, "the caches of the fixtures are not hit"
        start["finished"] = finished
        start["loaded"] = {name: fixtures.loaded(name) for name in fixtures.VARIANTS}
        again = {name: fixtures.resumed(name) for name in fixtures.INTERRUPTED}
    for name, (result, _) in again.items():
        assert result.to_json() == expected[name], f"{name} is another one once it is resumed"
    start["resumed"] = {
        name: {**result.to_json(), "document": document}
        for name, (result, document) in again.items()
    }
    return start


def main() -> int:
    """Write `start.json` and the fixtures."""
    os.environ.update(ENVIRONMENT)  # before torch is imported
    with tempfile.TemporaryDirectory() as folder:
        start = record(Path(folder))
    START.write_text(json.dumps(start, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{START}: {START.stat().st_size:,} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
