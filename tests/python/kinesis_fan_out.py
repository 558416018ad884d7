"""Registers a consumer with boto3, subscribes to a shard, splits the shard meanwhile, and follows the children, as an
application of its own would; prints what it saw as JSON.

usage: kinesis_fan_out.py ENDPOINT STREAM          the stream has one shard"""

import collections
import json
import sys
import threading
import time

import boto3
from botocore.config import Config

client = boto3.client(
    "kinesis",
    endpoint_url=sys.argv[1],
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
    config=Config(retries={"max_attempts": 0}, max_pool_connections=20),
)
stream = sys.argv[2]
seen, put, lock = {}, [], threading.Lock()


def write(count):
    for _ in range(count):
        data = f"{len(put):04}"
        answer = client.put_record(StreamName=stream, Data=data.encode(), PartitionKey=f"key {data}")
        put.append((data, answer["ShardId"]))


def follow(consumer, shard, **start):
    """Reads a shard to its end, or until it has been quiet; gives its records and its children."""
    answer = client.subscribe_to_shard(ConsumerARN=consumer, ShardId=shard, StartingPosition=start)
    records, children = [], []
    for event in answer["EventStream"]:
        event = event["SubscribeToShardEvent"]
        records += event["Records"]
        children = event.get("ChildShards", [])
        with lock:
            following[shard] = following.get(shard, 0) + len(event["Records"])
        if children or (not event["Records"] and quiet.is_set()):
            break
    answer["EventStream"].close()
    return records, children


arn = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
consumer = client.register_stream_consumer(StreamARN=arn, ConsumerName="reader")["Consumer"]["ConsumerARN"]
while client.describe_stream_consumer(ConsumerARN=consumer)["ConsumerDescription"]["ConsumerStatus"] != "ACTIVE":
    time.sleep(0.1)
parent = client.list_shards(StreamName=stream)["Shards"][0]["ShardId"]
following, quiet, got = {}, threading.Event(), {}


def run(shard):
    got[shard] = follow(consumer, shard, Type="TRIM_HORIZON")


write(50)
reading = threading.Thread(target=run, args=(parent,))
reading.start()
while following.get(parent, 0) < 50:
    time.sleep(0.02)
write(50)
client.split_shard(StreamName=stream, ShardToSplit=parent, NewStartingHashKey=str(1 << 127))
write(50)
reading.join(60)
seen["ended"] = not reading.is_alive()
records, children = got[parent]
quiet.set()
threads = [threading.Thread(target=run, args=(child["ShardId"],)) for child in children]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(60)

wanted = collections.defaultdict(list)
for data, shard in put:
    wanted[shard].append(data)
read = {shard: [r["Data"].decode() for r in records] for shard, (records, _) in got.items()}
seen["same"] = read == dict(wanted)
seen["parents"] = [child["ParentShards"] for child in children] == [[parent], [parent]]
# To continue after any record gives what follows it. Another consumer, as one may subscribe to a shard once in five
# seconds.
for kind, skipped in (("AT_SEQUENCE_NUMBER", 30), ("AFTER_SEQUENCE_NUMBER", 31)):
    other = client.register_stream_consumer(StreamARN=arn, ConsumerName=kind)["Consumer"]["ConsumerARN"]
    again, _ = follow(other, parent, Type=kind, SequenceNumber=records[30]["SequenceNumber"])
    seen[kind] = [r["Data"] for r in again] == [r["Data"] for r in records[skipped:]]
other = client.register_stream_consumer(StreamARN=arn, ConsumerName="AT_TIMESTAMP")["Consumer"]["ConsumerARN"]
moment = records[50]["ApproximateArrivalTimestamp"]
again, _ = follow(other, parent, Type="AT_TIMESTAMP", Timestamp=moment)
seen["AT_TIMESTAMP"] = [r["Data"] for r in again] == [
    r["Data"] for r in records if r["ApproximateArrivalTimestamp"] >= moment
]
try:
    start = {"Type": "LATEST"}
    child = children[0]["ShardId"]
    client.subscribe_to_shard(ConsumerARN=other, ShardId=child, StartingPosition=start)
    client.subscribe_to_shard(ConsumerARN=other, ShardId=child, StartingPosition=start)
except client.exceptions.ResourceInUseException:
    seen["twice"] = "ResourceInUseException"
seen["consumers"] = sorted(c["ConsumerName"] for c in client.list_stream_consumers(StreamARN=arn)["Consumers"])
client.deregister_stream_consumer(ConsumerARN=consumer)
print(json.dumps(seen))
