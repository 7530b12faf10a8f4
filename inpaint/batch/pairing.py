"""Which mask belongs to which image."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

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


File = TypeVar("File")


@dataclass
class Matches(Generic[File]):
    """Which partner belongs to which image, each list in the order of the images.

    Attributes:
        pairs: images with their one partner.
        missing: images without a partner.
        several: images with several partners, and those.
        twins: images of one key with other images, and those.
        unused: partners that no image asks for.
    """

    pairs: list[tuple[File, File]] = field(default_factory=list)
    missing: list[File] = field(default_factory=list)
    several: list[tuple[File, list[File]]] = field(default_factory=list)
    twins: list[tuple[File, list[File]]] = field(default_factory=list)
    unused: list[File] = field(default_factory=list)


def match_files(
    images: Sequence[File],
    partners: Sequence[File],
    key_of: Callable[[File], Hashable],
    partner_key_of: Callable[[File], Hashable] | None = None,
) -> Matches[File]:
    """Match images and masks (or any other partners) of equal keys, such as their stems."""
    images_of, partners_of = defaultdict[Hashable, list[File]](list), defaultdict[Hashable, list[File]](list)
    for image in images:
        images_of[key_of(image)].append(image)
    for partner in partners:
        partners_of[(partner_key_of or key_of)(partner)].append(partner)
    matches = Matches[File]()
    for image in images:
        key = key_of(image)
        twins, found = [other for other in images_of[key] if other is not image], partners_of.get(key, [])
        if twins:
            matches.twins.append((image, twins))
        elif len(found) > 1:
            matches.several.append((image, found))
        elif found:
            matches.pairs.append((image, found[0]))
        else:
            matches.missing.append(image)
    matches.unused += [file for key, files in partners_of.items() if key not in images_of for file in files]
    return matches


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
    found, problems = find_images(images, recursive, left_out | (set() if together else {identity(masks)}))
    if together:
        found = [path for path in found if not normal_stem(path).endswith(mask_suffix)]
    if not found and all(problem.harmless for problem in problems):
        below = not recursive and images.is_dir() and find_images(images, True, left_out)[0]
        advice = (
            "there are some in its subfolders, search them too (recursive)" if below else "check the folder"
        )
        raise ImageError(f"no images in {str(images)!r}, expected {' '.join(READABLE_SUFFIXES)}: {advice}")
    if not masks.is_dir():
        return [Pair(path, masks, _folder(path, images)) for path in found], problems
    mask_files, unreadable = find_images(masks, recursive, left_out)
    if not mask_files and all(problem.harmless for problem in unreadable):
        raise MaskError(
            f"no masks in {str(masks)!r}, expected {' '.join(READABLE_SUFFIXES)}: check the folder"
        )
    if not together:
        problems += unreadable
    matches = match_files(
        found,
        mask_files,
        lambda path: (_folder(path, images), normal_stem(path) + mask_suffix),
        lambda path: (_folder(path, masks), normal_stem(path)),
    )
    for path, twins in matches.twins:
        names = ", ".join(other.name for other in twins)
        problems.append(Problem(path, f"same stem as {names}: rename one, and its mask"))
    for path, several in matches.several:
        problems.append(Problem(path, f"several masks: {', '.join(m.name for m in several)}; keep one"))
    for path in matches.missing:
        name = masks / _folder(path, images) / (path.stem + mask_suffix)
        problems.append(Problem(path, _say_no_mask(path, name, mask_files, unreadable)))
    problems += [
        Problem(path, "a mask without an image", harmless=True)
        for path in matches.unused
        if not together or normal_stem(path).endswith(mask_suffix)  # in a common folder the rest are images
    ]
    pairs = [Pair(path, mask, _folder(path, images)) for path, mask in matches.pairs]
    return pairs, sorted(problems, key=lambda problem: problem.path)


def find_images(
    path: Path, recursive: bool = False, left_out: Collection[tuple[int, int] | Path] = ()
) -> tuple[list[Path], list[Problem]]:
    """List the images in a folder by path, or the one file itself; a problem for all that is unreadable.

    Args:
        path: a folder or a file. Hidden files and folders are left alone.
        recursive: look into subfolders too.
        left_out: :func:`identity` of files and folders that are passed over.
    """
    if not path.is_dir():
        return [path], []
    found, problems = [], []
    for file in _files(path, recursive, left_out, problems):
        suffix = file.suffix.lower()
        if suffix in _UNREADABLE_SUFFIXES:
            problems.append(Problem(file, f"{file.suffix} images cannot be read: convert it to .png"))
        elif suffix not in READABLE_SUFFIXES and not _is_image(file):
            problems.append(Problem(file, "not an image file", harmless=True))
        elif identity(file) not in left_out:
            found.append(file)
    return sorted(found), problems


def _is_image(file: Path) -> bool:
    """Whether a file of an unknown suffix begins as an image does."""
    try:
        with open(file, "rb") as opened:
            return bool(sniff(opened.read(32)))
    except (OSError, ImageError):
        return False


def _files(
    root: Path, recursive: bool, left_out: Collection[tuple[int, int] | Path], problems: list[Problem]
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


def normal_stem(path: Path) -> str:
    """A file's stem as a person sees it: an accent may be one character or two, depending on the system."""
    return unicodedata.normalize("NFC", path.stem)


def _folder(path: Path, root: Path) -> Path:
    """The folder a file lies in, from the root; the root may be the file itself."""
    if path == root:
        return Path()
    return Path(unicodedata.normalize("NFC", str(path.parent.relative_to(root))))


def _say_no_mask(image: Path, wanted: Path, files: Sequence[Path], unreadable: Sequence[Problem]) -> str:
    """Say that an image has no mask, and name the file that may have been meant."""
    begin, hint = normal_stem(image).casefold(), "add one"
    for file in files:
        if normal_stem(file).casefold().startswith(begin):
            hint = f"{file.name} is there, but only {wanted.name}.* counts"
    for problem in unreadable:
        if normal_stem(problem.path) == unicodedata.normalize("NFC", wanted.name):
            hint = f"{problem.path.name} is there, but {problem.reason}"
    return f"no mask named {wanted.name}.* in {str(wanted.parent)!r}: {hint}"


def identity(path: Path) -> tuple[int, int] | Path:
    """What two names of one file have in common; a file that is gone is reported when its job runs."""
    try:
        status = os.stat(path)
    except OSError:
        return path
    return status.st_dev, status.st_ino
