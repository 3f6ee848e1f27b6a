"""Downloads from the official addresses: at most once, verified, all or nothing."""

import os
import threading
import time
from functools import cache
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin

import requests
from tqdm.auto import tqdm

from ..files import expanded

ADDRESSES = {
    "fashion-mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "cifar10": "https://www.cs.toronto.edu/~kriz/",
}
PROBE_SECONDS = 3.0  # how long the addresses have to answer before they count as unreachable
TIMEOUT = (5, 30)  # seconds to connect, and between two pieces of a file
ATTEMPTS = 5
PAUSE = 1.0  # seconds before the second attempt; doubled before each later one
PIECE = 1 << 16  # bytes


def cache_folder() -> Path:
    """Where downloads are kept: $LEMMSE_CACHE, else the cache folder of the operating system."""
    folder = os.environ.get("LEMMSE_CACHE")
    if not folder:
        import pooch  # here: GPU machines without it can use the data sets that are made up

        folder = pooch.os_cache("lemmse")
    return expanded(folder)


def obstacle(name: str) -> str | None:
    """Why a data set cannot be downloaded now, or None if its address answers.

    The addresses are probed once a session, all together, in at most `PROBE_SECONDS`. With
    LEMMSE_OFFLINE=1 nothing is probed.
    """
    if os.environ.get("LEMMSE_OFFLINE", "") not in ("", "0"):
        return "LEMMSE_OFFLINE is set"
    if not probe()[name]:
        return f"{ADDRESSES[name]} cannot be reached (offline?)"
    return None


@cache
def probe() -> dict[str, bool]:
    """Which of the `ADDRESSES` answer; asked once, then remembered.

    The questions run in threads that may be left behind: looking up a name can block far longer
    than any timeout of the connection.
    """
    answers = dict.fromkeys(ADDRESSES, False)

    def ask(name: str, address: str) -> None:
        try:
            reply = requests.head(address, timeout=PROBE_SECONDS)
            answers[name] = reply.status_code < 500
        except requests.RequestException:
            answers[name] = False

    threads = [threading.Thread(target=ask, args=pair, daemon=True) for pair in ADDRESSES.items()]
    deadline = time.monotonic() + PROBE_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(answers)


def download(name: str, file: str, md5: str, target: Path) -> None:
    """Download a file of a data set, check it, and only then move it to its place.

    Args:
        name: which of the `ADDRESSES`.
        file: its name there.
        md5: of the file as served.
        target: where it goes. Interrupted or refused, nothing is left there or beside it.

    Raises:
        ConnectionError: the file did not come through, after `ATTEMPTS` attempts.
        ValueError: what came has another checksum.
    """
    import pooch

    pooch.retrieve(
        urljoin(ADDRESSES[name], file),
        known_hash=f"md5:{md5}",
        fname=target.name,
        path=target.parent,
        downloader=fetch,
    )


def fetch(url: str, output_file: str, pooch: object) -> None:
    """Write what is at a URL into a file; a downloader as `pooch` calls it.

    A broken connection is taken up again at the byte reached (HTTP range request); a server that
    does not know ranges sends the file from its beginning.

    Raises:
        ConnectionError: the server refused, or `ATTEMPTS` attempts were not enough.
    """
    with open(output_file, "wb") as file:
        for attempt in range(ATTEMPTS):
            if attempt > 0:
                time.sleep(PAUSE * 2 ** (attempt - 1))
            try:
                return append(url, file)
            except (requests.RequestException, ConnectionError) as error:
                reason = error
                reply = getattr(error, "response", None)
                if reply is not None and reply.status_code < 500:
                    break
    raise ConnectionError(f"{url} could not be downloaded, and nothing was kept: {reason}")


def append(url: str, file: BinaryIO) -> None:
    """One attempt: ask for the bytes that a file still lacks, and append them."""
    reached = file.tell()
    # Without compression on the way, lengths and ranges count the bytes of the file itself.
    headers = {"Accept-Encoding": "identity"}
    if reached:
        headers["Range"] = f"bytes={reached}-"
    with requests.get(url, stream=True, timeout=TIMEOUT, headers=headers) as reply:
        reply.raise_for_status()
        if reply.status_code != requests.codes.partial_content:
            reached = file.seek(0)
            file.truncate()
        length = reply.headers.get("Content-Length")
        total = reached + int(length) if length else None
        name = url.rsplit("/", 1)[-1]
        with tqdm(desc=name, total=total, initial=reached, unit="B", unit_scale=True) as bar:
            for piece in reply.iter_content(PIECE):
                file.write(piece)
                bar.update(len(piece))
    if total is not None and file.tell() != total:
        raise ConnectionError(f"expected {total} bytes, got {file.tell()}")
