"""Reads a lake and its table with engines Millrace does not use, and prints what they hold as JSON.

usage: lake_and_table.py LAKE TABLE KEY[,KEY...]

The lake's lines are counted and its distinct keys computed by DuckDB from the gzip text; the table is opened by delta-rs
for Python, whose own log replay names the files, and read by Polars."""

import gzip
import json
import pathlib
import sys
import urllib.parse

import deltalake
import duckdb
import polars

lake, table, keys = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(",")

objects = sorted(p for p in lake.rglob("*.gz") if "errors" not in p.relative_to(lake).parts)
lines = 0
for path in objects:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as f:
        for line in f:
            json.loads(line)
            lines += 1

columns = ", ".join(f'"{k}"' for k in keys)
glob = [str(p) for p in objects]
distinct = duckdb.sql(
    f"select count(*) from (select distinct {columns} from read_json({glob!r}, format='newline_delimited', "
    f"compression='gzip', hive_partitioning=false, sample_size=-1))"
).fetchall()[0][0]

delta = deltalake.DeltaTable(table)
frame = polars.read_delta(table)
print(
    json.dumps(
        {
            "objects": len(objects),
            "lines": lines,
            "distinct": distinct,
            "version": delta.version(),
            "rows": frame.height,
            "distinct_rows": frame.select(keys).unique().height,
            "types": {name: str(dtype) for name, dtype in frame.schema.items()},
            "partitions": delta.metadata().partition_columns,
            "reader": delta.protocol().min_reader_version,
            "writer": delta.protocol().min_writer_version,
            "partition_values": sorted(
                {urllib.parse.unquote(str(v)) for v in frame[delta.metadata().partition_columns[0]].unique()}
            )
            if delta.metadata().partition_columns
            else [],
        }
    )
)
