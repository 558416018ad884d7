"""Talks to the local Firehose as a producer does; prints what it found as JSON.

usage: firehose_conversation.py ENDPOINT STREAM"""

import json
import sys

import boto3
from botocore.config import Config

endpoint, stream = sys.argv[1:3]
client = boto3.client(
    "firehose",
    endpoint_url=endpoint,
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
    config=Config(retries={"max_attempts": 0}),
)


def refusal(call):
    try:
        call()
    except client.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
    return None


description = client.describe_delivery_stream(DeliveryStreamName=stream)["DeliveryStreamDescription"]
one = client.put_record(DeliveryStreamName=stream, Record={"Data": b'{"n": 0}\n'})
records = [{"Data": json.dumps({"n": n}).encode()} for n in range(1, 501)]
many = client.put_record_batch(DeliveryStreamName=stream, Records=records)
ids = [one["RecordId"]] + [response["RecordId"] for response in many["RequestResponses"]]
print(
    json.dumps(
        {
            "listed": client.list_delivery_streams()["DeliveryStreamNames"],
            "status": description["DeliveryStreamStatus"],
            "type": description["DeliveryStreamType"],
            "prefix": description["Destinations"][0]["ExtendedS3DestinationDescription"]["Prefix"],
            "failed": many["FailedPutCount"],
            "ids": len(set(ids)),
            "missing": refusal(lambda: client.put_record(DeliveryStreamName="nobody", Record={"Data": b"x"})),
            "too_many": refusal(lambda: client.put_record_batch(DeliveryStreamName=stream, Records=records + records)),
            "unserved": refusal(lambda: client.delete_delivery_stream(DeliveryStreamName=stream)),
        }
    )
)
