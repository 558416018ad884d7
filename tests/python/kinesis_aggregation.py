"""Puts records packed by AWS's aggregation library, as the Kinesis Producer Library packs them, and unpacks what it reads.

usage: kinesis_aggregation.py ENDPOINT STREAM"""

import base64
import json
import random
import sys

import boto3
from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import iter_deaggregate_records

client = boto3.client(
    "kinesis",
    endpoint_url=sys.argv[1],
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
)
stream = sys.argv[2]
packed = []


def put(record):
    key, hash_key, data = record.get_contents()
    hashed = {"ExplicitHashKey": hash_key} if hash_key else {}
    answer = client.put_record(StreamName=stream, Data=data, PartitionKey=key, **hashed)
    packed.append(answer["ShardId"])


noise = random.Random(5)
aggregator = RecordAggregator(20_000)
aggregator.on_record_complete(put, execute_on_new_thread=False)
users = [(f"user-{i}", noise.randbytes(noise.randrange(200))) for i in range(1_000)]
for key, data in users:
    aggregator.add_user_record(key, data)
put(aggregator.clear_and_get())

unpacked = []
for shard in client.list_shards(StreamName=stream)["Shards"]:
    iterator = client.get_shard_iterator(
        StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = client.get_records(ShardIterator=iterator)["Records"]
    unpacked += iter_deaggregate_records(records, data_format="Boto3")
got = sorted((r["kinesis"]["partitionKey"], base64.b64decode(r["kinesis"]["data"])) for r in unpacked)
print(json.dumps({"packed": len(packed), "shards": len(set(packed)), "unpacked": len(got), "same": got == sorted(users)}))
