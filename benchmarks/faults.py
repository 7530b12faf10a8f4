"""What a batch does when things go wrong: ``python benchmarks/faults.py [--quick] [NAME ...]``.

Every fault is a real one: files cut, swapped and mutated, processes killed, a full disk. Right is: each file
has its result or one line that says why not; no traceback; no input touched; no result half written. Prints a
Markdown table and exits 1 if a line of it is wrong. The model is ``lama-tiny`` with random weights: quality
does not matter here.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

Row = tuple[int, int, str]
"""Tries, tries that went wrong, what was seen."""

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run the faults that are named, or all, and print the table."""
    parser = argparse.ArgumentParser(description="What a batch does when things go wrong.")
    parser.add_argument("names", nargs="*", choices=[[], *FAULTS], help="faults to try; all if none is named")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the tries")
    chosen = parser.parse_args()
    share = 0.05 if chosen.quick else 1.0
    print("| fault | tries | wrong | seen |\n| --- | --- | --- | --- |")
    wrong = 0
    for name in chosen.names or FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            tries, bad, seen = FAULTS[name](Path(folder), share)
        wrong += bad
        print(f"| {name} | {tries:,} | {bad} | {seen} |", flush=True)
    sys.exit(1 if wrong else 0)


# -- files ------------------------------------------------------------------------------------------------


def bad_files(folder: Path, _share: float) -> Row:
    """A folder of files that are no good, each in its own way, and two that are."""
    images = make_images(folder, 2)
    bad = dict(spoilt(folder))
    for name, content in bad.items():
        (images / name).write_bytes(content)
    status, lines, rows = run_batch(folder)
    told = {Path(row["image"]).name: row for row in rows}
    missing = [name for name in bad if not told.get(name, {}).get("reason") and name not in lines]
    undone = sum(told[name]["status"] != "done" for name in ("0000.png", "0001.png"))
    odd = [name for name, row in told.items() if row["status"] == "done" and name in bad]
    seen = f"{len(bad) - len(missing)} of {len(bad)} named in a line, {len(odd)} inpainted all the same"
    return len(bad), len(missing) + undone + traceback_in(lines) + (status != 1), seen


def mutations(folder: Path, share: float) -> Row:
    """Thousands of good files with bytes changed, cut out, doubled or cut off; in processes that may die."""
    seeds = list(good_files())
    total, wrong, outcomes = int(20_000 * share), 0, {"inpainted": 0, "refused": 0}
    for start in range(0, total, 1_000):
        numbers = range(start, min(start + 1_000, total))
        work = folder / str(start)
        (work / "images").mkdir(parents=True)
        Image.fromarray(np.pad(np.full((20, 20), 255, np.uint8), 14)).save(work / "mask.png")
        for number in numbers:
            rng = random.Random(number)
            suffix, content = seeds[number % len(seeds)]
            (work / "images" / f"{number:05d}{suffix}").write_bytes(mutated(content, rng))
        process = subprocess.run(
            [sys.executable, __file__, "--mutated", str(work)], capture_output=True, text=True, cwd=ROOT
        )
        rows = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
        wrong += abs(len(numbers) - len(rows)) + traceback_in(process.stderr) + (process.returncode != 0)
        for row in rows:
            known = row["status"] == "done"
            outcomes["inpainted" if known else "refused"] += 1
            wrong += not known and (not row["reason"] or "\n" in row["reason"])
            wrong += Path(row["output"]).exists() != known
    return total, wrong, ", ".join(f"{count:,} {what}" for what, count in outcomes.items())


def inpaint_mutated(work: Path) -> None:
    """The child of :func:`mutations`: a batch with a fill that costs nothing."""
    from inpaint.batch import FileOptions, pair_files, plan_batch, run_batch

    def grey(image: Image.Image | np.ndarray, mask: Image.Image) -> Image.Image | np.ndarray:
        pixels = np.array(image)
        pixels[np.asarray(mask) > 127] = pixels.max() // 2 if pixels.dtype.kind != "f" else 0.5
        return Image.fromarray(pixels) if isinstance(image, Image.Image) else pixels

    pairs, _ = pair_files(work / "images", work / "mask.png")
    jobs, _ = plan_batch(pairs, work / "out")
    options = FileOptions(fit_mask=True, max_pixels=4_000_000)
    run_batch(jobs, grey, on_result=lambda result: print(json.dumps(result.row())), options=options)


# -- processes --------------------------------------------------------------------------------------------


def killed(folder: Path, share: float) -> Row:
    """SIGKILL at a random moment; then the same command again."""
    wrong, tries, left = 0, max(2, int(50 * share)), 0
    for number in range(tries):
        work = folder / str(number)
        images = make_images(work, 12)
        before = fingerprint(images)
        rng = random.Random(number)
        process = start(command(work), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(work / "out", rng.randrange(0, 11), process)
        time.sleep(rng.random() * 0.2)
        process.kill()
        process.wait()
        wrong += sum(not is_whole(path) for path in results(work))
        left += 12 - len(results(work))
        status, lines, _ = run_batch(work)
        wrong += status != 0 or len(results(work)) != 12 or traceback_in(lines)
        wrong += sum(not is_whole(path) for path in results(work)) + (fingerprint(images) != before)
        wrong += len(list((work / "out").glob(".inpaint-*.tmp")))
    return tries, wrong, f"{left} results missing after the kills, none after the same command again"


def interrupted(folder: Path, share: float) -> Row:
    """Ctrl-C."""
    wrong, tries, left = 0, max(2, int(10 * share)), 0
    for number in range(tries):
        work = folder / str(number)
        make_images(work, 40)
        process = start(command(work), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for(work / "out", 1 + 3 * number % 30, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        done = len(results(work))
        told = json.loads(out.splitlines()[-1])
        wrong += traceback_in(err) + (told["inpainted"] != done or told["unfinished"] != 40 - done)
        left += told["unfinished"]
    return (
        tries,
        wrong + (left == 0),
        f"what is done is kept and counted, the rest ({left}) told as unfinished",
    )


def two_runs(folder: Path, share: float) -> Row:
    """Two batches on one output folder at once; the first is one that waits for more images."""
    wrong, tries = 0, max(1, int(5 * share))
    for number in range(tries):
        work = folder / str(number)
        make_images(work, 12)
        quiet = subprocess.DEVNULL
        first = start([*command(work), "--watch"], stdout=quiet, stderr=quiet)
        wait_for(work / "out", 6, first)
        status, lines, _ = run_batch(work)
        wrong += status == 0 or "another batch" not in lines or traceback_in(lines)
        wait_for(work / "out", 12, first)
        time.sleep(0.5)
        first.send_signal(signal.SIGINT)
        wrong += first.wait() != 0 or len(results(work)) != 12
    return tries, wrong, "the second is refused in one line, the first ends well"


def full_disk(folder: Path, _share: float) -> Row:
    """No room for results: files may not grow beyond 4 KiB."""
    images = make_images(folder, 6)
    before = fingerprint(images)
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # noqa: E731
    status, lines, rows = run_batch(folder, before=limit)
    wrong = traceback_in(lines) + (status != 1) + (fingerprint(images) != before)
    wrong += sum(not is_whole(path) for path in results(folder))
    wrong += sum(row["status"] == "failed" and not row["reason"] for row in rows) + (len(rows) != 6)
    return 6, wrong, next((row["reason"] for row in rows if row["reason"]), "nothing failed")


def read_only(folder: Path, _share: float) -> Row:
    """An output folder that cannot be written to."""
    make_images(folder, 3)
    if os.geteuid() == 0:  # permissions do not bind root: a file where the folder should be
        (folder / "blocked").write_text("")
        status, lines, _ = run_batch(folder, output=folder / "blocked" / "out")
    else:
        (folder / "out").mkdir(mode=0o500)
        status, lines, _ = run_batch(folder)
    return 1, traceback_in(lines) + (status == 0), lines.strip().splitlines()[-1].replace(str(folder), "...")


FAULTS: dict[str, Callable[[Path, float], Row]] = {
    "bad files": bad_files,
    "mutated files": mutations,
    "SIGKILL at a random moment": killed,
    "Ctrl-C": interrupted,
    "two runs on one folder": two_runs,
    "full disk": full_disk,
    "read-only output": read_only,
}


# -- what is spoilt ----------------------------------------------------------------------------------------


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int = 48, height: int = 48) -> Image.Image:
    """A small image that does not compress to nothing."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def good_files() -> Iterator[tuple[str, bytes]]:
    """Small good files of every common kind."""
    image = noise()
    yield ".png", encoded(image, "PNG")
    yield ".jpg", encoded(image, "JPEG")
    yield ".jpg", encoded(image, "JPEG", progressive=True, subsampling=0, exif=b"Exif\0\0II*\0\10\0\0\0\0\0")
    yield ".webp", encoded(image, "WEBP")
    yield ".webp", encoded(image, "WEBP", lossless=True)
    yield ".tif", encoded(image, "TIFF", compression="tiff_lzw")
    yield ".tif", encoded(image, "TIFF", save_all=True, append_images=[image])
    yield ".gif", encoded(image.quantize(16), "GIF", save_all=True, append_images=[image.quantize(16)])
    yield ".png", encoded(image.quantize(16), "PNG")
    yield ".bmp", encoded(image, "BMP")


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The same bytes with a few of them changed, cut out, doubled, or cut off at the end."""
    data = bytearray(content)
    for _ in range(rng.randrange(1, 6)):
        place, length = rng.randrange(len(data)), rng.randrange(1, 32)
        match rng.randrange(5):
            case 0:
                data[place] = rng.randrange(256)
            case 1:
                data[place : place + length] = rng.randbytes(length)
            case 2:
                del data[place : place + length]
            case 3:
                data[place:place] = data[place : place + length]
            case _:
                del data[max(1, place) :]
        if not data:
            return b"\0"
    return bytes(data)


def spoilt(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Forty kinds of bad file."""
    image, other = noise(), noise(40, 48)
    png, jpeg, webp = encoded(image, "PNG"), encoded(image, "JPEG"), encoded(image, "WEBP")
    gif, tiff, bmp = encoded(image.quantize(8), "GIF"), encoded(image, "TIFF"), encoded(image, "BMP")
    yield "empty.png", b""
    yield "empty.jpg", b""
    yield "zeros.png", bytes(2_000)
    yield "noise.jpg", random.Random(1).randbytes(2_000)
    yield "text.png", b"not an image\n"
    yield "html.jpg", b"<!doctype html><title>404</title>"
    yield "script.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    yield "document.pdf", b"%PDF-1.4\n"
    yield "archive.png", b"PK\3\4" + bytes(500)
    yield "program.jpg", b"\x7fELF" + bytes(500)
    yield "pointer.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    yield "json.webp", b'{"error": "rate limited"}'
    for name, content in (("png", png), ("webp", webp), ("gif", gif), ("tif", tiff), ("bmp", bmp)):
        yield f"head.{name}", content[:24]
        yield f"half.{name}", content[: len(content) // 2]
    yield "head.jpg", jpeg[:24]
    yield "third.jpg", jpeg[: len(jpeg) // 3]
    yield "magic.png", b"\x89PNX" + png[4:]
    yield "size.png", png[:16] + struct.pack(">II", 0, 0) + png[24:]
    yield "sum.png", png[:29] + b"\0\0\0\0" + png[33:]
    yield "huge.png", _png_header(100_000, 100_000)
    yield "wide.png", _png_header(2**31 - 1, 1)
    yield "bomb.png", _png_header(30_000, 30_000) + zlib.compress(bytes(1_000_000))
    yield "stream.png", png.replace(b"IDAT", b"IDAU")
    yield "size.jpg", jpeg.replace(b"\xff\xc0", b"\xff\xcf", 1)
    yield "tables.jpg", jpeg.replace(b"\xff\xdb", b"\xff\xef", 1)
    yield "scan.jpg", jpeg.replace(b"\xff\xda", b"\xff\xd9", 1)
    yield "riff.webp", webp.replace(b"WEBP", b"WAVE")
    yield "chunk.webp", webp.replace(b"VP8 ", b"VP9 ")
    yield "tags.tif", tiff[:4] + struct.pack("<I", 10**6) + tiff[8:]
    yield "loop.tif", b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8)
    yield "depth.bmp", bmp[:28] + struct.pack("<H", 99) + bmp[30:]
    yield "block.gif", gif[:20]
    yield "other size.png", encoded(other, "PNG")
    yield "brand.heic", b"\0\0\0\x18ftypheic\0\0\0\0" + bytes(64)
    yield "brand.avif", b"\0\0\0\x18ftypavif\0\0\0\0" + bytes(64)
    yield "codestream.jxl", b"\xff\x0a" + bytes(64)
    yield "layers.psd", b"8BPS\0\1" + bytes(64)


def _png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


# -- a batch ------------------------------------------------------------------------------------------------


def make_images(folder: Path, count: int) -> Path:
    """``folder/images`` with so many good images, and ``folder/mask.png``; gives the former."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        noise().rotate(number).save(images / f"{number:04d}.png")
    Image.fromarray(np.pad(np.full((20, 20), 255, np.uint8), 14)).save(folder / "mask.png")
    return images


def command(folder: Path, output: Path | None = None) -> list[str]:
    """A batch as a user gives it."""
    model = tiny_model(folder)
    places = [folder / "images", folder / "mask.png", "-o", output or folder / "out", "--model", model]
    return [sys.executable, "-m", "inpaint", "batch", *map(str, places), "--device", "cpu", "--json"]


def tiny_model(folder: Path) -> Path:
    """A checkpoint with random weights beside the images."""
    from inpaint.checkpoint import save_checkpoint
    from inpaint.models.presets import build_inpainter

    path = folder / "lama-tiny.safetensors"
    if not path.exists():
        save_checkpoint(path, build_inpainter("lama-tiny").eval())
    return path


def run_batch(
    folder: Path, output: Path | None = None, before: Callable[[], None] | None = None
) -> tuple[int, str, list[dict[str, str]]]:
    """Exit status, stderr, and the rows of a batch over ``folder``."""
    process = subprocess.run(
        command(folder, output), capture_output=True, text=True, cwd=ROOT, preexec_fn=before
    )
    rows = [json.loads(line) for line in process.stdout.splitlines()]
    return process.returncode, process.stderr, [row for row in rows if "image" in row]


def start(words: list[str], **streams: int) -> subprocess.Popen[str]:
    """Start a process that Ctrl-C can reach, also where this one was started in the background."""
    return subprocess.Popen(
        words,
        text=True,
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **streams,  # type: ignore[arg-type]
    )


def results(folder: Path) -> list[Path]:
    """The results a person would see."""
    return sorted((folder / "out").glob("*.png"))


def is_whole(path: Path) -> bool:
    """Can every pixel of a file be decoded?"""
    try:
        with Image.open(path) as image:
            image.load()
    except OSError:
        return False
    return True


def wait_for(output: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until a batch has claimed its folder and written so many results, or has ended."""
    while process.poll() is None:
        if (output / ".inpaint.lock").exists() and len(list(output.glob("*.png"))) >= count:
            return
        time.sleep(0.02)


def fingerprint(folder: Path) -> str:
    """Names and contents of a folder's files."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def traceback_in(text: str) -> int:
    """1 if a traceback was shown."""
    return int("Traceback (most recent call last)" in text)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--mutated"]:
        inpaint_mutated(Path(sys.argv[2]))
    else:
        main()
