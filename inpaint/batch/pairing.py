"""Which mask belongs to which image."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inpaint.errors import ImageError, MaskError
from inpaint.images import READABLE_SUFFIXES
from inpaint.images.formats import sniff

# Images to a person, but not to this program: named in the report instead of being passed over.
_UNREADABLE_SUFFIXES = tuple(
    ".psd .svg .eps .pdf .xcf .ico .raw .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf .psb .ai .mp4 .mov".split()
)


@dataclass(frozen=True)
class Pair:
    """An image, the mask that belongs to it, and the folder within the images folder it lies in."""

    image: Path
    mask: Path
    folder: Path = Path()


@dataclass(frozen=True)
class Problem:
    """A file that cannot take part, and why, in one line; ``harmless`` where nobody would miss its result."""

    path: Path
    reason: str
    harmless: bool = False


_Key = tuple[Path, str]
"""What an image and its mask have in common: folder and stem."""


def pair_files(
    images: Path,
    masks: Path,
    *,
    recursive: bool = False,
    mask_suffix: str = "",
    leave_out: Sequence[Path] = (),
) -> tuple[list[Pair], list[Problem]]:
    """Find the mask of each image.

    Two folders are paired by equal stems (``a.jpg`` and ``a.png``), case-sensitively, subfolder by subfolder;
    one mask file serves all images. Hidden files and folders are left alone.

    Args:
        images: folder of images, or one image file.
        masks: folder of masks, or one mask file. Where it lies among the images it is not taken for one.
        recursive: look into subfolders too; without it they are left alone.
        mask_suffix: what a mask's stem has beyond its image's: with ``_mask``, ``a_mask.png`` belongs to
            ``a.jpg``. Then both may lie in one folder.
        leave_out: folders that are not searched, such as that of earlier results.

    Returns:
        Pairs and problems, each sorted by path. A problem is an image without mask, with several masks, with
        the same stem as another image, or in a format that cannot be read; or a folder that cannot be. A
        file that is not an image and a mask without image are harmless problems.

    Raises:
        ImageError: ``images`` is missing or holds no images.
        MaskError: ``masks`` is missing or holds no images, or is the same as ``images`` without a suffix.
    """
    images, masks = Path(images), Path(masks)
    for path, what, error in ((images, "images", ImageError), (masks, "masks", MaskError)):
        if not path.exists():
            raise error(f"no such file or folder for the {what}: {str(path)!r}; check the path")
    together = images.samefile(masks)
    if together and not (mask_suffix and images.is_dir()):
        raise MaskError(
            f"images and masks are both {str(images)!r}: masks need a file or folder of their own, or a "
            "suffix that tells them from the images"
        )
    left_out = {identity(path) for path in leave_out}
    pictures, problems = _find_pictures(
        images, recursive, left_out | (set() if together else {identity(masks)})
    )
    if together:
        pictures = [path for path in pictures if not _stem(path).endswith(mask_suffix)]
    if not pictures and all(problem.harmless for problem in problems):
        below = not recursive and images.is_dir() and _find_pictures(images, True, left_out)[0]
        advice = (
            "there are some in its subfolders, search them too (recursive)" if below else "check the folder"
        )
        raise ImageError(f"no images in {str(images)!r}, expected {' '.join(READABLE_SUFFIXES)}: {advice}")
    if not masks.is_dir():
        return [Pair(path, masks, _folder(path, images)) for path in pictures], problems
    mask_files, unreadable = _find_pictures(masks, recursive, left_out)
    if not mask_files and all(problem.harmless for problem in unreadable):
        raise MaskError(
            f"no masks in {str(masks)!r}, expected {' '.join(READABLE_SUFFIXES)}: check the folder"
        )
    pictures_of, masks_of = _by_key(pictures, images), _by_key(mask_files, masks)
    if not together:
        problems += unreadable
    problems += _unused(
        masks_of, {(folder, stem + mask_suffix) for folder, stem in pictures_of}, together, mask_suffix
    )
    pairs = []
    for path in pictures:
        folder, stem = key = _key(path, images)
        twins = [other.name for other in pictures_of[key] if other != path]
        found = masks_of.get((folder, stem + mask_suffix), [])
        if twins:
            problems.append(Problem(path, f"same stem as {', '.join(twins)}: rename one, and its mask"))
        elif not found:
            name = masks / folder / (path.stem + mask_suffix)
            problems.append(Problem(path, _say_no_mask(path, name, mask_files, unreadable)))
        elif len(found) > 1:
            names = ", ".join(mask.name for mask in found)
            problems.append(Problem(path, f"several masks: {names}; keep one"))
        else:
            pairs.append(Pair(path, found[0], folder))
    return pairs, sorted(problems, key=lambda problem: problem.path)


def _unused(
    masks_of: dict[_Key, list[Path]], wanted: set[_Key], together: bool, mask_suffix: str
) -> list[Problem]:
    """Masks that no image asks for; in a common folder only what ends like one is a mask."""
    unused = [path for key, paths in masks_of.items() if key not in wanted for path in paths]
    return [
        Problem(path, "a mask without an image", harmless=True)
        for path in unused
        if not together or _stem(path).endswith(mask_suffix)
    ]


def _find_pictures(
    path: Path, recursive: bool, left_out: set[tuple[int, int] | Path]
) -> tuple[list[Path], list[Problem]]:
    """List the images in a folder by path, or the one file itself; a problem for all that is unreadable."""
    if not path.is_dir():
        return [path], []
    pictures, problems = [], []
    for file in _files(path, recursive, left_out, problems):
        suffix = file.suffix.lower()
        if suffix in _UNREADABLE_SUFFIXES:
            problems.append(Problem(file, f"{file.suffix} images cannot be read: convert it to .png"))
        elif suffix not in READABLE_SUFFIXES and not _is_image(file):
            problems.append(Problem(file, "not an image file", harmless=True))
        elif identity(file) not in left_out:
            pictures.append(file)
    return sorted(pictures), problems


def _is_image(file: Path) -> bool:
    """Whether a file of an unknown suffix begins as an image does."""
    try:
        with open(file, "rb") as opened:
            return bool(sniff(opened.read(32)))
    except (OSError, ImageError):
        return False


def _files(
    root: Path, recursive: bool, left_out: set[tuple[int, int] | Path], problems: list[Problem]
) -> Iterator[Path]:
    """Files that are not hidden, in a folder or everything below it; links to folders are not followed."""

    def note(error: OSError) -> None:
        reason = f"cannot be opened ({error.strerror}): check its permissions"
        problems.append(Problem(Path(error.filename), reason))

    for folder, folders, files in os.walk(root, onerror=note):
        below = Path(folder)
        yield from (below / name for name in files if not name.startswith("."))
        folders[:] = [
            name
            for name in folders
            if recursive and not name.startswith(".") and identity(below / name) not in left_out
        ]


def _seen(name: str) -> str:
    """A name as a person sees it: an accent may be one character or two, depending on the system."""
    return unicodedata.normalize("NFC", name)


def _stem(path: Path) -> str:
    return _seen(path.stem)


def _folder(path: Path, root: Path) -> Path:
    """The folder a file lies in, from the root; the root may be the file itself."""
    return Path(_seen(str(path.parent.relative_to(root)))) if path != root else Path()


def _key(path: Path, root: Path) -> _Key:
    return _folder(path, root), _stem(path)


def _by_key(files: Sequence[Path], root: Path) -> dict[_Key, list[Path]]:
    found: dict[_Key, list[Path]] = defaultdict(list)
    for file in files:
        found[_key(file, root)].append(file)
    return dict(found)


def _say_no_mask(image: Path, wanted: Path, files: Sequence[Path], unreadable: Sequence[Problem]) -> str:
    """Say that an image has no mask, and name the file that may have been meant."""
    begin, hint = _stem(image).casefold(), "add one"
    for file in files:
        if _stem(file).casefold().startswith(begin):
            hint = f"{file.name} is there, but only {wanted.name}.* counts"
    for problem in unreadable:
        if _stem(problem.path) == _seen(wanted.name):
            hint = f"{problem.path.name} is there, but {problem.reason}"
    return f"no mask named {wanted.name}.* in {str(wanted.parent)!r}: {hint}"


def identity(path: Path) -> tuple[int, int] | Path:
    """What two names of one file have in common; a file that is gone is reported when its job runs."""
    try:
        status = os.stat(path)
    except OSError:
        return path
    return status.st_dev, status.st_ino
