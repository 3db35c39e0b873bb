"""Downloads published archives: once, with resume, verified, and unpacked atomically."""

import logging
import os
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pooch
import requests
from filelock import FileLock
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from recsweep.errors import UserError

_CHUNK = 1 << 16  # bytes; an interruption loses less than one chunk
_MAX_BYTES = 2 * 10**9  # unpacked; the largest archive, ml-25m, has 1.2e9
_TIMEOUT = (10, 60)  # seconds to connect, and to wait for the next bytes

pooch.get_logger().setLevel(logging.WARNING)


@dataclass(frozen=True)
class Archive:
    """A zip on the web that contains one folder.

    Args:
        url: address of the zip.
        md5: published checksum. None if the publisher updates the file under the same name; then only the CRC of each
            member and the presence of `members` are checked.
        members: files that the folder must contain.
    """

    url: str
    md5: str | None
    members: tuple[str, ...]


def fetch(archive: Archive, folder: Path) -> Path:
    """Downloads and unpacks an archive into `folder` and returns `folder`; does nothing if it exists.

    A zip that the user put next to the folder is used; otherwise the zip is downloaded into `<zip>.part`, which a later
    call resumes. Concurrent jobs wait for the first one. The folder appears in one rename.

    Raises:
        UserError: offline, a wrong checksum, a truncated or unsafe zip, a folder that is not writable.
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if not folder.is_dir():
                _download_and_unpack(archive, folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
    return folder


def _download_and_unpack(archive: Archive, folder: Path) -> None:
    zip_path = folder.with_name(archive.url.rpartition("/")[2])
    is_users_own = zip_path.exists()
    _retrieve(archive, zip_path, folder)
    try:
        _unpack(zip_path, archive, folder)
    finally:
        if not is_users_own:
            zip_path.unlink()


def _retrieve(archive: Archive, zip_path: Path, folder: Path) -> None:
    try:
        pooch.retrieve(
            archive.url,
            known_hash=archive.md5 and f"md5:{archive.md5}",
            fname=zip_path.name,
            path=zip_path.parent,
            downloader=partial(_download, part=zip_path.with_name(f"{zip_path.name}.part")),
        )
    except requests.RequestException as error:
        status = error.response.status_code if error.response is not None else None
        reason = f"HTTP {status}" if status else type(error).__name__
        raise UserError(
            f"cannot download {archive.url} ({reason}): run again to resume, or put the "
            f"zip at {zip_path} or its files into {folder} by hand (RECSWEEP_DATA_DIR names the data folder)"
        ) from error
    except ValueError as error:
        raise UserError(f"{archive.url}: not the published file (its md5 is not {archive.md5}); run again") from error


def _download(url: str, output: str, _: object, *, part: Path) -> None:
    """A pooch downloader that resumes at the end of `part`."""
    n_bytes = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={n_bytes}-"} if n_bytes else {})
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # longer than the file, so from another version of it
            _download(url, output, _, part=part)
            return
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            n_bytes = 0
        _append_stream(response, part, n_bytes)
    os.replace(part, output)


def _append_stream(response: requests.Response, part: Path, n_bytes: int) -> None:
    """Writes the response to `part`, after its first `n_bytes` bytes, and shows the progress."""
    length = response.headers.get("Content-Length")
    columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    with (
        Progress(*columns, console=Console(stderr=True)) as progress,
        part.open("ab" if n_bytes else "wb") as file,
    ):
        task = progress.add_task(part.stem, total=int(length) + n_bytes if length else None, completed=n_bytes)
        for chunk in response.iter_content(_CHUNK):
            file.write(chunk)
            progress.advance(task, len(chunk))


def _unpack(zip_path: Path, archive: Archive, folder: Path) -> None:
    """Unpacks into a temporary folder, checks the members, and renames the folder to its final name."""
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        try:
            with zipfile.ZipFile(zip_path) as content:
                _check_paths(content, zip_path, Path(temporary))
                _check_size(content, zip_path)
                content.extractall(temporary)  # each file as far as its size in the directory, and its CRC is checked
        except (UserError, OSError):
            raise
        except Exception as error:  # zipfile raises a dozen kinds of exception for damaged and encrypted files
            raise UserError(f"{zip_path}: a truncated or damaged zip ({error}); download it again") from error
        roots = [path for path in Path(temporary).iterdir() if all((path / name).is_file() for name in archive.members)]
        if not roots:
            raise UserError(f"{zip_path}: contains no folder with {', '.join(archive.members)}")
        os.replace(roots[0], folder)


def _check_size(content: zipfile.ZipFile, zip_path: Path) -> None:
    """`UserError` if the files would take more room than any published archive."""
    n_bytes = sum(member.file_size for member in content.infolist())
    if n_bytes > _MAX_BYTES:
        raise UserError(f"{zip_path}: unpacks to {n_bytes / 1e9:.1f} GB, allowed are {_MAX_BYTES / 1e9:.0f}")


def _check_paths(content: zipfile.ZipFile, zip_path: Path, target: Path) -> None:
    """`UserError` if a member would be unpacked outside of `target`."""
    for name in content.namelist():
        if not (target / name).resolve().is_relative_to(target.resolve()):
            raise UserError(f"{zip_path}: unsafe member {name!r}, it would be written outside of the folder")
