"""Sums the intervals of HdrHistogram interval logs per tag, with HdrHistogram's own Python port, and prints JSON.

usage: hlog.py LOG..."""

import json
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

MAX_US = 86_400_000_000
totals = {}
for path in sys.argv[1:]:
    reader = HistogramLogReader(path, HdrHistogram(1, MAX_US, 3))
    while True:
        interval = reader.get_next_interval_histogram()
        if interval is None:
            break
        total = totals.setdefault(interval.get_tag(), HdrHistogram(1, MAX_US, 3))
        total.add(interval)
    reader.close()
print(
    json.dumps(
        {
            tag: {
                "count": h.get_total_count(),
                "max": h.get_max_value(),
                "p50": h.get_value_at_percentile(50),
                "p90": h.get_value_at_percentile(90),
                "p99": h.get_value_at_percentile(99),
            }
            for tag, h in totals.items()
        }
    )
)
