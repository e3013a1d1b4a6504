"""What is asked, looked up; and what is no query or no list of ids told from what is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmsearch.index import ForwardIndex

Request = tuple[str, Sequence[str]]


def rows_of(index: ForwardIndex, requests: Sequence[Request]) -> npt.NDArray[np.int64]:
    """Give the rows of all candidates of some requests, one after the other; -1 = there is no such document.

    Raises:
        TypeError: a query is no string, or its candidates are a string, or hold something else than strings.
    """
    for query, doc_ids in requests:
        check_query(query)
        if isinstance(doc_ids, str) or not hasattr(doc_ids, "__len__"):  # a generator can be read once alone
            raise _no_ids(doc_ids)
    try:
        return index.rows([doc_id for _, doc_ids in requests for doc_id in doc_ids])
    except TypeError as error:  # only then is every id looked at: the look-up refuses what is no text by itself
        raise _culprit(requests, error) from error


def check_query(query: str) -> None:
    """Refuse what is no query.

    Raises:
        TypeError: it is no string.
    """
    _check_text("query", query)


def check_doc_id(doc_id: str) -> None:
    """Refuse what is no id.

    Raises:
        TypeError: it is no string.
    """
    _check_text("doc_id", doc_id)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str; got {_shown(value)}")


def _culprit(requests: Sequence[Request], error: TypeError) -> TypeError:
    for _, doc_ids in requests:
        try:
            found = [*doc_ids] if not isinstance(doc_ids, bytes) else None
        except TypeError:  # an array of no dimension
            found = None
        if found is None:
            return _no_ids(doc_ids)
        for place, doc_id in enumerate(found):
            if not isinstance(doc_id, str):
                return TypeError(f"doc_ids must be a sequence of str; got {_shown(doc_id)} at place {place}")
    return error


def _no_ids(doc_ids: object) -> TypeError:
    return TypeError(f"doc_ids must be a sequence of str; got {_shown(doc_ids)}")


def _shown(value: object) -> str:
    text = repr(value[:60] if isinstance(value, str | bytes) else value)
    return f"{text if len(text) <= 64 else f'{text[:60]}…'} ({type(value).__name__})"
