"""Files that are written whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

TEMPORARY_FILES = ".inpaint-*.tmp"
"""What files are called until they are whole; a process that is killed leaves one behind."""


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of ``path``, or of what that links to, once it is whole.

    Otherwise it leaves no trace. Until then its name is hidden: nobody who reads the folder, even after a
    power cut, takes it for a result. OSError if the file cannot be written.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    temporary = path.with_name(TEMPORARY_FILES.replace("*", secrets.token_hex(8)))
    try:
        with open(temporary, "x+b") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
