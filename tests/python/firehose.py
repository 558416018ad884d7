"""Makes a delivery stream and its bucket at a Firehose stand-in, or gives what it has landed; prints JSON.

usage: firehose.py ENDPOINT create|landed STREAM BUCKET"""

import base64
import json
import sys

import boto3

endpoint, verb, stream, bucket = sys.argv[1:5]


def client(service):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


s3 = client("s3")
if verb == "create":
    s3.create_bucket(Bucket=bucket)
    made = client("firehose").create_delivery_stream(
        DeliveryStreamName=stream,
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/any",
            "BucketARN": f"arn:aws:s3:::{bucket}",
        },
    )
    print(json.dumps({"arn": made["DeliveryStreamARN"]}))
else:
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    bodies = [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]
    print(json.dumps({"objects": [base64.b64encode(body).decode() for body in bodies]}))
