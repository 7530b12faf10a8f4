"""Which mask belongs to which image, and where its result goes; one run at a time in a folder."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from inpaint.atomic import TEMPORARY_FILES
from inpaint.batch.record import FileResult, Status
from inpaint.errors import ImageError, InpaintError, MaskError
from inpaint.images import READABLE_SUFFIXES, WRITABLE_FORMATS
from inpaint.images.formats import FORMATS, UNREADABLE_SUFFIXES, sniff

_LOCK = ".inpaint.lock"


@dataclass(frozen=True)
class Pair:
    """An image, the mask that belongs to it, and the folder within the images folder it lies in."""

    image: Path
    mask: Path
    folder: Path = Path()


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


File = TypeVar("File")
Key = TypeVar("Key", bound=Hashable)


def group_files(files: Iterable[File], key_of: Callable[[File], Key]) -> dict[Key, list[File]]:
    """Files by a key, such as their stem, in the order in which they come."""
    groups = defaultdict[Key, list[File]](list)
    for file in files:
        groups[key_of(file)].append(file)
    return dict(groups)


def pair_files(
    images: Path,
    masks: Path,
    *,
    recursive: bool = False,
    mask_suffix: str = "",
    leave_out: Sequence[Path] = (),
    may_be_empty: bool = False,
) -> tuple[list[Pair], list[FileResult]]:
    """Find the mask of each image.

    Two folders are paired by equal stems (``a.jpg`` and ``a.png``), case-sensitively, subfolder by subfolder;
    one mask file serves all images. Hidden files and folders are left alone.

    Args:
        images: folder of images, or one image file.
        masks: folder of masks, or one mask file. Where it lies among the images it is not taken for one.
        recursive: look into subfolders too; without it they are left alone.
        mask_suffix: with ``_mask``, ``a_mask.png`` belongs to ``a.jpg``; both may lie in one folder then.
        leave_out: folders of results, which are not searched.
        may_be_empty: no images or no masks are no error.

    Returns:
        Pairs and problems, each sorted by path. A problem is an image with no or several masks or the stem of
        another, an unreadable format or folder or, passed over, a mask alone, a linked folder or other file.

    Raises:
        ImageError: ``images`` is missing, holds no images or is left out.
        MaskError: the same of ``masks``, or it is the same as ``images`` without a suffix.
    """
    images, masks, left_out = Path(images), Path(masks), {identity(path) for path in leave_out}
    for path, what, error in ((images, "images", ImageError), (masks, "masks", MaskError)):
        if not (path.is_file() or path.is_dir()):
            raise error(f"no such file or folder for the {what}: {str(path)!r}; check the path")
        if identity(path) in left_out:
            raise error(f"the output folder {str(path)!r} is the {what} folder: name another one")
    together = images.samefile(masks)
    if together and not (mask_suffix and images.is_dir()):
        raise MaskError(
            f"images and masks are both {str(images)!r}: masks need a file or folder of their own, or a "
            "suffix that tells them from the images"
        )
    found, problems = find_images(images, recursive, left_out | (set() if together else {identity(masks)}))
    if together:
        found = [path for path in found if not normal_stem(path).endswith(mask_suffix)]
    if not (found or may_be_empty) and all(problem.status == "passed over" for problem in problems):
        below = not recursive and images.is_dir() and find_images(images, True, left_out)[0]
        advice = "some are in its subfolders, search them too (recursive)" if below else "check the folder"
        raise ImageError(f"no images in {str(images)!r}, expected {' '.join(READABLE_SUFFIXES)}: {advice}")
    if not masks.is_dir():
        return [Pair(path, masks, _folder(path, images)) for path in found], problems
    mask_files, unreadable = find_images(masks, recursive, left_out)
    if not (mask_files or may_be_empty) and all(problem.status == "passed over" for problem in unreadable):
        expected = " ".join(READABLE_SUFFIXES)
        raise MaskError(f"no masks in {str(masks)!r}, expected {expected}: check the folder")
    images_of = group_files(found, lambda path: (_folder(path, images), normal_stem(path) + mask_suffix))
    masks_of = group_files(mask_files, lambda path: (_folder(path, masks), normal_stem(path)))
    pairs = []
    for key, twins in images_of.items():
        partners = masks_of.get(key, [])
        for path in twins:
            if len(twins) == len(partners) == 1:
                pairs.append(Pair(path, partners[0], _folder(path, images)))
                continue
            if len(twins) > 1:
                others = [twin.name for twin in twins if twin != path]
                same = f"{', '.join(others)} {'has' if len(others) == 1 else 'have'} the same name"
                reason = f"{same} apart from the suffix: rename one of them and its mask"
            elif partners:
                reason = f"several masks: {', '.join(mask.name for mask in partners)}; keep one"
            else:
                wanted = masks / _folder(path, images) / (path.stem + mask_suffix)
                reason = _say_no_mask(path, wanted, mask_files, unreadable)
            problems.append(FileResult(path, reason=reason))
    for path in (mask for key, files in masks_of.items() if key not in images_of for mask in files):
        if not together or normal_stem(path).endswith(mask_suffix):  # in a common folder the rest are images
            problems.append(FileResult(path, status="passed over", reason="a mask without an image"))
    problems += [] if together else unreadable
    return pairs, sorted(problems, key=lambda problem: problem.image)


def find_images(
    path: Path, recursive: bool = False, left_out: Collection[tuple[int, int] | Path] = ()
) -> tuple[list[Path], list[FileResult]]:
    """List the images in a folder by path, or the one file itself; a problem for all else.

    Args:
        path: a folder or a file. Hidden files and folders are left alone, links to folders not followed.
        recursive: look into subfolders too.
        left_out: :func:`identity` of files and folders that are passed over.
    """
    if not path.is_dir():
        return [path], []
    found, problems = [], []

    def note(file: Path, reason: str, status: Status = "passed over") -> None:
        problems.append(FileResult(file, status=status, reason=reason))

    def note_closed(error: OSError) -> None:
        note(Path(error.filename), f"cannot be opened ({error.strerror}): check its permissions", "failed")

    for folder, folders, files in os.walk(path, onerror=note_closed):
        for file in (Path(folder, name) for name in files if not name.startswith(".")):
            suffix = file.suffix.lower()
            if os.path.exists(file) and not os.path.isfile(file):  # who opens a named pipe waits for ever
                note(file, "not a regular file")
            elif suffix in UNREADABLE_SUFFIXES:
                note(file, f"{file.suffix} images cannot be read: convert it to .png", "failed")
            elif suffix not in READABLE_SUFFIXES and not _content_of(file):
                note(file, "not an image file")
            elif identity(file) not in left_out:
                found.append(file)
        below = [Path(folder, name) for name in folders if recursive and not name.startswith(".")]
        below = [path for path in below if identity(path) not in left_out]
        folders[:] = [path.name for path in below]
        for path in filter(os.path.islink, below):
            note(path, "a linked folder")
    return sorted(found), problems


def plan_batch(
    pairs: Sequence[Pair], output: Path, *, overwrite: bool = False
) -> tuple[list[Job], list[FileResult]]:
    """Decide where each result goes: the image's name with its content's suffix, ``.png`` if there is none.

    The tree of subfolders stays as it is. A result that is not older than its image and mask is kept, unless
    ``overwrite``: files are written whole or not at all, so that the same command resumes a batch.

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
    for path, twins in group_files(pairs, lambda pair: _output_of(pair, output)).items():
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

    InpaintError if another batch works in the folder, or it cannot be made or written to.
    """
    lock = FileLock(output / _LOCK, timeout=0)
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InpaintError(f"another batch is working in {str(output)!r}; wait, or name another") from None
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


def _output_of(pair: Pair, folder: Path) -> Path:
    image, suffix = pair.image, pair.image.suffix.lower()
    called = WRITABLE_FORMATS.get(suffix, "")
    content = _content_of(image) if called or suffix not in READABLE_SUFFIXES else ""
    if called and content in ("", called):
        return folder / pair.folder / image.name
    suffixes = [*FORMATS[content].suffixes, ".png"] if content else [".png"]
    return folder / pair.folder / f"{image.stem}{suffixes[0]}"


def _content_of(file: Path) -> str:
    """The format that a file begins as; empty where that is none or cannot be told."""
    try:
        with open(file, "rb") as opened:
            return sniff(opened.read(32))
    except (OSError, ImageError):
        return ""


def normal_stem(path: Path) -> str:
    """A file's stem as a person sees it: an accent may be one character or two, depending on the system."""
    return unicodedata.normalize("NFC", path.stem)


def _folder(path: Path, root: Path) -> Path:
    """The folder a file lies in, from the root; the root may be the file itself."""
    if path == root:
        return Path()
    return Path(unicodedata.normalize("NFC", str(path.parent.relative_to(root))))


def _say_no_mask(image: Path, wanted: Path, files: Sequence[Path], unreadable: Sequence[FileResult]) -> str:
    """Say that an image has no mask, and name the file that may have been meant."""
    begin, hint, this = normal_stem(image).casefold(), "add one", identity(image)
    for file in files:
        stem = normal_stem(file).casefold()
        if stem.startswith(begin) and not stem[len(begin) :][:1].isalnum() and identity(file) != this:
            hint = f"{file.name} is there, but only {wanted.name}.* counts"
    for problem in unreadable:
        if normal_stem(problem.image) == unicodedata.normalize("NFC", wanted.name):
            hint = f"{problem.image.name} is there, but {problem.reason}"
    return f"no mask named {wanted.name}.* in {str(wanted.parent)!r}: {hint}"


def identity(path: Path) -> tuple[int, int] | Path:
    """What two names of one file have in common; a file that is gone is reported when its job runs."""
    try:
        status = os.stat(path)
    except OSError:
        return path
    return status.st_dev, status.st_ino
