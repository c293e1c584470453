"""The record of one search: every candidate, and what is known of it, in SQLite.

A study must survive whatever stops a search: Ctrl-C, ``kill -9``, a full disk.
Each change is one transaction, on the disk before the call returns
(``synchronous=FULL``), so at most the change in flight is lost. The rollback
journal is used rather than the write-ahead log: the one file then always holds
everything committed, can be copied alone, and can be read on a read-only disk.

One process writes at a time, guarded by an OS lock on ``study.lock`` beside the
file; the OS drops the lock when the process dies, however it dies. Any number
may read.

Nothing measured is ``None``. Numbers that are not finite are refused in the
columns, and stored as null within ``details``, ``set_value`` and ``config``.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from autodistill.errors import StudyError
from autodistill.locks import HeldError, own_file, sign
from autodistill.study.candidate import CHANGEABLE, COLUMNS, Candidate, CandidateState
from autodistill.study.codec import checked, damaged, from_json, from_row, now, to_json, to_row

SCHEMA_VERSION = 1
BUSY_SECONDS = 30.0  # how long to wait for a reader before giving up

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE candidates (
    number INTEGER PRIMARY KEY,
    role TEXT NOT NULL,
    architecture TEXT NOT NULL UNIQUE,
    architecture_id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    parameters INTEGER,
    predicted_latency_ms REAL,
    predicted_latency_std_ms REAL,
    latency_ms REAL,
    latency_iqr_ms REAL,
    quality REAL,
    quality_se REAL,
    details TEXT NOT NULL,
    error TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
"""


class Study:
    """One search's record. Make it with ``create``, ``open`` or ``open_or_create``.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> with Study.create(folder.name + "/study.sqlite", identity={"seed": 0}, config={}) as s:
        ...     first = s.add({"num_hidden_layers": 4}, "4L")
        ...     s.update(first.number, latency_ms=1.5, state=CandidateState.MEASURED).latency_ms
        1.5
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, lock: IO[bytes] | None, read_only: bool
    ) -> None:
        self.path = path
        self.read_only = read_only
        self._connection = connection
        self._lock = lock

    # Opening and closing

    @classmethod
    def create(
        cls, path: str | Path, *, identity: Mapping[str, Any], config: Mapping[str, Any]
    ) -> "Study":
        """Start a new study in a file that does not exist, or holds nothing yet.

        Args:
            path: The file, usually ``study.sqlite`` in the run folder, which is made.
            identity: What must not change between resumptions (space, teacher, ...).
            config: The other arguments, for the record.

        Raises:
            StudyError: There is a study already, or the file cannot be written.
        """
        path = Path(path)
        study = _connect(path, create=True)
        try:
            if _tables(study):
                raise StudyError(
                    f"{path} exists already; expected a new file. "
                    "Open it to go on with that search, or choose another --run-dir"
                )
            with study._transaction() as connection:
                for statement in filter(str.strip, SCHEMA.split(";")):
                    connection.execute(statement)
                meta = {
                    "schema_version": SCHEMA_VERSION,
                    "identity": dict(identity),
                    "config": dict(config),
                    "created_at": now(),
                }
                connection.executemany(
                    "INSERT INTO meta VALUES (?, ?)",
                    [(key, to_json(value)) for key, value in meta.items()],
                )
        except BaseException:
            study.close()
            raise
        return study

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = False) -> "Study":
        """Open an existing study, to go on with it or only to read it.

        Raises:
            StudyError: No study is there, it is damaged, its format is another
                version's, or another process is writing to it.
        """
        path = Path(path)
        if not path.is_file():
            raise StudyError(f"no study at {path}; check --run-dir")
        study = _connect(path, create=False, read_only=read_only)
        try:
            _check(study)
        except BaseException:
            study.close()
            raise
        return study

    @classmethod
    def open_or_create(
        cls, path: str | Path, identity: Mapping[str, Any], config: Mapping[str, Any]
    ) -> "Study":
        """Go on with the study at ``path``, or start it.

        Going on records ``config`` in place of the former one.

        Raises:
            StudyError: As ``open`` and ``create``; or the study at ``path`` has
                another identity, each differing entry named with both values.
        """
        path = Path(path)
        if _holds_nothing(path):
            return cls.create(path, identity=identity, config=config)
        study = cls.open(path)
        try:
            _check_identity(study, identity)
            with study._transaction() as connection:
                connection.execute(
                    "UPDATE meta SET value = ? WHERE key = 'config'", (to_json(dict(config)),)
                )
        except BaseException:
            study.close()
            raise
        return study

    def close(self) -> None:
        """Let go of the file and of the lock. Calling it twice does nothing more."""
        self._connection.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Reading

    @property
    def identity(self) -> dict[str, Any]:
        """What the study was created with and must be resumed with."""
        return dict(self._json("SELECT value FROM meta WHERE key = 'identity'"))

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the last run that wrote to this study."""
        return dict(self._json("SELECT value FROM meta WHERE key = 'config'"))

    def candidates(self) -> list[Candidate]:
        """All candidates by number, the baseline (if added) first."""
        rows = self._rows(f"SELECT {', '.join(COLUMNS)} FROM candidates ORDER BY number")
        return [from_row(self.path, row) for row in rows]

    def get(self, number: int) -> Candidate:
        """The candidate of that number; ``StudyError`` if there is none."""
        rows = self._rows(f"SELECT {', '.join(COLUMNS)} FROM candidates WHERE number = ?", number)
        if not rows:
            raise StudyError(f"{self.path} has no candidate {number}; see Study.candidates()")
        return from_row(self.path, rows[0])

    def get_value(self, key: str, default: Any = None) -> Any:
        """The fact stored under ``key``, or ``default``."""
        value = self._json("SELECT value FROM facts WHERE key = ?", key, missing=_MISSING)
        return default if value is _MISSING else value

    # Writing

    def add(
        self,
        architecture: Mapping[str, Any],
        architecture_id: str,
        *,
        role: str = "candidate",
        state: CandidateState = CandidateState.PROPOSED,
        **values: Any,
    ) -> Candidate:
        """Store a new candidate; its number is 0 for the baseline, else the next one.

        Args:
            architecture: Plain fields and values.
            architecture_id: Its identifier; one study holds it once.
            role: "baseline" or "candidate".
            state: Where it stands.
            values: Any other changeable fields, as in ``update``.

        Raises:
            StudyError: The architecture is in the study already, there is a
                baseline already, a field is unknown, or the disk refuses.
        """
        if role not in ("baseline", "candidate"):
            raise StudyError(f'role must be "baseline" or "candidate"; got {role!r}')
        created_at = now()
        with self._transaction() as connection:
            (last,) = connection.execute("SELECT max(number) FROM candidates").fetchone()
            empty: dict[str, Any] = dict.fromkeys(CHANGEABLE) | {"details": {}}
            record = empty | {
                "number": 0 if role == "baseline" else (last or 0) + 1,
                "role": role,
                "architecture": dict(architecture),
                "architecture_id": architecture_id,
                "created_at": created_at,
                "updated_at": created_at,
            }
            row = to_row(record | checked({"state": state, **values}))
            twin = connection.execute(
                "SELECT number FROM candidates "
                "WHERE architecture_id = :architecture_id OR architecture = :architecture",
                row,
            ).fetchone()
            if twin:
                raise StudyError(
                    f"architecture {architecture_id} is already candidate {twin[0]} of "
                    f"{self.path}; expected one that the study does not hold"
                )
            if role == "baseline" and last is not None and self._has(0):
                raise StudyError(f"{self.path} has its baseline already; update candidate 0")
            marks = ", ".join(f":{name}" for name in COLUMNS)
            connection.execute(f"INSERT INTO candidates VALUES ({marks})", row)
        return self.get(row["number"])

    def update(self, number: int, **changes: Any) -> Candidate:
        """Change fields of a candidate, all of them or (on an error) none.

        ``details`` is merged key by key into what is stored; other fields are replaced.

        Raises:
            StudyError: No such candidate or field, a value that the field cannot
                hold, COMPLETE without latency or quality, or the disk refuses.
        """
        with self._transaction() as connection:
            stored = self.get(number)
            record = {name: getattr(stored, name) for name in COLUMNS}
            record |= checked(changes)
            record["details"] = stored.details | dict(changes.get("details", {}))
            record["updated_at"] = now()
            assignments = ", ".join(f"{name} = :{name}" for name in (*CHANGEABLE, "updated_at"))
            connection.execute(
                f"UPDATE candidates SET {assignments} WHERE number = :number", to_row(record)
            )
        return self.get(number)

    def set_value(self, key: str, value: Any) -> None:
        """Store a fact about the whole search, any JSON value, in place of a former one."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO facts VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, to_json(value)),
            )

    # The connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self.read_only:
            raise StudyError(f"{self.path} was opened for reading only; nothing was changed")
        with _explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has rolled it back already
                    self._connection.execute("ROLLBACK")
                raise

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with _explained(self.path):
            return self._connection.execute(query, values).fetchall()

    def _has(self, number: int) -> bool:
        return bool(self._rows("SELECT 1 FROM candidates WHERE number = ?", number))

    def _json(self, query: str, *values: Any, missing: Any = None) -> Any:
        rows = self._rows(query, *values)
        return from_json(self.path, rows[0][0]) if rows else missing


_MISSING = object()


def _connect(path: Path, *, create: bool, read_only: bool = False) -> Study:
    """Lock and open the file. A reader takes no lock and may not change anything.

    A reader still opens "rw": after a killed writer the first to open must roll
    the half-written change back, and SQLite itself falls back to reading where
    the disk is read-only.
    """
    with _explained(path):
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        lock = None if read_only else _take_lock(path)
        try:
            mode = "rwc" if create else "rw"
            connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode={mode}",
                uri=True,
                timeout=BUSY_SECONDS,
                isolation_level=None,  # transactions are begun and ended by us
            )
            connection.execute("PRAGMA synchronous = FULL")
            if read_only:
                connection.execute("PRAGMA query_only = ON")
        except BaseException:
            if lock is not None:
                lock.close()
            raise
    return Study(path, connection, lock, read_only)


def _take_lock(path: Path) -> IO[bytes]:
    try:
        lock = own_file(path.with_suffix(".lock"))
    except HeldError as error:
        raise StudyError(
            f"{path} is in use by another process (pid {error.owner}). "
            "Wait for it to end, stop it, or choose another --run-dir"
        ) from None
    sign(lock)
    return lock


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the OS say into what the user can do."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # our own mistake, such as use after close
    except (sqlite3.OperationalError, OSError) as error:
        raise StudyError(
            f"cannot read or write {path}: {error}. What was stored before is intact. "
            "Free disk space or make the folder writable, then run the same command again"
        ) from error
    except sqlite3.DatabaseError as error:
        raise damaged(path, str(error)) from error


def _tables(study: Study) -> set[str]:
    return {name for (name,) in study._rows("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _holds_nothing(path: Path) -> bool:
    """Whether a search may start here: no file, or one whose creation was cut short."""
    if not path.exists():
        return True
    if not path.is_file():
        return False
    with _connect(path, create=False, read_only=True) as study:
        return not _tables(study)


def _check(study: Study) -> None:
    path = study.path
    tables = _tables(study)
    if "meta" not in tables:
        raise damaged(path, "it has no table `meta`")
    version = study._json("SELECT value FROM meta WHERE key = 'schema_version'")
    if version != SCHEMA_VERSION:
        raise StudyError(
            f"{path} has format version {version}; this AutoDistill reads version "
            f"{SCHEMA_VERSION}. Use the AutoDistill that wrote it, or choose another --run-dir"
        )
    missing = {"facts", "candidates"} - tables
    if missing:
        raise damaged(path, f"it has no table `{min(missing)}`")
    ((verdict,), *_) = study._rows("PRAGMA quick_check")
    if verdict != "ok":
        raise damaged(path, verdict)


def _check_identity(study: Study, identity: Mapping[str, Any]) -> None:
    stored = _flat(study.identity)
    asked = _flat(json.loads(to_json(dict(identity))))
    different = [
        f"  {key}: the study has {_shown(stored, key)}, now {_shown(asked, key)}"
        for key in sorted(stored.keys() | asked.keys())
        if (key in stored) != (key in asked) or stored[key] != asked[key]
    ]
    if different:
        raise StudyError(
            "\n".join([f"{study.path} belongs to another search:", *different])
            + "\nGive the same arguments as before to go on with it, or another --run-dir"
        )


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots, so that a difference is named where it lies."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            flat |= _flat(item, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = item
    return flat


def _shown(values: Mapping[str, Any], key: str) -> str:
    text = json.dumps(values[key], ensure_ascii=False) if key in values else "nothing"
    return text if len(text) <= 200 else f"{text[:200]}..."
