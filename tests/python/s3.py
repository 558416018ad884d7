"""Creates a bucket, or lists one, at an S3 endpoint; prints JSON.

usage: s3.py ENDPOINT create|list BUCKET"""

import json
import sys

import boto3

endpoint, verb, bucket = sys.argv[1:4]
s3 = boto3.client(
    "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
)
if verb == "create":
    s3.create_bucket(Bucket=bucket)
keys = [o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket) for o in page.get("Contents", [])]
print(json.dumps({"keys": keys}))
