"""The texts that the default base writes, as the package brings them: run when `TEXTS` changes.

python -m benchmarks.methods.base_texts
"""

import json
from pathlib import Path

from benchmarks.methods.measure import MODEL
from tunesmith.adapters.loaded_base import open_base
from tunesmith.core.progress import UNSEEN
from tunesmith.evaluation.score_cache import name_of
from tunesmith.models.hashes import COMBINED, hash_folder
from tunesmith.runs import base_texts

FILE = Path(base_texts.__file__).with_suffix(".json")


def main() -> None:
    """Write them anew, or from the cache."""
    FILE.write_text("{}", encoding="utf-8")
    loaded = open_base(MODEL)
    languages = (base_texts.DEFAULT_LANGUAGE,)
    prompts = list(base_texts.prompts_of(loaded, languages))
    written = base_texts.written_by(loaded, languages, phase=UNSEEN)
    texts = {
        name_of(prompt.ids, prompt.limit, prompt.draw): list(ids[len(prompt.ids) :])
        for prompt, ids in zip(prompts, written, strict=True)
    }
    found = {hash_folder(loaded.base.folder)[COMBINED]: {"model": MODEL, "texts": texts}}
    FILE.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")
    print(FILE, FILE.stat().st_size, "bytes,", len(texts), "texts")


if __name__ == "__main__":
    main()
