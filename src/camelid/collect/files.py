"""Containers of rows: JSON arrays, JSON Lines, CSV, TSV, gzip of them, Parquet; CSV and TSV are known by their names.

Reading gives `RawRow`s (a value or a problem, with its line); what the keys mean is the business of `formats`.
Left out: arrow folders and hub names. CSV and TSV are only read.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from camelid.collect.json_documents import CHUNK_BYTES, GZIP_BREAKS, document_rows
from camelid.collect.json_text import MAX_ROW_BYTES, RawRow, RowDecoder, line_rows
from camelid.durable import sync_directory, sync_file

JSON_NAMES = (".json", ".jsonl", ".ndjson")
WIDE_ENCODINGS = (  # the marks of UTF-32 first: that of its little-endian form starts with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MAX_WIDE_BYTES = 1 << 30
"""UTF-16 files are recoded in memory; no larger one is."""


def raw_rows(path: str | os.PathLike[str]) -> Iterator[RawRow]:
    """Rows of a file in order. Raises ValueError where the file as a whole is no container that we read."""
    path = Path(path)
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic == b"PAR1":
            yield from _parquet_rows(path)
        elif magic.startswith(b"\x1f\x8b"):
            with gzip.open(file) as stream:
                yield from _unpacked(_text_rows(stream, path))  # type: ignore[arg-type]
        else:
            yield from _text_rows(file, path)


def _unpacked(rows: Iterator[RawRow]) -> Iterator[RawRow]:
    """The rows up to the place where a gzip stream breaks, then that place as a problem."""
    line = 0
    try:
        for row in rows:
            line = row.line
            yield row
    except GZIP_BREAKS as error:
        yield RawRow(line + 1, "", f"broken gzip: {error}; what came before it was read, fetch the file again")


def _text_rows(stream: BinaryIO, path: Path) -> Iterator[RawRow]:
    stream = _as_utf8(stream, path)
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".csv"):
        yield from _csv_rows(stream)
        return
    if name.endswith(".tsv"):
        yield from _tsv_rows(stream)
        return
    first = _first_line(stream)
    if first.startswith(b"[") or (name.endswith(".json") and first.startswith(b"{") and not _is_whole(first)):
        yield from document_rows(stream)
    elif first and not first.startswith(b"{") and not name.endswith(JSON_NAMES):
        raise ValueError(
            f"{path}: starts with {first[:20]!r}, which is no JSON; "
            f"camelid reads JSON, JSON Lines, CSV, TSV, gzip of them and Parquet"
        )
    else:
        yield from line_rows(stream)


def _csv_rows(stream: BinaryIO) -> Iterator[RawRow]:
    """Rows under a header line, every value a text. A row of another length than the header is a problem of its own."""
    reader = csv.DictReader(io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline=""))
    for value in reader:
        line = reader.line_num
        if None in value or None in value.values():
            yield RawRow(
                line, value, "wrong number of fields: not as many as the header has; quote commas inside a field"
            )
        else:
            yield RawRow(line, value)


def _tsv_rows(stream: BinaryIO) -> Iterator[RawRow]:
    """Rows without a header, columns by number, every value a text as it stands: quotes mean nothing in TSV."""
    columns = 0
    for line, text in enumerate(io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="\n"), 1):
        parts = text.rstrip("\r\n").split("\t")
        if not any(parts):
            continue
        value = {f"column {number}": part for number, part in enumerate(parts, 1)}
        columns = columns or len(parts)
        if len(parts) == columns:
            yield RawRow(line, value)
        else:
            wrong = f"wrong number of fields: {len(parts)}, where the first row has {columns}; write tabs as spaces"
            yield RawRow(line, value, wrong)


def _as_utf8(stream: BinaryIO, path: Path) -> BinaryIO:
    head = stream.read(4)
    stream.seek(0)
    for mark, encoding in WIDE_ENCODINGS:
        if head.startswith(mark):
            data = stream.read(MAX_WIDE_BYTES + 1)
            if len(data) > MAX_WIDE_BYTES:
                raise ValueError(f"{path}: more than 1 GiB of {encoding}; convert it with `iconv -t utf-8` first")
            try:
                return io.BytesIO(data.decode(encoding).encode())
            except UnicodeError as error:
                raise ValueError(f"{path}: marked as {encoding} but broken: {error}") from None
    return stream


def _first_line(stream: BinaryIO) -> bytes:
    """The first line that is not blank, or its beginning, without byte order mark; the stream is at its start again."""
    head = line = b""
    try:
        while len(head) < MAX_ROW_BYTES and (chunk := stream.read1(CHUNK_BYTES)):  # type: ignore[attr-defined]
            head += chunk
            line, ends, _ = head.removeprefix(codecs.BOM_UTF8).lstrip().partition(b"\n")
            if ends or line.startswith(b"["):
                break
    except GZIP_BREAKS:
        pass  # reading the rows will meet it again, and tell where
    stream.seek(0)
    return line.strip()


def _is_whole(line: bytes) -> bool:
    """Whether a line is one whole JSON value: then a .json file that starts with it holds an object a line."""
    text = line.decode("utf-8", "replace")
    try:
        _, end = RowDecoder().decode(text)
    except (ValueError, RecursionError):
        return False
    return end == len(text)


def _parquet_rows(path: Path) -> Iterator[RawRow]:
    pyarrow, parquet = _pyarrow()
    try:
        number = 0
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=1000):
            for value in batch.to_pylist():
                number += 1
                yield RawRow(number, value)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: a broken Parquet file: {error}; fetch it again") from None


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ImportError("Parquet files need pyarrow: pip install 'camelid[parquet]'") from None
    return pyarrow, pyarrow.parquet


def write_rows(path: str | os.PathLike[str], rows: Sequence[dict[str, Any]]) -> None:
    """Write rows, whole or not at all, into the container of the name: .json, .jsonl, their .gz, or .parquet."""
    path = Path(path)
    name = path.name.lower()
    if not name.removesuffix(".gz").endswith((*JSON_NAMES, ".parquet")) or name.endswith(".parquet.gz"):
        raise ValueError(
            f"{path}: name it .json, .jsonl, .json.gz, .jsonl.gz or .parquet, so that its container is clear"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".partial")
    if name.endswith(".parquet"):
        _write_parquet(aside, rows)
    else:
        with aside.open("wb") as file, _packed(file, name) as stream:
            _write_json(stream, rows, lines=not name.removesuffix(".gz").endswith(".json"))
    sync_file(aside)
    aside.replace(path)
    sync_directory(path.parent)


@contextmanager
def _packed(file: BinaryIO, name: str) -> Iterator[Any]:
    if not name.endswith(".gz"):
        yield file
        return
    # No file name and no time inside: the same rows give the same bytes.
    with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as stream:
        yield stream


def _write_json(stream: IO[bytes], rows: Sequence[dict[str, Any]], *, lines: bool) -> None:
    texts = (json.dumps(row, ensure_ascii=False, allow_nan=False).encode() for row in rows)
    if lines:
        stream.writelines(text + b"\n" for text in texts)
        return
    stream.write(b"[")
    stream.writelines((b",\n" if i else b"\n") + text for i, text in enumerate(texts))
    stream.write(b"\n]\n")


def _write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    pyarrow, parquet = _pyarrow()
    # from_pylist takes the columns of the first row only: a key that a later row adds would vanish.
    columns = list(dict.fromkeys(key for row in rows for key in row))
    parquet.write_table(pyarrow.Table.from_pylist([{key: row.get(key) for key in columns} for row in rows]), path)
