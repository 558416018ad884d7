"""Polars, streaming: gzip JSON -> one row a key -> zstd Parquet by partition.
usage: polars_engine.py SHAPE LAKE OUT"""
import sys
import polars as pl

shape, lake, out = sys.argv[1:]
TEXT, WHOLE, NUMBER, TRUTH = pl.String, pl.Int64, pl.Float64, pl.Boolean
COLUMNS = {
    "sensors": {"sensor_id": TEXT, "timestamp": TEXT, "temperature": NUMBER, "humidity": NUMBER, "pressure": NUMBER, "seq": WHOLE},
    "weather": {"city": TEXT, "temperature": NUMBER, "measurement_time": TEXT, "collection_time": TEXT, "source": TEXT},
    "nested": {
        "id": TEXT, "ts": TEXT, "type": TEXT, "user": TEXT, "tags": TEXT, "ok": TRUTH, "status": WHOLE, "latency_ms": NUMBER,
        "bytes_in": WHOLE, "bytes_out": WHOLE, "host": TEXT, "path": TEXT, "lat": NUMBER, "lon": NUMBER, "note": TEXT, "seq": WHOLE,
    },
    "gharchive": {
        "id": TEXT, "type": TEXT, "actor": TEXT, "repo": TEXT, "payload": TEXT, "public": TRUTH, "created_at": TEXT, "org": TEXT,
    },
}


def time(column, form):
    return pl.col(column).str.to_datetime(form, time_unit="us")


def hour(column):
    return pl.col(column).dt.strftime("%Y-%m-%d-%H").alias("part")


rows = pl.scan_ndjson(f"{lake}/**/*.gz", schema=COLUMNS[shape])
if shape == "sensors":
    rows = rows.with_columns(time("timestamp", "%Y-%m-%dT%H:%M:%S%.f"))
    rows = rows.group_by("sensor_id", "timestamp").agg(pl.col("temperature", "humidity", "pressure", "seq").first(), pl.len().alias("n"))
    rows = rows.with_columns(hour("timestamp"))
elif shape == "weather":
    rows = rows.with_columns(time("measurement_time", "%Y-%m-%dT%H:%M"), time("collection_time", "%Y-%m-%dT%H:%M:%S%.f"))
    polled = pl.col("collection_time")
    rows = rows.group_by("city", "temperature", "measurement_time", "source").agg(
        polled.min(), polled.min().alias("first_collection_time"), polled.max().alias("last_collection_time"), pl.len().alias("collection_count"))
    rows = rows.with_columns(pl.col("city").alias("part"))
else:
    moment, form = ("ts", "%Y-%m-%dT%H:%M:%S%.fZ") if shape == "nested" else ("created_at", "%Y-%m-%dT%H:%M:%SZ")
    rows = rows.with_columns(time(moment, form)).group_by("id", moment).agg(pl.all().first()).with_columns(hour(moment))
rows.sink_parquet(pl.PartitionBy(out, key="part", include_key=False), compression="zstd", mkdir=True)
print("polars", pl.__version__)
