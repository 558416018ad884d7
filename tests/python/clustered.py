"""Reads with delta-rs and Polars what `millrace optimize --cluster-by` and `millrace export` make of a table; prints JSON.

usage: clustered.py TABLE MILLRACE EXPORT

The table is clustered by `seq`, then this writer appends a file of its own that lies across the others, and the table is
clustered again. After each run: whether the rows are the same, and which files overlap. At the end the table is exported.
"""

import datetime
import json
import subprocess
import sys

import deltalake
import polars

table, millrace, export = sys.argv[1:4]


def run(*arguments):
    return subprocess.run([millrace, *arguments], check=True, capture_output=True, text=True).stdout


def cluster(*more):
    return run("optimize", table, "--cluster-by", "seq,id", "--target-size", "4KiB", *more)


def rows(frame):
    return sorted(frame.select("id", "seq", "city").rows())


def layout():
    """Files, and pairs of one partition whose ranges of `seq` overlap, by the statistics in the log."""
    files = polars.DataFrame(deltalake.DeltaTable(table).get_add_actions(flatten=True))
    overlaps = 0
    for _, partition in files.group_by("partition.city", "partition.date"):
        ranges = sorted(partition.select("min.seq", "max.seq").rows())
        overlaps += sum(left[1] >= right[0] for left, right in zip(ranges, ranges[1:]))
    return {"files": len(files), "overlaps": overlaps}


def append(numbers):
    at = datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc)
    new = polars.DataFrame(
        [{"id": f"mine{n}", "seq": n, "city": "Hull", "at": at, "date": "2025-01-01"} for n in numbers]
    )
    new = new.with_columns(polars.col("at").cast(polars.Datetime("us", "UTC")))
    deltalake.write_deltalake(table, new, mode="append")


def step():
    before = rows(polars.read_delta(table))
    told = {"dry": cluster("--dry-run").splitlines(), "before": layout()}
    told["run"] = cluster().splitlines()
    told.update(after=layout(), same=rows(polars.read_delta(table)) == before)
    version = deltalake.DeltaTable(table).version()
    told["again"] = cluster().splitlines()
    told["idle"] = deltalake.DeltaTable(table).version() == version
    return told


found = {"first": step()}
append(range(100_001, 100_001 + 2 * 400, 2))
found["second"] = step()
found["export"] = run("export", table, "--to", export)
plain = polars.read_parquet(f"{export}/**/*.parquet", hive_partitioning=True)
found["export_same"] = rows(plain) == rows(polars.read_delta(table))
found["export_columns"] = sorted(plain.columns) == sorted(polars.read_delta(table).columns)
print(json.dumps(found))
