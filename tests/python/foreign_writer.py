"""Writes to a table with delta-rs for Python while `millrace` compacts and optimizes it; prints JSON.

usage: foreign_writer.py TABLE MILLRACE LAKE SCENARIO

First a delete that was begun before an optimize and is committed after it. Then appends and deletes, some in a second, while
two compactors and one optimize after the other run. At the end: what this writer put in and left in, and what the table holds.
"""

import datetime
import json
import subprocess
import sys
import time

import deltalake
import polars
from deltalake.exceptions import CommitFailedError

table, millrace, lake, scenario = sys.argv[1:5]
optimize = [millrace, "optimize", table, "--target-size", "1MiB"]
compact = [millrace, "compact", scenario, "--lake", lake, "--table", table, "--batch-objects", "2"]


def held():
    """The rows: id and seq, sorted."""
    rows = polars.read_delta(table)
    return sorted(zip(rows["id"].to_list(), rows["seq"].to_list()))


def row(number):
    """One row of this writer's, in the table's own types."""
    at = datetime.datetime(2025, 1, 1 + number % 2, tzinfo=datetime.timezone.utc)
    return {"id": f"foreign-{number}", "seq": number, "city": ["Hull", "York"][number % 2], "at": at, "date": f"{at:%Y-%m-%d}"}


def append(numbers):
    rows = polars.DataFrame([row(number) for number in numbers])
    rows = rows.with_columns(polars.col("at").cast(polars.Datetime("us", "UTC")))
    deltalake.write_deltalake(table, rows, mode="append")


# A delete from a state that an optimize has overtaken: it has to be refused, or to do what it says.
before = held()
stale = deltalake.DeltaTable(table)
subprocess.run(optimize, check=True, capture_output=True)
victim = before[0][0]
try:
    stale.delete(f"id = '{victim}'")
    refused, expected = False, [row for row in before if row[0] != victim]
except CommitFailedError:
    refused, expected = True, before
stale_is_right = held() == expected

# A rewrite by delta-rs from a state that a millrace optimize has overtaken.
append([1000, 1002])
append([1004, 1006])
before = held()
stale = deltalake.DeltaTable(table)
subprocess.run(optimize, check=True, capture_output=True)
try:
    stale.optimize.compact()
    optimize_refused = False
except Exception:
    optimize_refused = True
optimize_is_right = held() == before

running = [subprocess.Popen(compact, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
conflicts, number, mine = 0, 0, {1000, 1002, 1004, 1006}
maintaining = None
optimizes = 0
while number < 24 or any(process.poll() is None for process in running):
    if maintaining is None or maintaining.poll() is not None:
        assert maintaining is None or maintaining.returncode == 0, maintaining.stderr.read()
        maintaining = subprocess.Popen(optimize, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        optimizes += 1
    try:
        append([number, number + 1])
        mine |= {number, number + 1}
    except CommitFailedError:
        conflicts += 1
    try:
        if number % 3 == 2:
            deltalake.DeltaTable(table).delete(f"id = 'foreign-{number}'")
            mine.discard(number)
    except CommitFailedError:
        conflicts += 1
    number += 2
    time.sleep(0.2)
maintaining.wait()
errors = [process.stderr.read().decode() for process in running if process.wait() != 0]
print(
    json.dumps(
        {
            "stale_delete_refused": refused,
            "stale_delete_is_right": stale_is_right,
            "stale_optimize_refused": optimize_refused,
            "stale_optimize_is_right": optimize_is_right,
            "deleted": None if refused else victim,
            "conflicts": conflicts,
            "optimizes": optimizes,
            "errors": errors,
            "mine": sorted((f"foreign-{n}", n) for n in mine),
            "held": held(),
            "version": deltalake.DeltaTable(table).version(),
        }
    )
)
