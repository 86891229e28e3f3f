"""Where the fields of a config were set: a line and column of the file, or a command-line override."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class Place:
    """A position in a file; both numbers count from 1."""

    line: int
    column: int


def parent_path(path: str) -> str:
    """Returns the path that encloses `path`: `a.b[2].c` -> `a.b[2]` -> `a.b` -> `a` -> the empty string."""
    return path[: max(path.rfind("."), path.rfind("["), 0)]


@dataclass
class Places:
    """Places by canonical field path, such as `model_config.backbone.blocks[2].name`.

    A value is a `Place` in the file, or the text of the override that set the field.
    """

    known: dict[str, Place | str] = field(default_factory=dict)
    # What is directly inside a path, so that forgetting costs no more than what is forgotten.
    _inside: dict[str, set[str]] = field(default_factory=dict)

    def set(self, path: str, place: Place | str, *, keep_first: bool = False) -> None:
        """Notes where `path` was set; with `keep_first` an earlier place stays."""
        if keep_first and path in self.known:
            return
        self.known[path] = place
        inner, outer = path, parent_path(path)
        while outer and inner not in self._inside.setdefault(outer, set()):
            self._inside[outer].add(inner)
            inner, outer = outer, parent_path(outer)

    def forget(self, path: str) -> list[str]:
        """Drops `path` and everything inside it, and returns the dropped paths."""
        self._inside.get(parent_path(path), set()).discard(path)
        gone, waiting = [], [path]
        while waiting:
            inner = waiting.pop()
            waiting.extend(self._inside.pop(inner, ()))
            self.known.pop(inner, None)
            gone.append(inner)
        return gone

    def find(self, path: str) -> Place | str | None:
        """Returns the place of `path`, or of the nearest known path that encloses it."""
        while path:
            if path in self.known:
                return self.known[path]
            path = parent_path(path)
        return None

    def before(self, place: Place) -> str:
        """Returns the path that was set last at or before a place of the file, or the empty string."""
        earlier = [(at, path) for path, at in self.known.items() if isinstance(at, Place) and at <= place]
        return max(earlier)[1] if earlier else ""


def is_inside(path: str, outer: str) -> bool:
    """Returns whether `path` is `outer` or a field or element of it."""
    return path == outer or (path.startswith(outer) and path[len(outer)] in ".[")
