"""Reads a quarantine table with delta-rs for Python and Polars; prints its rows as JSON, without the raw bytes' middle.

usage: quarantine.py TABLE"""

import json
import sys

import polars

rows = polars.read_delta(sys.argv[1]).sort("object", "line").to_dicts()
print(
    json.dumps(
        {
            "rows": [
                {
                    "object": row["object"],
                    "line": row["line"],
                    "offset": row["offset"],
                    "length": row["length"],
                    "reason": row["reason"],
                    "raw": bytes(row["raw"])[:40].decode("utf-8", "replace"),
                    "raw_bytes": len(row["raw"]),
                }
                for row in rows
            ]
        }
    )
)
