"""SQL over a run: a DuckDB in memory whose views are the run's files, and that can do nothing else.

Views: `windows`, `facts`, `signals`, `instruments`, `handovers`, with the columns of
`draining.SCHEMAS` (times as TIMESTAMP, UTC, rounded to µs), and `sessions`,
what the run's document says of each.
Only a SELECT is run; no file but the run's can be read, none written, no setting changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import polars as pl

from ifd_fast.draining import SCHEMAS
from ifd_fast.errors import DataError, UsageError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ifd_fast.runs import Run

__all__ = ["escape_formulas", "query_run"]

_FORMULA: Final = r"^[=+\-@\t\r]"
# The rest of what a value's Python type says is right; of these it would say too little.
_TYPES: Final[dict[str, pl.DataType]] = {
    "BOOLEAN": pl.Boolean(),
    "TINYINT": pl.Int8(),
    "SMALLINT": pl.Int16(),
    "INTEGER": pl.Int32(),
    "BIGINT": pl.Int64(),
    "HUGEINT": pl.Int128(),
    "UTINYINT": pl.UInt8(),
    "USMALLINT": pl.UInt16(),
    "UINTEGER": pl.UInt32(),
    "UBIGINT": pl.UInt64(),
    "FLOAT": pl.Float32(),
    "DOUBLE": pl.Float64(),
    "VARCHAR": pl.String(),
    "DATE": pl.Date(),
    "TIMESTAMP": pl.Datetime("us"),
}


def query_run(run: Run, sql: str, limit: int | None = None) -> tuple[pl.DataFrame, bool]:
    """Return the rows of one SELECT over a run, and whether there are more than `limit`.

    Raises
    ------
    UsageError
        `sql` is no single SELECT, or DuckDB refuses it.
    DataError
        A file of the run is missing or can't be read.
    """
    import duckdb

    with duckdb.connect(":memory:") as connection:
        try:
            _create_views(connection, run)
        except duckdb.Error as error:
            raise DataError(f"{run.path}: can't be read: {error}") from error
        try:
            _check_statement(connection, sql)
            found = connection.execute(sql)
            _check_columns(found.description or [])
            rows = found.fetchall() if limit is None else found.fetchmany(limit + 1)
        except duckdb.Error as error:
            text = str(error).split("Traceback")[0].strip()
            raise UsageError(f"The query is refused. {text}") from error
        is_cut = limit is not None and len(rows) > limit
        return _to_frame(found.description or [], rows[:limit]), is_cut


def _create_views(connection: DuckDBPyConnection, run: Run) -> None:
    """Set up all views, then shut out every other file and every other setting."""
    connection.execute("SET TimeZone = 'UTC'")
    files: list[str] = []
    for name, schema in SCHEMAS.items():
        run.frame(name)  # raises if a file is missing
        paths = [str(path.resolve()) for path in run.files(name)]
        if not paths:
            raise DataError(f"{run.path}: holds no session to be asked about.")
        columns = ", ".join(_column(column, kind) for column, kind in schema.items())
        connection.execute(
            f"CREATE VIEW {name} AS SELECT {columns} FROM "  # noqa: S608  (names of the schema)
            f"read_parquet([{', '.join(map(_quote, paths))}], "
            "union_by_name = true, hive_partitioning = false)"
        )
        files += paths
    _create_sessions(connection, run)
    connection.execute(f"SET allowed_paths = [{', '.join(map(_quote, files))}]")
    for setting in ("enable_external_access = false", "lock_configuration = true"):
        connection.execute(f"SET {setting}")


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _column(name: str, kind: pl.DataType) -> str:
    """Return a column of a view; a time is plain UTC, so that it is compared with texts."""
    is_time = isinstance(kind, pl.Datetime)
    # Twice, because DuckDB has no cast from a zoned time in ns.
    plain = f'CAST(CAST("{name}" AS TIMESTAMPTZ) AS TIMESTAMP) AS "{name}"'
    return plain if is_time else f'"{name}"'


def _create_sessions(connection: DuckDBPyConnection, run: Run) -> None:
    """Keep what the document says of each session that is one number or one text."""
    names = dict.fromkeys(
        name
        for one in run.sessions.values()
        for name, value in one.items()
        if isinstance(value, str | int | float)
    )
    kinds = {
        name: _kind_of([one.get(name) for one in run.sessions.values()])
        for name in names
    }  # fmt: skip
    columns = ", ".join(f'"{name}" {kind}' for name, kind in kinds.items())
    connection.execute(f"CREATE TABLE sessions ({columns})")
    for one in run.sessions.values():
        marks = ", ".join("?" for _ in kinds)
        values = [one.get(name) for name in kinds]
        connection.execute(f"INSERT INTO sessions VALUES ({marks})", values)  # noqa: S608


def _kind_of(values: list[Any]) -> str:
    known = [value for value in values if value is not None]
    if all(isinstance(value, bool) for value in known):
        return "BOOLEAN"
    if all(isinstance(value, int) for value in known):
        return "BIGINT"
    return "DOUBLE" if all(isinstance(value, int | float) for value in known) else "VARCHAR"


def _check_statement(connection: DuckDBPyConnection, sql: str) -> None:
    """Refuse what is not one SELECT: COPY could write into the run's own files."""
    import duckdb

    statements = connection.extract_statements(sql)
    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT]:
        names = ", ".join(kind.name for kind in kinds) or "nothing"
        raise UsageError(f"The query is {names}: ask one SELECT (or FROM, WITH, DESCRIBE).")


def _check_columns(description: list[Any]) -> None:
    zoned = [str(name) for name, kind, *_ in description if "TIME ZONE" in str(kind)]
    if zoned:
        raise UsageError(f"Column {zoned[0]} is a time with a zone: ask for it as ::TIMESTAMP.")


def _to_frame(description: list[Any], rows: list[Any]) -> pl.DataFrame:
    """Return rows as a frame, whose columns have DuckDB's names and types."""
    names: list[str] = []
    for column in description:
        name = str(column[0])
        names.append(name if name not in names else f"{name}_{len(names)}")
    columns = []
    for at, column in enumerate(description):
        values = [row[at] for row in rows]
        kind = _TYPES.get(str(column[1]))
        if kind is None and not all(isinstance(value, float | int | None) for value in values):
            values, kind = [None if value is None else str(value) for value in values], pl.String()
        columns.append(pl.Series(names[at], values, kind, strict=False))
    return pl.DataFrame(columns)


def escape_formulas(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose texts no spreadsheet takes for a formula: ' stands before them."""
    escaped = frame.with_columns(pl.col(pl.String).str.replace(_FORMULA, "'$0"))
    return escaped.rename(
        {name: f"'{name}" for name in frame.columns if name and name[0] in "=+-@\t\r"}
    )
