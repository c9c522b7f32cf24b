"""`serve`: a base and its adapters answer over HTTP until they are stopped."""

import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tunesmith.api.load import AdapterGiven, place_of
from tunesmith.api.settings import is_named
from tunesmith.api.show import Outcome
from tunesmith.api.train import Run
from tunesmith.core.errors import ModelError, UsageError
from tunesmith.core.extras import require
from tunesmith.core.numbers import pluralize

if TYPE_CHECKING:
    import uvicorn
    from rich.console import Console

    from tunesmith.conversation.documents import Documents
    from tunesmith.generation.shared_base import SharedBase
    from tunesmith.runs.locate import Located
    from tunesmith.server.access import Keys
    from tunesmith.server.served import ServedModels

EXTRA = "serve"
START_SECONDS, STOP_SECONDS = 30, 5
GIGABYTE = 1 << 30


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a server takes on at once, and how much of it.

    ``cache_gb``: of keys and values (None: as for evaluation); ``rows`` are answered at once,
    ``waiting`` requests wait, ``per_client`` of one API key are here; a request takes at most
    ``request_seconds``, its body ``body_bytes``; ``adapters`` are on the base at once.
    """

    cache_gb: float | None = None
    rows: int = 64
    waiting: int = 256
    per_client: int | None = None
    request_seconds: float | None = 600.0
    body_bytes: int = 4 << 20
    adapters: int = 16

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in self.__slots__}
        wrong = [name for name, value in values.items() if value is not None and value <= 0]
        if wrong:
            raise UsageError(f"{', '.join(wrong)} must be above 0.")


class Server(Outcome):
    """A server that runs in threads of this process; as a context manager it stops at the end."""

    def __init__(
        self,
        below: "uvicorn.Server",
        served: "ServedModels",
        sock: socket.socket,
        notes: Sequence[str] = (),
    ) -> None:
        """``notes``: what is worth knowing of the models, as of an adapter over another base."""
        self._below, self._served, self._socket, self.notes = below, served, sock, tuple(notes)
        host, port = sock.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._thread = threading.Thread(
            target=below.run, kwargs={"sockets": [sock]}, name="http", daemon=True
        )

    @property
    def models(self) -> tuple[str, ...]:
        """The names that requests can give: the base, then the adapters."""
        return self._served.names

    def start(self) -> None:
        """Begin to listen; ModelError where that fails."""
        self._thread.start()
        waited = threading.Event()
        for _ in range(START_SECONDS * 100):
            if self._below.started or not self._thread.is_alive():
                break
            waited.wait(0.01)
        if not self._below.started:
            self.stop()
            raise ModelError("The server did not start.", remedy="Run it again with --debug.")

    def wait(self) -> None:
        """Return when it is stopped."""
        while self._thread.is_alive():
            self._thread.join(0.5)  # so that a signal is heard

    def stop(self) -> None:
        """End it: what is being answered ends with an error, and is sent in the next seconds."""
        self._below.should_exit = True
        self._served.thread.close()
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS + 1)
        self._served.close()
        self._socket.close()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def to_json(self) -> dict[str, object]:
        """What `serve --json` prints when it ends."""
        counts = self._served.thread.scheduler.counts
        return {
            "url": self.url,
            "models": list(self.models),
            "answers": counts.finished,
            "prompt_tokens": counts.read_tokens + counts.reused_tokens,
            "tokens": counts.made_tokens,
        }

    def show(self, console: "Console") -> None:
        """Print what it served."""
        counts = self._served.thread.scheduler.counts
        console.print(
            f"{pluralize(counts.finished, 'answer')} of {pluralize(counts.made_tokens, 'token')}"
        )


def serve(  # noqa: PLR0913  # one keyword for each setting
    model: AdapterGiven | None = None,
    *,
    adapters: Mapping[str, AdapterGiven] | Sequence[AdapterGiven] = (),
    adapter_folder: str | Path | None = None,
    rag: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_keys: str | Path | None = None,
    limits: ServerLimits | Mapping[str, float | None] | None = None,
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto",
    device: str = "auto",
    force: bool = False,
) -> Server:
    """Serve a base and adapters over HTTP to OpenAI's clients; it runs until ``Server.stop``.

    ``model`` is a base or a run, which comes with its adapter; ``adapters`` further ones by name.
    Those in ``adapter_folder``, and those of runs in it, can be asked for by their folders' names,
    and are loaded then.
    ``rag`` is a store of documents: each model answers from it by its name with `+rag` after it.
    ``api_keys`` is a file of lines NAME:SHA256; keys are also read from TUNESMITH_API_KEYS, and any
    ``host`` but this machine's own needs some. ``port`` 0: a free one. Raises UsageError for a port
    that is taken or a host without keys, and what `load` raises.

    >>> with ts.serve("smollm2-135m-instruct", port=0) as server:  # doctest: +SKIP
    ...     print(server.url, server.models)
    """
    for library in ("fastapi", "uvicorn", "prometheus_client"):
        require(library, EXTRA, ModelError, what="`serve`")
    root = _root(adapter_folder)
    found, folders, notes = _locate(model, adapters)
    from tunesmith.server.access import read_keys

    given = limits if isinstance(limits, ServerLimits) else ServerLimits(**dict(limits or {}))  # type: ignore[arg-type]
    keys = read_keys(None if api_keys is None else Path(api_keys).expanduser())
    sock = _listen(host, port, keys)
    try:
        shared = _open(found, dtype=dtype, device=device)
        served = _served(shared, folders, root, given, name=found.run, force=force)
        if rag is not None:
            served.documents = _documents(str(rag))
        below = _http(served, keys, given)
    except BaseException:
        sock.close()
        raise
    server = Server(below, served, sock, notes)
    server.start()
    return server


def _listen(host: str, port: int, keys: "Keys") -> socket.socket:
    """The socket, so that a wrong address is refused before anything is loaded."""
    from tunesmith.server.access import VARIABLE, is_loopback

    if not keys.clients and not is_loopback(host):
        raise UsageError(
            f"Others can reach {host}, and no API key is set.",
            remedy=f"Give --api-keys FILE or set {VARIABLE}, or serve at 127.0.0.1.",
        )
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"{host}:{port} cannot be listened at: {reason}.", remedy="Give another --port."
        ) from None


def _locate(
    model: AdapterGiven | None, adapters: Mapping[str, AdapterGiven] | Sequence[AdapterGiven]
) -> "tuple[Located, dict[str, Path], tuple[str, ...]]":
    """The base, each adapter's folder by the name that requests give, and notes on them."""
    from tunesmith.runs.locate import locate, named_adapter, require_known

    target = None if model is None else str(place_of(model))
    if target is not None and not isinstance(model, Run) and is_named(target):
        require_known(target)
    by_name = adapters if isinstance(adapters, Mapping) else dict[str, AdapterGiven]()
    places = [str(place_of(a)) for a in (by_name.values() if by_name else adapters)]
    found = locate(target, places if target is None else [])
    folders = {} if target is None else dict(found.adapters)
    for number, place in enumerate(places):
        own, folder = named_adapter(place)
        name = list(by_name)[number] if by_name else own
        if folders.get(name, folder) != folder:
            raise UsageError(
                f"Two adapters are called {name}.", remedy="Name them: --adapter NAME=PATH."
            )
        folders[name] = folder
    known = locate(target, places) if target is not None and places else found
    return found, folders, known.strangers


def _root(adapter_folder: str | Path | None) -> Path | None:
    """The folder of adapters, which must be one."""
    if adapter_folder is None:
        return None
    root = Path(adapter_folder).expanduser()
    if not root.is_dir():
        raise UsageError(
            f"{root} is no folder of adapters: there is no such folder.",
            remedy="Give --adapters a folder of runs or of adapters.",
        )
    return root


def _open(found: "Located", *, dtype: str, device: str) -> "SharedBase":
    from tunesmith.generation.shared_base import SharedBase

    return SharedBase.open(
        found.model,
        dtype=dtype,  # type: ignore[arg-type]
        device=device,
        four_bit=found.four_bit,
    )


def _documents(store: str) -> "Documents":
    from tunesmith.conversation.documents import Documents

    return Documents(store)


def _served(
    shared: "SharedBase",
    folders: Mapping[str, Path],
    root: Path | None,
    limits: ServerLimits,
    *,
    name: str | None,
    force: bool,
) -> "ServedModels":
    from tunesmith.generation.adapter_pool import AdapterPool
    from tunesmith.generation.engine_thread import EngineThread
    from tunesmith.generation.loop import cache_room
    from tunesmith.generation.scheduler import Limits, Scheduler
    from tunesmith.generation.slot_memory import SlotMemory
    from tunesmith.server.served import ServedModels

    engine, base = shared.loaded.engine, shared.loaded.base
    room = cache_room(engine) if limits.cache_gb is None else int(limits.cache_gb * GIGABYTE)
    try:
        memory = SlotMemory(engine, budget=room, context=base.context)
    except ValueError as error:
        raise UsageError(f"cache_gb is too small: {error}.", remedy="Give more.") from None
    pool = AdapterPool(
        shared.adapters, folders, root=root, most=limits.adapters, forget=memory.forget, force=force
    )
    for each in list(folders)[: limits.adapters]:  # what does not fit is refused before it serves
        pool.acquire(each)
        pool.release(each)
    bounds = Limits(limits.rows, limits.waiting, limits.per_client)
    scheduler = Scheduler(engine, memory, stop_ids=base.stop_ids, limits=bounds)
    return ServedModels(shared, pool, EngineThread(scheduler), name=name)


def _http(served: "ServedModels", keys: "Keys", limits: ServerLimits) -> "uvicorn.Server":
    import uvicorn

    from tunesmith.server.access import TimedProtocol
    from tunesmith.server.app import make_app
    from tunesmith.server.traces import open_traces

    app = make_app(
        served,
        keys=keys,
        max_body_bytes=limits.body_bytes,
        request_seconds=limits.request_seconds,
        traces=open_traces(),
    )
    config = uvicorn.Config(
        app,
        http=TimedProtocol,
        ws="none",
        log_level="critical",  # its own log would hold paths and errors of requests
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        h11_max_incomplete_event_size=64 << 10,
    )
    return uvicorn.Server(config)
