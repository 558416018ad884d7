"""Sums the intervals of HdrHistogram interval logs per tag, with HdrHistogram's own Python port, and prints JSON.

usage: hlog.py LOG..."""

import json
import math
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

MAX_US = 86_400_000_000


def percentile(histogram, percent):
    """The smallest value that at least this many of a hundred are not above. The port's own rounds the count to the
    nearest, so that its answer may be one record short."""
    wanted = math.ceil(percent * histogram.get_total_count() / 100)
    for item in histogram.get_recorded_iterator():
        if item.total_count_to_this_value >= wanted:
            return histogram.get_highest_equivalent_value(item.value_iterated_to)
    return 0


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
                "p50": percentile(h, 50),
                "p90": percentile(h, 90),
                "p99": percentile(h, 99),
            }
            for tag, h in totals.items()
        }
    )
)
