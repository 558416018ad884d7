"""Compares a lake of JSON objects with the table made of it, record by record, with readers that have no part in Millrace:
Python's own gzip and json, and delta-rs for Python. Prints how many records and rows there are, and what differs.

usage: compacted.py LAKE TABLE KEY"""

import datetime
import gzip
import json
import pathlib
import sys

import deltalake
import polars

lake, table, key = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]

records = []
decoder = json.JSONDecoder()
for path in sorted(p for p in lake.rglob("*") if p.is_file()):
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8")
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        record, at = decoder.raw_decode(text, at)
        records.append(record)

delta = deltalake.DeltaTable(table)
rows = polars.read_delta(table).to_dicts()


def same(value, cell):
    """Whether a JSON value is what the table's cell holds."""
    if value is None or cell is None:
        return value is None and cell is None
    if isinstance(cell, datetime.datetime):
        moment = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
        return moment.replace(tzinfo=moment.tzinfo or datetime.timezone.utc) == cell
    if isinstance(cell, str) and not isinstance(value, str):
        return json.loads(cell) == value
    if isinstance(cell, dict):
        known = all(same(value.get(name), inside) for name, inside in cell.items())
        return known and all(name in cell or inside is None for name, inside in value.items())
    if isinstance(cell, list):
        return len(cell) == len(value) and all(map(same, value, cell))
    return type(value) is not bool and cell == value or value is cell


differences = []
by_key = {str(row[key]): row for row in rows}
assert len(by_key) == len(rows), f"{key} is not unique"
missing = 0
for record in records:
    row = by_key.get(str(record[key]))
    if row is None:
        missing += 1
        continue
    for name in sorted(record.keys() | row.keys()):
        if not same(record.get(name), row.get(name)):
            value, cell = str(record.get(name))[:200], str(row.get(name))[:200]
            differences.append({"key": str(record[key]), "name": name, "value": value, "cell": cell})
print(
    json.dumps(
        {
            "records": len(records),
            "rows": len(rows),
            "missing": missing,
            "differences": len(differences),
            "first": differences[:3],
            "protocol": [delta.protocol().min_reader_version, delta.protocol().min_writer_version],
        }
    )
)
