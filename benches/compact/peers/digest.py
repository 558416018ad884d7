"""What an engine wrote, told by someone else: the number of rows and a sum over the hashes of all their values, which does
not depend on their order. Partition columns that only repeat another column are left out.
usage: digest.py SHAPE FOLDER   (a folder with _delta_log is read as a Delta table, another as Parquet files)"""
import os, sys
import duckdb

COLUMNS = {
    "sensors": ["sensor_id", "timestamp", "temperature", "humidity", "pressure", "seq", "n"],
    "weather": ["city", "temperature", "measurement_time", "source", "collection_time", "first_collection_time", "last_collection_time", "collection_count"],
    "nested": ["id", "ts", "type", "user", "tags", "ok", "status", "latency_ms", "bytes_in", "bytes_out", "host", "path", "lat", "lon", "note", "seq"],
    # Not the payload: Polars writes line breaks in its strings as they are, which is no JSON any more.
    "gharchive": ["id", "type", "actor", "repo", "public", "created_at", "org"],
}
# Text that is JSON may be written with other blanks.
JSON = {"nested": ["user", "tags"], "gharchive": ["actor", "repo", "org"]}
shape, folder = sys.argv[1:]
c = duckdb.connect()
c.execute("SET TimeZone='UTC'")
if os.path.isdir(f"{folder}/_delta_log"):
    from deltalake import DeltaTable
    rows = DeltaTable(folder).to_pyarrow_dataset()
    c.register("rows", rows)
else:
    c.execute(f"CREATE VIEW rows AS SELECT * FROM read_parquet('{folder}/**/*.parquet', hive_partitioning=false)")
kinds = {name: kind for name, kind, *_ in c.execute("DESCRIBE rows").fetchall()}


def plain(name):
    """The value as every engine has it, whatever type it chose."""
    if kinds[name].startswith("TIMESTAMP"):
        return f"epoch_us(\"{name}\")"
    if name in JSON.get(shape, []):
        return f"json(\"{name}\"::VARCHAR)::VARCHAR"
    if kinds[name] == "BLOB":
        return f"\"{name}\"::VARCHAR"
    return f"\"{name}\""


values = ", ".join(plain(name) for name in COLUMNS[shape])
print(*c.execute(f"SELECT count(*), sum(hash({values})::HUGEINT) FROM rows").fetchone())
