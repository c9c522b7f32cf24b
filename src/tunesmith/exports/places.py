"""Where adapters are kept for others: the Hugging Face hub, a folder, or object storage.

Each takes files by name and gives them back. A copy that was cut off is none: what makes it one
(`tunesmith.json`) comes last. Tokens are huggingface_hub's own affair (HF_TOKEN, `hf auth login`).
"""

import contextlib
import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from tunesmith.adapters.folder import CONFIG, FILE, names_in, read_own
from tunesmith.core import files
from tunesmith.core.errors import AdapterError, StorageError, TunesmithError
from tunesmith.core.remote import is_remote, open_storage, reported, sizes_below
from tunesmith.data.rows import HUB
from tunesmith.models.names import may_be_on_hub

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

Contents = Mapping[str, Path | bytes]  # each file by its name: where it lies, or what it holds
LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN to a token"
CONFIGS = (CONFIG, "config.json")  # of an adapter, of a whole model
UNFINISHED = f".{FILE}"  # in storage while a push writes there: the files that it leaves or removes
_SHOWN_REASON = 200
_SHOWN_NAMES = 5


@dataclass(frozen=True, slots=True)
class PushSettings:
    """How files go to a place: seen by everyone or not, in place of earlier ones or not."""

    public: bool = False
    replace: bool = False
    message: str = "Push with Tunesmith"


class Place(Protocol):
    """A place by its name; ``kind`` is `hub`, `folder` or `storage`."""

    @property
    def kind(self) -> str:
        """`hub`, `folder` or `storage`."""

    @property
    def name(self) -> str:
        """As it was given."""

    def push(self, contents: Contents, settings: PushSettings) -> str:
        """Put all files there; where they can be seen comes back. StorageError where it fails."""

    def names(self) -> Sequence[str]:
        """The files there, without those in folders of it; StorageError where there are none."""

    def fetch(self, name: str, into: Path) -> None:
        """Copy one file into a folder."""


def place_named(name: str) -> Place:
    """The place of this name: a URL, OWNER/NAME or hf:OWNER/NAME of the hub, else a folder.

    Where a folder OWNER is here, OWNER/NAME is a folder in it.
    """
    if is_remote(name):
        return StoragePlace(name.rstrip("/"))
    if name.startswith(HUB) or may_be_on_hub(name):
        return HubPlace(name.removeprefix(HUB))
    return FolderPlace(str(Path(name).expanduser()))


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A folder of this machine, or of a disk that others see too."""

    name: str
    kind: str = "folder"

    def push(self, contents: Contents, settings: PushSettings) -> str:
        """Write all of it at once; a folder that holds something else is never replaced."""
        folder = Path(self.name)
        files.require_replaceable(folder)
        there, ours = list(folder.iterdir()) if folder.is_dir() else [], names_in(read_own(folder))
        others = [path.name for path in there if path.name not in ours or not path.is_file()]
        if there and settings.replace:
            _require_ours(self.name, others)
        else:
            _require_new(folder, is_ours=bool(there) and not others)

        def fill(into: Path) -> None:
            for name, content in contents.items():
                _write(into / name, content)

        files.publish(folder, fill, remedy="Free space, or name another folder.")
        return self.name

    def names(self) -> Sequence[str]:
        """Its files."""
        folder = Path(self.name)
        found = sorted(p.name for p in folder.iterdir() if p.is_file()) if folder.is_dir() else []
        return _some(found, self.name)

    def fetch(self, name: str, into: Path) -> None:
        """Copy one file."""
        shutil.copyfile(Path(self.name) / name, into / name)


def _require_new(folder: Path, *, is_ours: bool) -> None:
    try:
        files.require_new(folder)
    except AdapterError as error:
        if is_ours:
            error.remedy = "--replace puts the new one in its place; or name another folder."
        raise


def _require_ours(place: str, others: Collection[str]) -> None:
    """Raise StorageError that names what an earlier push did not put there."""
    if not others:
        return
    shown, left = sorted(others)[:_SHOWN_NAMES], len(others) - _SHOWN_NAMES
    more = f" and {left} more" if left > 0 else ""
    raise StorageError(
        f"{place} holds what no push put there: {', '.join(shown)}{more}.",
        remedy="Move it away, or name another place.",
        code="exists",
    )


def _write(path: Path, content: Path | bytes) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        shutil.copyfile(content, path)


def _some(names: Sequence[str], place: str) -> Sequence[str]:
    if not names:
        raise StorageError(
            f"{place}: there is nothing there.",
            remedy="Name what was pushed: OWNER/NAME of the hub, a folder, or a URL.",
            code="missing_file",
        )
    return names


@dataclass(frozen=True, slots=True)
class StoragePlace:
    """Object storage: s3://bucket/name, and what else fsspec knows."""

    name: str
    kind: str = "storage"

    def push(self, contents: Contents, settings: PushSettings) -> str:
        """Copy the files; what makes them an adapter leaves first, and comes last."""
        system, path = open_storage(self.name)
        with reported(self.name, "written"):
            there = sizes_below(system, path).keys()
            if there and not settings.replace:
                raise StorageError(
                    f"{self.name}: files are there already.",
                    remedy="--replace puts an adapter in place of an earlier one; or name another "
                    "place.",
                    code="exists",
                )
            ours = _pushed_before(system, path, there)
            _require_ours(self.name, there - ours)
            named = {"files": dict.fromkeys(sorted({*contents, *ours} - {UNFINISHED}))}
            system.pipe_file(f"{path}/{UNFINISHED}", json.dumps(named).encode())
            gone = there - contents.keys() - {UNFINISHED}
            for name in sorted(gone | (there & {FILE}), key=lambda name: name != FILE):
                system.rm_file(f"{path}/{name}")
            for name in sorted(contents, key=lambda name: (name == FILE, name)):
                content = contents[name]
                if isinstance(content, bytes):
                    system.pipe_file(f"{path}/{name}", content)
                else:
                    system.put_file(str(content), f"{path}/{name}")
            system.rm_file(f"{path}/{UNFINISHED}")
        return self.name

    def names(self) -> Sequence[str]:
        """The objects right below it."""
        system, path = open_storage(self.name)
        with reported(self.name, "read"):
            found = sorted(name for name in sizes_below(system, path) if "/" not in name)
        return _some(found, self.name)

    def fetch(self, name: str, into: Path) -> None:
        """Copy one object."""
        system, path = open_storage(self.name)
        with reported(self.name, "read"):
            system.get_file(f"{path}/{name}", str(into / name))


def _pushed_before(
    system: "AbstractFileSystem", path: str, there: Collection[str]
) -> frozenset[str]:
    """What an earlier push left there, or one that was cut off."""
    records = [name for name in (FILE, UNFINISHED) if name in there]
    texts = [system.cat_file(f"{path}/{name}") for name in records]
    return frozenset({UNFINISHED}).union(*(names_in(_object_in(text)) for text in texts))


def _object_in(text: bytes | str) -> Mapping[str, Any]:
    """The object of a JSON text; an empty one where it holds none."""
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


@dataclass(frozen=True, slots=True)
class HubPlace:
    """A repository of the Hugging Face hub, which keeps its history; ``revision``: of reading."""

    name: str
    revision: str | None = None
    kind: str = "hub"

    def push(self, contents: Contents, settings: PushSettings) -> str:
        """One commit; a new repository is private unless it is to be public.

        Files of an earlier push that do not go this time are removed by the same commit.
        Raises StorageError for a repository that everyone sees and must not.
        """
        if get_token() is None:
            raise StorageError(
                f"{self.name}: the hub takes files of those alone who are logged in.",
                remedy=f"{LOG_IN} that may write.",
                code="hub_login",
            )
        with _hub_reported(self.name, "written"):
            api = HfApi()
            if _is_public(api, self.name) and not settings.public:
                raise StorageError(
                    f"{self.name} is a public repository of the hub.",
                    remedy="Give --public where everyone may see the adapter, or name another one.",
                    code="public",
                )
            api.create_repo(self.name, private=not settings.public, exist_ok=True)
            gone = self._pushed_before(api) - contents.keys()
            operations = [
                *(CommitOperationDelete(name) for name in sorted(gone)),
                *(
                    CommitOperationAdd(name, each if isinstance(each, bytes) else str(each))
                    for name, each in contents.items()
                ),
            ]
            done = api.create_commit(self.name, operations, commit_message=settings.message)
        return str(done.commit_url)

    def _pushed_before(self, api: HfApi) -> frozenset[str]:
        """Those files in the repository that its `tunesmith.json` names."""
        there = {each.rfilename for each in api.model_info(self.name).siblings or []}
        if FILE not in there:
            return frozenset()
        record = Path(api.hf_hub_download(self.name, FILE))
        return names_in(read_own(record.parent)) & there

    def names(self) -> Sequence[str]:
        """The files of the revision."""
        with _hub_reported(self.name, "read"):
            siblings = HfApi().model_info(self.name, revision=self.revision).siblings or []
        names = (str(each.rfilename) for each in siblings)
        return _some([name for name in names if "/" not in name], self.name)

    def fetch(self, name: str, into: Path) -> None:
        """Copy one file, by the hub's own cache."""
        with _hub_reported(self.name, "read"):
            found = HfApi().hf_hub_download(self.name, name, revision=self.revision)
        shutil.copyfile(found, into / name)


def _is_public(api: HfApi, name: str) -> bool:
    """Whether the repository is there and everyone sees it."""
    try:
        return not api.model_info(name).private
    except RepositoryNotFoundError:
        return False


@contextlib.contextmanager
def _hub_reported(name: str, what: str) -> Iterator[None]:
    """Turn what the hub refuses, and a hub that is out of reach, into a StorageError."""
    try:
        yield
    except TunesmithError:
        raise
    except Exception as error:  # which library carries the requests differs by version
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = (lines[0] if lines else type(error).__name__)[:_SHOWN_REASON].rstrip(".")
        if isinstance(error, RepositoryNotFoundError):
            reason = "it has no such repository, or you may not see it"
        is_answer = isinstance(error, HfHubHTTPError)
        remedy = (
            f"Check the name. {LOG_IN} that may see it." if is_answer else "Try it again later."
        )
        raise StorageError(
            f"{name}: cannot be {what} on the hub: {reason}.", remedy=remedy, code="hub"
        ) from error
