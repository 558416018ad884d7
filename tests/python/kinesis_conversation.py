"""Talks to a Kinesis endpoint with boto3 as an application would, and prints what it saw as JSON.

usage: kinesis_conversation.py ENDPOINT [AUTHORITY]"""

import collections
import hashlib
import json
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

client = boto3.client(
    "kinesis",
    endpoint_url=sys.argv[1],
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
    config=Config(retries={"max_attempts": 0}),
    verify=sys.argv[2] if len(sys.argv) > 2 else None,
)
seen = {}


def code_of(call, **arguments):
    try:
        call(**arguments)
        return None
    except ClientError as error:
        return error.response["Error"]["Code"]


def patiently(call, **arguments):
    """A shard answers five reads a second; like any consumer, wait and ask again."""
    while True:
        try:
            return call(**arguments)
        except client.exceptions.ProvisionedThroughputExceededException:
            seen["throttled_reads"] = seen.get("throttled_reads", 0) + 1
            time.sleep(0.25)


def drain(shard, **start):
    iterator = patiently(client.get_shard_iterator, StreamName="talk", ShardId=shard, **start)["ShardIterator"]
    records = []
    while True:
        answer = patiently(client.get_records, ShardIterator=iterator, Limit=500)
        records += answer["Records"]
        iterator = answer["NextShardIterator"]
        if not answer["Records"] and answer["MillisBehindLatest"] == 0:
            return records


client.create_stream(StreamName="talk", ShardCount=3)
client.get_waiter("stream_exists").wait(StreamName="talk", WaiterConfig={"Delay": 1, "MaxAttempts": 10})
seen["again"] = code_of(client.create_stream, StreamName="talk", ShardCount=3)
seen["summary"] = client.describe_stream_summary(StreamName="talk")["StreamDescriptionSummary"]["OpenShardCount"]
shards = client.list_shards(StreamName="talk")["Shards"]
bounds = [(int(s["HashKeyRange"]["StartingHashKey"]), int(s["HashKeyRange"]["EndingHashKey"])) for s in shards]
seen["covers"] = bounds[0][0] == 0 and bounds[-1][1] == 2**128 - 1
seen["covers"] &= all(a[1] + 1 == b[0] for a, b in zip(bounds, bounds[1:]))

keys = [f"key-{i}" for i in range(300)]
answer = client.put_records(
    StreamName="talk", Records=[{"Data": k.encode(), "PartitionKey": k} for k in keys]
)
seen["failed"] = answer["FailedRecordCount"]


def expected(key):
    number = int.from_bytes(hashlib.md5(key.encode()).digest(), "big")
    return next(s["ShardId"] for s, (low, high) in zip(shards, bounds) if low <= number <= high)


seen["routed"] = all(r["ShardId"] == expected(k) for k, r in zip(keys, answer["Records"]))
first = client.put_record(StreamName="talk", Data=b"one", PartitionKey="x", ExplicitHashKey="0")
seen["explicit"] = first["ShardId"] == shards[0]["ShardId"]

read = {s["ShardId"]: drain(s["ShardId"], ShardIteratorType="TRIM_HORIZON") for s in shards}
seen["read"] = collections.Counter(r["Data"].decode() for rs in read.values() for r in rs) == collections.Counter(
    [*keys, "one"]
)
seen["ordered"] = all(
    [int(r["SequenceNumber"]) for r in rs] == sorted(int(r["SequenceNumber"]) for r in rs) for rs in read.values()
)
shard, records = shards[1]["ShardId"], read[shards[1]["ShardId"]]
middle = records[len(records) // 2]
at = drain(shard, ShardIteratorType="AT_SEQUENCE_NUMBER", StartingSequenceNumber=middle["SequenceNumber"])
after = drain(shard, ShardIteratorType="AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=middle["SequenceNumber"])
seen["at"] = [r["Data"] for r in at] == [r["Data"] for r in records[len(records) // 2 :]]
seen["after"] = [r["Data"] for r in after] == [r["Data"] for r in records[len(records) // 2 + 1 :]]
stamp = drain(shards[2]["ShardId"], ShardIteratorType="AT_TIMESTAMP", Timestamp=records[0]["ApproximateArrivalTimestamp"])
seen["timestamp"] = len(stamp) == len(read[shards[2]["ShardId"]])
latest = patiently(
    client.get_shard_iterator, StreamName="talk", ShardId=shard, ShardIteratorType="LATEST"
)["ShardIterator"]
low = client.list_shards(StreamName="talk")["Shards"][1]["HashKeyRange"]["StartingHashKey"]
client.put_record(StreamName="talk", Data=b"late", PartitionKey="x", ExplicitHashKey=low)
seen["latest"] = [r["Data"].decode() for r in patiently(client.get_records, ShardIterator=latest)["Records"]]

burst = [{"Data": b"x", "PartitionKey": "hot"}] * 500
codes = collections.Counter()
for _ in range(6):
    for record in client.put_records(StreamName="talk", Records=burst)["Records"]:
        codes[record.get("ErrorCode", "accepted")] += 1
seen["burst"] = dict(codes)
seen["too_many"] = code_of(client.put_records, StreamName="talk", Records=burst + burst[:1])
seen["missing"] = code_of(client.put_record, StreamName="nowhere", Data=b"x", PartitionKey="x")
seen["bad_iterator"] = code_of(client.get_records, ShardIterator="AAAA")
client.delete_stream(StreamName="talk")
client.get_waiter("stream_not_exists").wait(StreamName="talk", WaiterConfig={"Delay": 1, "MaxAttempts": 10})
print(json.dumps(seen))
