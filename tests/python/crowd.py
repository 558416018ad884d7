"""Holds many connections open that say nothing, and some that stop in mid-request, while an application works.

usage: crowd.py ENDPOINT SERVER_PROCESS CONNECTIONS"""

import json
import resource
import socket
import sys
from urllib.parse import urlsplit

import boto3

endpoint, process, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
server_limit = next(line for line in open(f"/proc/{process}/limits") if line.startswith("Max open files")).split()[3]
count = min(wanted, hard - 100, int(server_limit) - 100)
address = (urlsplit(endpoint).hostname, urlsplit(endpoint).port)
client = boto3.client(
    "kinesis", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
)


def resident_bytes():
    line = next(line for line in open(f"/proc/{process}/status") if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def converse(name):
    """What an application does, over new connections."""
    client.create_stream(StreamName=name, ShardCount=1)
    client.get_waiter("stream_exists").wait(StreamName=name)
    client.put_records(StreamName=name, Records=[{"Data": b"x" * 100, "PartitionKey": "k"}] * 500)
    iterator = client.get_shard_iterator(
        StreamName=name, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return len(client.get_records(ShardIterator=iterator)["Records"])


alone = converse("alone")
before = resident_bytes()
crowd = []
for number in range(count):
    crowd.append(socket.create_connection(address, timeout=30))
    if number % 10 == 0:
        crowd[-1].sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Le")
client.close()
client = boto3.client(
    "kinesis", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
)
crowded = converse("crowded")
after = resident_bytes()
print(json.dumps({
    "connections": count, "alone": alone, "crowded": crowded, "bytes_each": max(0, after - before) // count
}))
