"""The files of the page: a folder beside this module, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from mmsearch.files import hash_bytes
from serving.service.problems import ProblemError

FOLDER = Path(__file__).with_name("page")
_NAME = re.compile(r"[a-z0-9_-]+\.[a-z]+")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def page_file(request: Request, name: str) -> Response:
    """Give a file of the page, or 304 where the browser has it.

    Raises:
        ProblemError: there is none of that name.
    """
    path = FOLDER / name
    kind = _TYPES.get(path.suffix)
    if kind is None or not _NAME.fullmatch(name) or not path.is_file():
        raise ProblemError("not-found", "the page has no such file")
    return revalidated(request, path.read_bytes(), kind)


def revalidated(request: Request, data: bytes, media_type: str) -> Response:
    """Give bytes that a browser keeps and asks about, or 304 where it has them."""
    headers = {"ETag": f'"{hash_bytes(data)}"', "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=media_type)
