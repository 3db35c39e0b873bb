"""Fetching from a server on this machine: whole, resumed, wrong, truncated, unsafe, side by side."""

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


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        for name, text in files.items():
            content.writestr(name, text)
    return buffer.getvalue()


GOOD = zipped({"ml-tiny/ratings.csv": "r" * 300_000, "ml-tiny/movies.csv": "m", "ml-tiny/README": "x"})


class Server(ThreadingHTTPServer):
    """Serves `body`, answers ranges, breaks off after `limit` bytes, and notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = GOOD
        self.limit: int | None = None
        self.ranges = True
        self.asked: list[str | None] = []

    def archive(self, md5: str | None) -> Archive:
        return Archive(f"http://127.0.0.1:{self.server_port}/ml-tiny.zip", md5, MEMBERS)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        if asked and self.server.ranges and start >= len(self.server.body):
            self.send_error(416)
            return
        body = self.server.body[start:]
        self.send_response(206 if asked and self.server.ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.limit])

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_fetches_once_and_leaves_only_the_folder(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "ml-tiny"
    archive = server.archive(md5(GOOD))
    assert fetch(archive, folder) == folder
    assert sorted(path.name for path in folder.iterdir()) == ["README", "movies.csv", "ratings.csv"]
    assert (folder / "ratings.csv").read_text() == "r" * 300_000
    assert left_over(folder.parent) == ["ml-tiny"]
    fetch(archive, folder)
    assert server.asked == [None]


def test_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    archive, folder = server.archive(md5(GOOD)), tmp_path / "ml-tiny"
    server.limit = 150_000  # 65,536 bytes are written at a time, so two such chunks stay
    with pytest.raises(UserError, match=r"cannot download http://127.*run again to go on where it stopped") as caught:
        fetch(archive, folder)
    assert "\n" not in str(caught.value)
    assert left_over(tmp_path) == ["ml-tiny.zip.part"]
    server.limit = None
    fetch(archive, folder)
    assert server.asked == [None, "bytes=131072-"]
    assert left_over(tmp_path) == ["ml-tiny"]


def test_starts_anew_where_the_server_cannot_resume(server: Server, tmp_path: Path) -> None:
    (tmp_path / "ml-tiny.zip.part").write_bytes(b"half of something else")
    server.ranges = False
    fetch(server.archive(md5(GOOD)), tmp_path / "ml-tiny")
    assert left_over(tmp_path) == ["ml-tiny"]


def test_drops_a_part_that_is_longer_than_the_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "ml-tiny.zip.part").write_bytes(b"x" * (len(GOOD) + 1))
    fetch(server.archive(md5(GOOD)), tmp_path / "ml-tiny")
    assert server.asked == [f"bytes={len(GOOD) + 1}-", None]
    assert left_over(tmp_path) == ["ml-tiny"]


def test_a_zip_put_there_by_hand_is_used_and_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "ml-tiny.zip").write_bytes(GOOD)
    fetch(server.archive(md5(GOOD)), tmp_path / "ml-tiny")
    assert server.asked == []
    assert left_over(tmp_path) == ["ml-tiny", "ml-tiny.zip"]


@pytest.mark.parametrize(
    ("body", "checksum", "message"),
    [
        (GOOD, "0" * 32, r"ml-tiny\.zip: not the published file \(its md5 is not 0{32}\)"),
        (GOOD[:-40], None, r"ml-tiny\.zip: a truncated or damaged zip"),
        (GOOD.replace(b"rrrr", b"rrrx", 1), None, r"ml-tiny\.zip: a truncated or damaged zip \(Bad CRC-32"),
        (zipped({"ml-tiny/ratings.csv": "r"}), None, r"ml-tiny\.zip: holds no folder with ratings\.csv"),
        (zipped({"../ratings.csv": "r"}), None, r"unsafe member '\.\./ratings\.csv'"),
        (zipped({"/etc/ratings.csv": "r"}), None, r"unsafe member '/etc/ratings\.csv'"),
    ],
)  # fmt: skip
def test_a_wrong_archive_leaves_nothing(
    server: Server, tmp_path: Path, body: bytes, checksum: str | None, message: str
) -> None:
    server.body = body
    with pytest.raises(UserError, match=message) as caught:
        fetch(server.archive(checksum), tmp_path / "ml-tiny")
    assert "\n" not in str(caught.value)
    assert left_over(tmp_path) == []


def test_offline_says_what_to_do(server: Server, tmp_path: Path) -> None:
    archive = server.archive(md5(GOOD))
    server.server_close()
    with pytest.raises(UserError) as caught:
        fetch(archive, tmp_path / "ml-tiny")
    message = str(caught.value)
    assert archive.url in message and "(ConnectionError)" in message and "RECSWEEP_DATA_DIR" in message
    assert f"{tmp_path / 'ml-tiny.zip'} or its files into {tmp_path / 'ml-tiny'}" in message
    assert "\n" not in message


def test_a_place_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*ml-tiny: "):
        fetch(server.archive(None), tmp_path / "file" / "ml-tiny")


def test_jobs_side_by_side_download_once(server: Server, tmp_path: Path) -> None:
    archive = server.archive(md5(GOOD))
    with ThreadPoolExecutor(4) as jobs:
        folders = list(jobs.map(lambda _: fetch(archive, tmp_path / "ml-tiny"), range(4)))
    assert server.asked == [None]
    assert folders == [tmp_path / "ml-tiny"] * 4
