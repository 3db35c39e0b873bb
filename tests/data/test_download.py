"""Downloads from a server on this machine: complete, resumed, wrong, truncated, unsafe, concurrent."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recsweep.data.download import Archive, fetch
from recsweep.errors import UserError

MEMBERS = ("ratings.csv", "movies.csv")


def zip_files(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        for name, text in files.items():
            content.writestr(name, text)
    return buffer.getvalue()


GOOD = zip_files({"ml-tiny/ratings.csv": "r" * 300_000, "ml-tiny/movies.csv": "m", "ml-tiny/README": "x"})


def promise_size(body: bytes, size: int, promised: int) -> bytes:
    """The zip with another size of its first file in the directory at its end."""
    start = body.index(b"PK\x01\x02")
    return body[:start] + body[start:].replace(size.to_bytes(4, "little"), promised.to_bytes(4, "little"))


def encrypt(body: bytes) -> bytes:
    """The zip with its first file marked as encrypted in the directory."""
    start = body.index(b"PK\x01\x02")
    return body[: start + 8] + b"\x01" + body[start + 9 :]


class Server(ThreadingHTTPServer):
    """Serves `body`, answers ranges, stops after `limit` bytes, and records the range of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = GOOD
        self.limit: int | None = None
        self.ranges = True
        self.requests: list[str | None] = []

    def archive(self, md5: str | None) -> Archive:
        return Archive(f"http://127.0.0.1:{self.server_port}/ml-tiny.zip", md5, MEMBERS)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        range_header = self.headers["Range"] if self.server.ranges else None
        self.server.requests.append(self.headers["Range"])
        start = int(range_header.removeprefix("bytes=").removesuffix("-")) if range_header else 0
        if range_header and start >= len(self.server.body):
            self.send_error(416)
            return
        body = self.server.body[start:]
        self.send_response(206 if range_header else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.limit])

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def names_in(folder: Path) -> list[str]:
    """Names of its files and folders, without locks."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_fetches_once_and_leaves_only_the_folder(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "ml-tiny"
    archive = server.archive(md5(GOOD))
    assert fetch(archive, folder) == folder
    assert sorted(path.name for path in folder.iterdir()) == ["README", "movies.csv", "ratings.csv"]
    assert (folder / "ratings.csv").read_text() == "r" * 300_000
    assert names_in(folder.parent) == ["ml-tiny"]
    fetch(archive, folder)
    assert server.requests == [None]


def test_resumes_an_interrupted_download(server: Server, tmp_path: Path) -> None:
    archive, folder = server.archive(md5(GOOD)), tmp_path / "ml-tiny"
    server.limit = 150_000  # written in chunks of 65,536 bytes, so two chunks stay
    with pytest.raises(UserError, match=r"cannot download http://127.*run again to resume") as caught:
        fetch(archive, folder)
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == ["ml-tiny.zip.part"]
    server.limit = None
    fetch(archive, folder)
    assert server.requests == [None, "bytes=131072-"]
    assert names_in(tmp_path) == ["ml-tiny"]


def test_starts_again_if_the_server_cannot_resume(server: Server, tmp_path: Path) -> None:
    (tmp_path / "ml-tiny.zip.part").write_bytes(b"half of something else")
    server.ranges = False
    fetch(server.archive(md5(GOOD)), tmp_path / "ml-tiny")
    assert names_in(tmp_path) == ["ml-tiny"]


def test_deletes_a_part_that_is_longer_than_the_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "ml-tiny.zip.part").write_bytes(b"x" * (len(GOOD) + 1))
    fetch(server.archive(md5(GOOD)), tmp_path / "ml-tiny")
    assert server.requests == [f"bytes={len(GOOD) + 1}-", None]
    assert names_in(tmp_path) == ["ml-tiny"]


def test_a_zip_of_the_users_own_is_used_and_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "ml-tiny.zip").write_bytes(GOOD)
    fetch(server.archive(md5(GOOD)), tmp_path / "ml-tiny")
    assert server.requests == []
    assert names_in(tmp_path) == ["ml-tiny", "ml-tiny.zip"]


@pytest.mark.parametrize(
    ("body", "checksum", "message"),
    [
        (GOOD, "0" * 32, r"ml-tiny\.zip: not the published file \(its md5 is not 0{32}\)"),
        (GOOD[:-40], None, r"ml-tiny\.zip: a truncated or damaged zip"),
        (GOOD.replace(b"rrrr", b"rrrx", 1), None, r"ml-tiny\.zip: a truncated or damaged zip \(Bad CRC-32"),
        (zip_files({"ml-tiny/ratings.csv": "r"}), None, r"ml-tiny\.zip: contains no folder with ratings\.csv"),
        (GOOD.replace(b"ml-tiny", b"ml-liar", 1), None, r"a truncated or damaged zip \(File name in directory"),
        (promise_size(GOOD, 300_000, 3 * 10**9), None, r"ml-tiny\.zip: unpacks to 3\.0 GB, allowed are 2"),
        (promise_size(GOOD, 300_000, 299_999), None, r"ml-tiny\.zip: a truncated or damaged zip \(Bad CRC-32"),
        (encrypt(GOOD), None, r"ml-tiny\.zip: a truncated or damaged zip \(.*encrypted"),
        (zip_files({"../ratings.csv": "r"}), None, r"unsafe member '\.\./ratings\.csv'"),
        (zip_files({"/etc/ratings.csv": "r"}), None, r"unsafe member '/etc/ratings\.csv'"),
    ],
)  # fmt: skip
def test_a_wrong_archive_leaves_nothing(
    server: Server, tmp_path: Path, body: bytes, checksum: str | None, message: str
) -> None:
    server.body = body
    with pytest.raises(UserError, match=message) as caught:
        fetch(server.archive(checksum), tmp_path / "ml-tiny")
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == []


def test_offline_says_what_to_do(server: Server, tmp_path: Path) -> None:
    archive = server.archive(md5(GOOD))
    server.server_close()
    with pytest.raises(UserError) as caught:
        fetch(archive, tmp_path / "ml-tiny")
    message = str(caught.value)
    assert archive.url in message and "(ConnectionError)" in message and "RECSWEEP_DATA_DIR" in message
    assert f"{tmp_path / 'ml-tiny.zip'} or its files into {tmp_path / 'ml-tiny'}" in message
    assert "\n" not in message


def test_a_folder_that_is_not_writable(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*ml-tiny: "):
        fetch(server.archive(None), tmp_path / "file" / "ml-tiny")


def test_concurrent_jobs_download_once(server: Server, tmp_path: Path) -> None:
    archive = server.archive(md5(GOOD))
    with ThreadPoolExecutor(4) as jobs:
        folders = list(jobs.map(lambda _: fetch(archive, tmp_path / "ml-tiny"), range(4)))
    assert server.requests == [None]
    assert folders == [tmp_path / "ml-tiny"] * 4
