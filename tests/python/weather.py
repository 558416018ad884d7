"""Folds the weather lake with DuckDB and compares the result, row by row, with the table; prints JSON.

usage: weather.py LAKE TABLE"""

import json
import pathlib
import sys

import duckdb
import polars

lake = [str(p) for p in sorted(pathlib.Path(sys.argv[1]).rglob("*.gz"))]
KEY = ["city", "temperature", "measurement_time", "source"]
rows = duckdb.sql(
    f"""select city, temperature, measurement_time::timestamp as measurement_time, source,
               min(collection_time::timestamp) as first_collection_time, count(*) as collection_count
        from read_json({lake!r}, format='newline_delimited', compression='gzip', hive_partitioning=false,
             columns={{city: 'varchar', temperature: 'double', measurement_time: 'varchar',
                       collection_time: 'varchar', source: 'varchar'}})
        group by all"""
).fetchall()
folded = polars.DataFrame(rows, schema=[*KEY, "first_collection_time", "collection_count"], orient="row")
table = polars.read_delta(sys.argv[2]).with_columns(
    polars.col("measurement_time", "first_collection_time").dt.replace_time_zone(None)
)
columns = [*KEY, "first_collection_time", "collection_count"]
left = folded.select(columns).cast({"collection_count": polars.Int64}).sort(KEY)
right = table.select(columns).cast({"collection_count": polars.Int64}).sort(KEY)
different = left.join(right, on=columns, how="anti", nulls_equal=True).height
different += right.join(left, on=columns, how="anti", nulls_equal=True).height
print(
    json.dumps(
        {
            "folded": left.height,
            "rows": right.height,
            "different": different,
            "counted": right["collection_count"].sum(),
            "example": [str(v) for v in right.row(0)] if right.height else [],
        }
    )
)
