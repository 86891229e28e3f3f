"""What happens to malformed rows: they stop the run, or they are skipped, counted and kept aside."""

from __future__ import annotations

import json
import os
from collections import Counter

from easyssl.errors import DataError

# Text of a row that is kept in messages and in the quarantine file.
_SHOWN_CHARACTERS = 80
_KEPT_CHARACTERS = 65536


def shown(raw: bytes | str, limit: int = _SHOWN_CHARACTERS) -> str:
    """Returns a cell's text as it is shown in messages: one line, quoted, cut to `limit` characters."""
    text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
    text = text if len(text) <= limit else text[:limit] + "..."
    return repr(text)


class BadRows:
    """Counts malformed rows and decides whether the run may go on.

    A row that comes round again in a later epoch is counted once. Rows beyond `limit` raise, so what is
    remembered is bounded.

    Args:
        policy: `"raise"` stops at the first malformed row, `"skip"` leaves such rows out.
        limit: How many rows may be skipped; required with `"skip"`.
        quarantine: A file that gets the first `max_kept` skipped rows, one JSON object a line with the keys
            `file`, `line`, `reason`, `detail` and `text`. Rows that it already holds from an earlier run
            are not written again.
        max_kept: How many rows the quarantine file holds at most.

    Raises:
        ValueError: If the policy is unknown or `"skip"` has no limit.

    Example:
        >>> bad_rows = BadRows("skip", limit=10)
        >>> bad_rows.add("a.csv", 7, "bad_number", b"x,1", "column 'age' holds 'x', expected INT32")
        >>> bad_rows.counts
        {'bad_number': 1}
    """

    def __init__(
        self,
        policy: str = "raise",
        limit: float | None = None,
        quarantine: str | os.PathLike[str] | None = None,
        max_kept: int = 100,
    ) -> None:
        if policy not in ("raise", "skip"):
            raise ValueError(f"policy should be 'raise' or 'skip'. Received: policy={policy!r}")
        if policy == "skip" and limit is None:
            raise ValueError("policy 'skip' needs a limit: how many malformed rows may be skipped")
        self.policy = policy
        self.limit = limit or 0
        self.quarantine = quarantine
        self.max_kept = max_kept
        self._counts: Counter[str] = Counter()
        self._seen: set[tuple[str, int]] = set()
        self._kept: set[tuple[str, int]] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Number of malformed rows by reason."""
        return dict(self._counts)

    @property
    def total(self) -> int:
        """Number of malformed rows."""
        return sum(self._counts.values())

    def add(self, path: str, line: int, reason: str, text: bytes | str, detail: str = "") -> None:
        """Takes note of a malformed row.

        Args:
            path: The file.
            line: Line or record number, from 1.
            reason: A short name such as `bad_number`; rows are counted by it.
            text: The raw row.
            detail: What was found and what was expected.

        Raises:
            DataError: If malformed rows are not to be skipped, or there are more of them than allowed.
        """
        if (path, line) in self._seen:
            return
        place = f"{path}:{line}: {reason}: {detail or shown(text)}"
        if self.policy == "raise":
            raise DataError(
                f"{place}; correct the row, or leave such rows out with data_config.malformed_rows: SKIP and "
                f"data_config.max_malformed_rows"
            )
        self._seen.add((path, line))
        self._counts[reason] += 1
        self._keep(path, line, reason, text, detail)
        if self.total > self.limit:
            listed = ", ".join(f"{name} {count}" for name, count in sorted(self._counts.items()))
            raise DataError(
                f"{place}; this is malformed row number {self.total} and data_config.max_malformed_rows "
                f"allows {self.limit} ({listed})"
            )

    def _keep(self, path: str, line: int, reason: str, text: bytes | str, detail: str) -> None:
        if self.quarantine is None:
            return
        if self._kept is None:
            self._kept = _rows_in(self.quarantine)
        if (path, line) in self._kept or len(self._kept) >= self.max_kept:
            return
        self._kept.add((path, line))
        if isinstance(text, bytes):
            text = text.decode("utf-8", "backslashreplace")
        row = {
            "file": path,
            "line": line,
            "reason": reason,
            "detail": detail,
            "text": text[:_KEPT_CHARACTERS],
        }
        folder = os.path.dirname(os.fspath(self.quarantine))
        if folder:
            os.makedirs(folder, exist_ok=True)
        with open(self.quarantine, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")


def _rows_in(path: str | os.PathLike[str]) -> set[tuple[str, int]]:
    """Returns (file, line) of the rows in a quarantine file; a line cut by a crash is passed over."""
    rows = set()
    if os.path.exists(path):
        with open(path, encoding="utf-8", errors="replace") as handle:
            for text in handle:
                try:
                    row = json.loads(text)
                    rows.add((str(row["file"]), int(row["line"])))
                except (ValueError, KeyError, TypeError):
                    continue
    return rows
