"""chdb (ClickHouse in the process): gzip JSON -> one row a key -> zstd Parquet by partition.
usage: chdb_engine.py SHAPE LAKE OUT"""
import os, sys
import chdb

shape, lake, out = sys.argv[1:]
T, F, I, B, TIME = "String", "Float64", "Int64", "Bool", "DateTime64(6, 'UTC')"
COLUMNS = {
    "sensors": {"sensor_id": T, "timestamp": TIME, "temperature": F, "humidity": F, "pressure": F, "seq": I},
    "weather": {"city": T, "temperature": F, "measurement_time": TIME, "collection_time": TIME, "source": T},
    "nested": {
        "id": T, "ts": TIME, "type": T, "user": T, "tags": T, "ok": B, "status": I, "latency_ms": F, "bytes_in": I,
        "bytes_out": I, "host": T, "path": T, "lat": F, "lon": F, "note": T, "seq": I,
    },
    "gharchive": {
        "id": T, "type": T, "actor": T, "repo": T, "payload": T, "public": B, "created_at": TIME, "org": "Nullable(String)",
    },
}[shape]
structure = ", ".join(f"`{name}` {kind}" for name, kind in COLUMNS.items()).replace("'", "\\'")
source = f"file('{lake}/**/*.gz', 'JSONEachRow', '{structure}', 'gzip')"


def some(names):
    return ", ".join(f"any(`{name}`) AS `{name}`" for name in names)


if shape == "sensors":
    query = f"""SELECT sensor_id, timestamp, {some(["temperature", "humidity", "pressure", "seq"])}, toInt64(count()) AS n,
        formatDateTime(timestamp, '%Y-%m-%d-%H') AS part FROM {source} GROUP BY sensor_id, timestamp"""
elif shape == "weather":
    # A partition's name is a file's name here, and a file's name has no slash.
    query = f"""SELECT city, temperature, measurement_time, source, min(collection_time) AS collection, collection AS first_collection_time,
        max(collection_time) AS last_collection_time, toInt64(count()) AS collection_count, replaceAll(city, '/', '%2F') AS part
        FROM {source} GROUP BY city, temperature, measurement_time, source"""
    query = f"SELECT * EXCEPT collection, collection AS collection_time FROM ({query})"
else:
    moment = "ts" if shape == "nested" else "created_at"
    names = [name for name in COLUMNS if name not in ("id", moment)]
    picked = ", ".join(f"any(s.`{name}`) AS `{name}`" for name in names)
    query = f"SELECT s.id AS id, s.{moment} AS {moment}, {picked}, formatDateTime(s.{moment}, '%Y-%m-%d-%H') AS part FROM {source} AS s GROUP BY ALL"
os.makedirs(out)
chdb.query(f"""INSERT INTO FUNCTION file('{out}/{{_partition_id}}.parquet', 'Parquet') PARTITION BY part {query}
    SETTINGS max_threads=2, date_time_input_format='best_effort', use_hive_partitioning=0, input_format_json_read_objects_as_strings=1,
    input_format_json_read_arrays_as_strings=1, output_format_parquet_compression_method='zstd', input_format_skip_unknown_fields=1""")
print("chdb", chdb.__version__)
