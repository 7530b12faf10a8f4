"""Where results go: no input is overwritten, no output written twice, and one run at a time in a folder."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from inpaint.atomic import TEMPORARY_FILES
from inpaint.batch.pairing import Pair, group_files, identity
from inpaint.batch.record import FileResult, Status
from inpaint.errors import ImageError, InpaintError
from inpaint.images import WRITABLE_FORMATS

_LOCK = ".inpaint.lock"


@dataclass(frozen=True)
class Job:
    """One image to inpaint; ``skip`` says that its result is there already and stays."""

    image: Path
    mask: Path
    output: Path
    skip: bool = False

    def result(self, status: Status, **more: Any) -> FileResult:
        """What became of it; ``more`` are seconds, reason and notes."""
        return FileResult(self.image, self.mask, self.output, status, **more)


def plan_batch(
    pairs: Sequence[Pair], output: Path, *, overwrite: bool = False
) -> tuple[list[Job], list[FileResult]]:
    """Decide where each result goes: the image's own name, ``.png`` where its format cannot be written.

    The tree of subfolders that images were found in stays as it is. A result that is there already, and not
    older than its image and mask, is kept: files are written whole or not at all, so that the same command
    resumes an interrupted batch.

    Args:
        pairs: what ``pair_files`` found.
        output: folder for the results; it need not exist, and is not made here.
        overwrite: inpaint every image, also where its result is there.

    Returns:
        Jobs in the order of the pairs, and a problem for each image whose output another would write, too.

    Raises:
        ImageError: ``output`` is a file or looks like one, or an input would be overwritten.
    """
    output = Path(output)
    name = repr(str(output))
    if output.is_dir():
        beside = {(pair.image.parent, output / pair.folder) for pair in pairs}
        if any(there.is_dir() and there.samefile(folder) for folder, there in beside):
            raise ImageError(f"the output folder {name} is the images folder: name another one")
    elif output.exists() or output.suffix.lower() in WRITABLE_FORMATS:
        raise ImageError(f"got the file name {name} as output of a batch, expected a folder: name one")
    inputs = {identity(path) for pair in pairs for path in (pair.image, pair.mask)}
    jobs, problems = [], []
    for path, twins in group_files(pairs, partial(_output_of, output)).items():
        if path.exists() and identity(path) in inputs:
            raise ImageError(f"{str(path)!r} is an input and would be replaced: name another output folder")
        for pair in twins:
            if others := [twin.image.name for twin in twins if twin is not pair]:
                reason = f"its output {path.name} would also be that of {', '.join(others)}: rename one"
                problems.append(FileResult(pair.image, reason=reason))
            else:
                jobs.append(Job(pair.image, pair.mask, path, not overwrite and _is_up_to_date(path, pair)))
    return jobs, problems


@contextmanager
def claim_folder(output: Path, jobs: Sequence[Job]) -> Iterator[None]:
    """Make the output folder and keep other batches out of it; remove what a killed one left half written.

    Raises:
        InpaintError: another batch works in the folder, or it cannot be made or written to.
    """
    lock = FileLock(output / _LOCK, timeout=0)
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InpaintError(
            f"another batch is working in {str(output)!r}; wait for it, or name another folder"
        ) from None
    except OSError as error:
        raise InpaintError(
            f"cannot write to the output folder {str(output)!r} ({error.strerror}): check its permissions"
        ) from None
    try:
        for folder in {job.output.parent for job in jobs} | {output}:
            for left_over in folder.glob(TEMPORARY_FILES):
                left_over.unlink(missing_ok=True)
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _is_up_to_date(output: Path, pair: Pair) -> bool:
    try:
        made = output.stat().st_mtime_ns
        return all(path.stat().st_mtime_ns <= made for path in (pair.image, pair.mask))
    except OSError:  # no result yet; a missing input is told when its job runs
        return False


def _output_of(folder: Path, pair: Pair) -> Path:
    name = pair.image.name if pair.image.suffix.lower() in WRITABLE_FORMATS else f"{pair.image.stem}.png"
    return folder / pair.folder / name
