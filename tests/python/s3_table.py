"""Reads a lake and a Delta table on S3 with boto3, delta-rs for Python and Polars; prints JSON.

usage: s3_table.py ENDPOINT BUCKET LAKE_PREFIX TABLE_PREFIX"""

import gzip
import json
import sys

import boto3
import deltalake
import polars

endpoint, bucket, lake, table = sys.argv[1:5]
s3 = boto3.client(
    "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
)
pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=lake)
keys = [o["Key"] for page in pages for o in page.get("Contents", [])]
lines = 0
for key in keys:
    lines += gzip.decompress(s3.get_object(Bucket=bucket, Key=key)["Body"].read()).count(b"\n")
options = {
    "AWS_ENDPOINT_URL": endpoint,
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_ALLOW_HTTP": "true",
}
delta = deltalake.DeltaTable(f"s3://{bucket}/{table}", storage_options=options)
rows = polars.read_delta(f"s3://{bucket}/{table}", storage_options=options).height
print(json.dumps({"objects": len(keys), "lines": lines, "rows": rows, "version": delta.version()}))
