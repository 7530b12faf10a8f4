"""From a model's name to a checked file on this machine: found, or fetched and converted.

The user's cache holds ``files/`` as published, fetched or put there by hand; ``models/``, converted, each
with its sum beside it; ``pins/``, sums of files without a public one, as they were at the first download.
"""

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from inpaint.atomic import atomic_write
from inpaint.errors import CheckpointError, WeightsError
from inpaint.weights.catalogue import ModelEntry, PublishedFile, find_model, weights_folders
from inpaint.weights.download import FetchCancelled, Hooks, SourceFailed, download

CACHE_VARIABLE = "INPAINT_CACHE"
LOCK_POLL_SECONDS = 0.2
_HUB_ADDRESS = re.compile(r"https://huggingface\.co/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


def cache_folder(part: str = "") -> Path:
    """The user's cache, or a part of it; INPAINT_CACHE names another place for the whole."""
    import platformdirs

    named = os.environ.get(CACHE_VARIABLE)
    return (Path(named).expanduser() if named else platformdirs.user_cache_path("inpaint", False)) / part


def find_file(file: PublishedFile) -> Path | None:
    """A published file on this machine, unchecked: in people's folders, this cache, or Hugging Face's."""
    for folder in (*weights_folders(), cache_folder("files")):
        if (path := folder / file.name).is_file():
            return path
    for source in file.sources:
        if match := _HUB_ADDRESS.fullmatch(source):
            try:
                from huggingface_hub import try_to_load_from_cache
            except ImportError:  # then nothing was ever fetched with it
                return None
            cached = try_to_load_from_cache(match[1], match[3], revision=match[2])
            if isinstance(cached, str):
                return Path(cached)
    return None


def find_model_file(entry: ModelEntry) -> Path | None:
    """The file of a model that is ready for use, unchecked; None if it has to be fetched or converted."""
    if entry.convert:
        path = _model_path(entry)
        return path if path.is_file() else None
    return next((path for (file,) in entry.options() if (path := find_file(file))), None)


def check_model(entry: ModelEntry) -> Path | None:
    """The same file, if its content is that of the catalogue, or what was written after the conversion.

    WeightsError if the content is different, or cannot be read.
    """
    if (path := find_model_file(entry)) is None:
        return None
    if entry.convert:
        wrong = "" if digest_of(path) == _read_sum(_sum_path(path)) else "changed since its conversion"
    else:
        wrong = next(_difference(file, path) for (file,) in entry.options() if find_file(file) == path)
    if wrong:
        raise WeightsError(f"{path} is not the file of {entry.name}: {wrong}; delete it and get it again")
    return path


def _difference(file: PublishedFile, path: Path) -> str:
    """How ``path`` differs from what is known of ``file``: empty if it does not."""
    digest, size, first = digest_of(path), path.stat().st_size, _read_sum(_pin_path(file))
    if file.size and size != file.size:
        return f"got {size} bytes, expected {file.size}"
    if not digest.startswith(file.sha256):
        return f"got sha256 {digest[:12]}..., expected {file.sha256[:12]}..."
    if not file.pinned and first and digest != first:
        return f"got sha256 {digest[:12]}..., at the first download {first[:12]}... ({_pin_path(file)})"
    return ""


def _model_path(entry: ModelEntry) -> Path:
    return cache_folder("models") / f"{entry.name}.safetensors"


def _sum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _pin_path(file: PublishedFile) -> Path:
    """Where the sum of a file without a public one is kept."""
    return cache_folder("pins") / f"{file.name}.sha256"


def _write_sum(path: Path, digest: str, name: str) -> None:
    """Write a sum as ``sha256sum -c`` reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(f"{digest}  {name}\n".encode())


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, 64 hex digits; WeightsError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error


def _read_sum(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError):
        return ""


def locate(name_or_path: str | os.PathLike[str], get: Callable[[str], Path] | None = None) -> Path:
    """The weights file of a model, given its name (checked) or the path of any checkpoint, which wins.

    ``get`` makes a named model ready for use; None is :func:`fetch`.

    Raises:
        WeightsError: as :func:`fetch`, and where a path leads to no file.
    """
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    name = os.fspath(name_or_path)
    if path.is_dir() or path.suffix in (".safetensors", ".onnx") or len(path.parts) != 1:
        found = "a folder" if path.is_dir() else "no file"
        raise WeightsError(f"got {found} at {name}, expected a checkpoint file or a model name")
    return (get or fetch)(name)


def fetch(
    name: str | ModelEntry,
    *,
    accept_licence: bool = False,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    cancelled: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Make a model ready for use: checked, and fetched and converted first where necessary.

    Args:
        name: of the model, or its entry.
        accept_licence: the user has read the licence; needed to fetch non-commercial weights.
        progress: called with a file's name, its bytes that are here, and all its bytes (0 if unknown).
        cancelled: polled during the download; True stops it and keeps what has arrived.
        say: called with messages for the user, one line each.

    Returns a checkpoint of ours, or the published file where there is nothing to convert.

    Raises:
        FetchCancelled: ``cancelled`` returned True.
        WeightsError: the name is unknown, its licence is not accepted, or its file cannot be obtained.
    """
    entry = find_model(name) if isinstance(name, str) else name
    if path := check_model(entry):
        return path
    _require_right_to_fetch(entry, accept_licence)
    hooks = Hooks(progress, cancelled, say)
    reasons: dict[str, None] = {}
    by_hand = {file for file in entry.files if find_file(file)}
    try:
        with _locked(entry.name, hooks):
            if path := check_model(entry):  # another process was quicker
                return path
            for files in entry.options():
                try:
                    return _make(entry, files, by_hand, hooks)
                except FetchCancelled:
                    raise
                except (WeightsError, CheckpointError) as error:
                    reasons[str(error)] = None
    except OSError as error:
        raise WeightsError(
            f"cannot write into {cache_folder()} ({error.strerror}); make room there, or name another folder "
            "with INPAINT_CACHE"
        ) from error
    raise WeightsError(f"cannot get {entry.name}: {'; '.join(reasons)}. {_by_hand(entry)}")


def remove(entry: ModelEntry) -> list[Path]:
    """Delete what the cache holds of a model, and return it; sums of first downloads stay."""
    model = _model_path(entry)
    paths = [model, _sum_path(model)] if entry.convert else []
    for file in entry.files:
        paths += [cache_folder("files") / file.name, *cache_folder("files").glob(f".{file.name}.*")]
    paths = [path for path in paths if path.is_file()]
    for path in paths:
        path.unlink()
    return paths


def _require_right_to_fetch(entry: ModelEntry, accept_licence: bool) -> None:
    """Refuse what cannot or may not be fetched, unless all the files of some choice are here."""
    if any(all(find_file(file) for file in files) for files in entry.options()):
        return
    if not any(file.sources for file in entry.files):
        raise WeightsError(f"the weights of {entry.name} are not on this machine. {_by_hand(entry)}")
    for variable in ("INPAINT_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(variable, "").lower() in ("1", "true", "yes", "on"):
            raise WeightsError(f"{entry.name} is not here and {variable} forbids fetching. {_by_hand(entry)}")
    if entry.non_commercial and not accept_licence:
        raise WeightsError(
            f"{entry.name} is published under {entry.licence}: for non-commercial use only; to accept: "
            f"inpaint models download {entry.name} --accept-licence"
        )


def _by_hand(entry: ModelEntry) -> str:
    told = [
        f"{file.name} ({', '.join([*file.sources[:1], 'sha256 ' + (file.sha256 or 'not public')])})"
        for file in entry.options()[0]
    ]
    return f"By hand: put {' and '.join(told)} into {cache_folder('files')}; it is checked and used"


def _make(
    entry: ModelEntry, files: Sequence[PublishedFile], by_hand: Collection[PublishedFile], hooks: Hooks
) -> Path:
    """Get the files of one choice, and convert them if need be; what was fetched for that is not kept."""
    paths = [_obtain(file, hooks) for file in files]
    if not entry.convert:
        return paths[0]
    from inpaint.convert.files import read_foreign, write_converted

    target, names = _model_path(entry), ", ".join(path.name for path in paths)
    hooks.say(f"converting {names}")
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}")
    contents = [read_foreign(path) for path in paths]
    write_converted(contents, fresh, names, working_size=entry.working_size, licence=entry.licence)
    _write_sum(_sum_path(target), digest_of(fresh), target.name)
    os.replace(fresh, target)
    for file, path in zip(files, paths, strict=True):
        if file not in by_hand:
            path.unlink()
    return target


def _obtain(file: PublishedFile, hooks: Hooks) -> Path:
    """The checked published file; fetched from the first address that gives it."""
    if path := find_file(file):
        if wrong := _difference(file, path):
            raise WeightsError(f"{path} is not {file.name} as published: {wrong}; delete it and get it again")
        return path
    folder, reasons = cache_folder("files"), {}
    folder.mkdir(parents=True, exist_ok=True)
    for source in file.sources:
        try:
            return _obtain_from(source, file, folder / file.name, hooks)
        except SourceFailed as error:
            reasons[str(error)] = None
    raise WeightsError(f"{file.name}: {', '.join(reasons) or 'has no address'}")


def _obtain_from(source: str, file: PublishedFile, target: Path, hooks: Hooks) -> Path:
    # The rest of a pinned file may come from another address than its beginning: the sum tells in the end.
    key = file.sha256 if file.pinned else hashlib.sha256(source.encode()).hexdigest()
    part = target.with_name(f".{file.name}.{key[:12]}.part")
    resumed = part.exists()
    download(file, source, part, hooks)
    if wrong := _difference(file, part):
        part.unlink()
        if resumed:  # once more, from the first byte
            return _obtain_from(source, file, target, hooks)
        raise SourceFailed(f"{source} gives another file: {wrong}")
    if not file.pinned and not _pin_path(file).exists():
        digest = digest_of(part)
        _write_sum(_pin_path(file), digest, file.name)
        hooks.say(f"{file.name} has no public sum; recorded for later downloads: sha256 {digest}")
    os.replace(part, target)
    part.with_suffix(".tag").unlink(missing_ok=True)
    return target


@contextmanager
def _locked(name: str, hooks: Hooks) -> Iterator[None]:
    """Let one process at a time work on a model; the lock of a process that has died is free."""
    from filelock import FileLock, Timeout

    folder = cache_folder("locks")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{name}.lock", thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        hooks.say(f"waiting for another process that gets {name}")
        try:
            lock.acquire(poll_interval=LOCK_POLL_SECONDS, cancel_check=hooks.cancelled)
        except Timeout:
            raise FetchCancelled(f"stopped while another process gets {name}") from None
    try:
        yield
    finally:
        lock.release()
