"""DuckDB: gzip JSON -> one row a key -> zstd Parquet by partition.
usage: duckdb_engine.py SHAPE LAKE OUT"""
import sys
import duckdb

shape, lake, out = sys.argv[1:]


def source(columns, options=""):
    return f"read_json('{lake}/**/*.gz', format='newline_delimited', compression='gzip', columns={{{columns}}}{options})"


SENSORS = f"""
  SELECT sensor_id, timestamp, any_value(temperature) temperature, any_value(humidity) humidity,
         any_value(pressure) pressure, any_value(seq) seq, count(*) n, strftime(timestamp, '%Y-%m-%d-%H') part
  FROM {source("sensor_id:'VARCHAR', timestamp:'TIMESTAMP', temperature:'DOUBLE', humidity:'DOUBLE', pressure:'DOUBLE', seq:'BIGINT'")}
  GROUP BY sensor_id, timestamp"""

WEATHER = f"""
  SELECT city, temperature, measurement_time, source, min(collection_time) collection_time,
         min(collection_time) first_collection_time, max(collection_time) last_collection_time,
         count(*) collection_count, city part
  FROM {source("city:'VARCHAR', temperature:'DOUBLE', measurement_time:'TIMESTAMP', collection_time:'TIMESTAMP', source:'VARCHAR'", ", hive_partitioning=false")}
  GROUP BY city, temperature, measurement_time, source"""

NESTED_COLUMNS = {
    "ts": "TIMESTAMP", "type": "VARCHAR", "user": "JSON", "tags": "JSON", "ok": "BOOLEAN", "status": "BIGINT",
    "latency_ms": "DOUBLE", "bytes_in": "BIGINT", "bytes_out": "BIGINT", "host": "VARCHAR", "path": "VARCHAR",
    "lat": "DOUBLE", "lon": "DOUBLE", "note": "VARCHAR", "seq": "BIGINT",
}
EVENT_COLUMNS = {
    "type": "VARCHAR", "actor": "JSON", "repo": "JSON", "payload": "JSON", "public": "BOOLEAN",
    "created_at": "TIMESTAMP", "org": "JSON",
}


def by_key(columns, time):
    """One row for each id and time. Rows that come twice are copies, so any of them will do. JSON is written as text."""
    picked = ", ".join(
        f"any_value(\"{name}\"){'::VARCHAR' if kind == 'JSON' else ''} \"{name}\"" for name, kind in columns.items() if name != time)
    read = ", ".join(f"\"{name}\":'{kind}'" for name, kind in {"id": "VARCHAR", **columns}.items())
    return f"SELECT id, {time}, {picked}, strftime({time}, '%Y-%m-%d-%H') part FROM {source(read)} GROUP BY id, {time}"


query = {
    "sensors": lambda: SENSORS,
    "weather": lambda: WEATHER,
    "nested": lambda: by_key(NESTED_COLUMNS, "ts"),
    "gharchive": lambda: by_key(EVENT_COLUMNS, "created_at"),
}[shape]()
c = duckdb.connect()
c.execute("SET threads=2; SET preserve_insertion_order=false")
c.execute(f"COPY ({query}) TO '{out}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (part))")
print("duckdb", duckdb.__version__)
