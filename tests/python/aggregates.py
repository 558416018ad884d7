"""Takes apart what another packed, and packs for another to take apart, with AWS's library for Python.

usage: aggregates.py FILE, where FILE holds {"blobs": [BASE64], "records": [[[KEY, HASH or null, BASE64]]]}

Prints for each blob the records in it, or null where the library takes it for a plain record; and for each list of records
the blobs it packs them to, of 51,200 bytes at most."""

import base64
import json
import sys

from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import iter_deaggregate_records

given = json.load(open(sys.argv[1]))


def unpack(blob):
    record = {
        "Data": base64.b64decode(blob),
        "PartitionKey": "p",
        "SequenceNumber": "1",
        "ApproximateArrivalTimestamp": 0,
    }
    users = [user["kinesis"] for user in iter_deaggregate_records([record], data_format="Boto3")]
    if [user.get("aggregated") for user in users] == [None]:
        return None
    return [[user["partitionKey"], user["explicitHashKey"], user["data"].decode()] for user in users]


def pack(records):
    blobs = []
    aggregator = RecordAggregator(51_200)
    aggregator.on_record_complete(lambda full: blobs.append(full.get_contents()[2]), execute_on_new_thread=False)
    for key, hash_key, data in records:
        aggregator.add_user_record(key, base64.b64decode(data), hash_key)
    last = aggregator.clear_and_get()
    if last:
        blobs.append(last.get_contents()[2])
    return [base64.b64encode(blob).decode() for blob in blobs]


unpacked = [unpack(blob) for blob in given["blobs"]]
print(json.dumps({"unpacked": unpacked, "packed": [pack(records) for records in given["records"]]}))
