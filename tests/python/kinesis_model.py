"""Walks through AWS's own model of the service, as botocore carries it: breaks every bound of every member of every
operation, and looks whether the answers of a tour through all operations are what the model promises.

usage: kinesis_model.py ENDPOINT          prints what was tried, and every difference, as JSON"""

import base64
import gzip
import http.client
import json
import pathlib
import re
import sys
import time
from urllib.parse import urlsplit

import boto3
import botocore
from botocore.config import Config
from botocore.eventstream import EventStream

ENDPOINT = sys.argv[1]
MODEL = json.load(gzip.open(pathlib.Path(botocore.__file__).parent / "data/kinesis/2013-12-02/service-2.json.gz"))
SHAPES, OPERATIONS = MODEL["shapes"], MODEL["operations"]
ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/nowhere"
# Good values where a bound alone does not say what is good. Nothing of this exists: a call whose bad member went
# unnoticed is answered "not found".
GOOD = {
    "ChannelARN": ARN,
    "ConsumerARN": f"{ARN}/consumer/none:1700000000",
    "ConsumerName": "none",
    "HashKey": "0",
    "KeyId": "alias/aws/kinesis",
    "Policy": "{}",
    "ResourceARN": ARN,
    "SequenceNumber": "0",
    "ShardIteratorType": "LATEST",
    "ShardId": "shardId-000000000000",
    "StreamARN": ARN,
    "StreamId": "abcdefghij0123456789-abc",
    "StreamName": "nowhere",
    "Timestamp": 1.0,
}
STATEMENT = {
    "Effect": "Allow", "Principal": {"AWS": "000000000001"}, "Action": ["kinesis:DescribeStreamSummary"], "Resource": ARN
}
NEAREST = ["x", "none", "0", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
STRANGE = ["!", " ", "é!", "!!!!!!!!!!!!!!!!!!!!!!!!!!!!", "01x"]
MOST_BYTES = 1 << 20
connection = http.client.HTTPConnection(urlsplit(ENDPOINT).netloc, timeout=60)


def matches(shape, text):
    pattern = shape.get("pattern")
    return pattern is None or re.fullmatch(pattern.replace("\\p{L}\\p{Z}\\p{N}", "\\w\\s"), text) is not None


def good(name):
    """A value within every bound of a shape."""
    shape = SHAPES[name]
    if name in GOOD:
        return GOOD[name]
    match shape["type"]:
        case "string" if "enum" in shape:
            return shape["enum"][0]
        case "string":
            fits = lambda text: shape.get("min", 0) <= len(text) and matches(shape, text)
            found = next(filter(fits, NEAREST), None)
            assert found is not None, f"{name} needs a good value: {shape}"
            return found
        case "integer" | "long":
            return max(1, shape.get("min", 1))
        case "double" | "float" | "timestamp":
            return 1.0
        case "boolean":
            return False
        case "blob":
            return base64.b64encode(b"x").decode()
        case "list":
            return [good(shape["member"]["shape"])] * max(1, shape.get("min", 1))
        case "map":
            return {good(shape["key"]["shape"]): good(shape["value"]["shape"])}
        case "structure":
            return {m: good(shape["members"][m]["shape"]) for m in shape.get("required", [])}
    raise ValueError(f"{name} is a {shape['type']}")


def bad(name):
    """Values outside a bound of a shape, each with what is wrong about it, and whether it is the type itself."""
    shape = SHAPES[name]
    kind, low, high = shape["type"], shape.get("min"), shape.get("max")
    yield "type", ("x" if kind in ("list", "map", "structure") else {"x": 1}), True
    if kind == "string":
        if low and matches({**shape, "pattern": None}, ""):
            yield "shorter", "", False
        if high and high < MOST_BYTES:
            yield "longer", good(name)[:1].ljust(high + 1, "a"), False
        if "enum" in shape:
            yield "enum", "NOT_ONE_OF_THEM", False
        elif "pattern" in shape:
            fits = lambda text: (low or 0) <= len(text) <= (high or 1e9) and not matches(shape, text)
            yield from (("pattern", text, False) for text in STRANGE if fits(text))
    elif kind in ("integer", "long"):
        if low is not None:
            yield "less", low - 1, False
        if high is not None:
            yield "more", high + 1, False
    elif kind == "blob" and high and high < MOST_BYTES:
        yield "longer", base64.b64encode(bytes(high + 1)).decode(), False
    elif kind == "list":
        one = good(shape["member"]["shape"])
        if low:
            yield "fewer", [one] * (low - 1), False
        if high and high < 10_000:
            yield "more", [one] * (high + 1), False
        for what, value, of_type in bad(shape["member"]["shape"]):
            yield f"[0] {what}", [value, *([one] * ((low or 1) - 1))], of_type
    elif kind == "map":
        value = good(shape["value"]["shape"])
        if low:
            yield "fewer", {}, False
        if high:
            yield "more", {f"k{i}": value for i in range(high + 1)}, False
        for what, key, of_type in bad(shape["key"]["shape"]):
            if not of_type:
                yield f"key {what}", {key: value}, False
        for what, value, of_type in bad(shape["value"]["shape"]):
            yield f"value {what}", {"k": value}, of_type
    elif kind == "structure":
        whole = good(name)
        for member in shape.get("required", []):
            yield f"without {member}", {m: v for m, v in whole.items() if m != member}, False
        for member, reference in shape["members"].items():
            for what, value, of_type in bad(reference["shape"]):
                yield f"{member} {what}", {**whole, member: value}, of_type


def call(operation, body):
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"Kinesis_20131202.{operation}"}
    connection.request("POST", "/", json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    try:
        return answer.status, json.loads(text or b"{}")
    except ValueError:
        return answer.status, {"__type": text[:80].decode(errors="replace")}


def break_every_bound():
    tried, differences, unserved = 0, [], []
    for operation, facts in OPERATIONS.items():
        input_shape = facts["input"]["shape"]
        named = {m: GOOD[s["shape"]] for m, s in SHAPES[input_shape]["members"].items() if m == "StreamName"}
        status, answer = call(operation, {})
        if answer.get("__type") == "UnknownOperationException":
            unserved.append(operation)
            continue
        modelled = {e["shape"] for e in facts.get("errors", [])}
        for what, body, of_type in bad(input_shape):
            if not isinstance(body, dict):
                continue
            tried += 1
            status, answer = call(operation, {**named, **body})
            code = answer.get("__type", "no error")
            wanted = {"SerializationException"} if of_type else {"ValidationException", "InvalidArgumentException"}
            if status != 400 or code not in wanted:
                differences.append(f"{operation}: {what}: {status} {code}: {answer.get('message', '')[:120]}")
            elif not of_type and code not in modelled | {"ValidationException"}:
                differences.append(f"{operation}: {what}: {code} is not an error of this operation")
    return tried, differences, unserved


def check(shape_name, value, place):
    """Whether a parsed answer keeps what its shape says."""
    shape = SHAPES[shape_name]
    if isinstance(value, EventStream):
        return
    if shape["type"] == "structure":
        for member in shape.get("required", []):
            if member not in value:
                yield f"{place}: no {member}"
        for member, inner in value.items():
            if member in shape["members"]:
                yield from check(shape["members"][member]["shape"], inner, f"{place}.{member}")
            elif member != "ResponseMetadata":
                yield f"{place}: {member} is not in the model"
    elif shape["type"] == "list":
        for inner in value:
            yield from check(shape["member"]["shape"], inner, f"{place}[]")
    elif shape["type"] == "string":
        if "enum" in shape and value not in shape["enum"]:
            yield f"{place}: {value!r} is not one of {shape['enum']}"
        if not matches(shape, value) or not shape.get("min", 0) <= len(value) <= shape.get("max", 1 << 40):
            yield f"{place}: {value!r} is out of bounds"
    elif place == "PutRecords.FailedRecordCount":
        return  # The model says "at least 1" of it; AWS itself says 0 when no record failed.
    elif shape["type"] in ("integer", "long") and not shape.get("min", value) <= value <= shape.get("max", value):
        yield f"{place}: {value} is out of bounds"


def tour(served):
    """Every operation once or more, as it succeeds; botocore itself reads the answers."""
    differences, seen = [], set()

    def look(parsed, model, **_):
        seen.add(model.name)
        if model.output_shape is not None and "Error" not in parsed:
            differences.extend(check(model.output_shape.name, parsed, model.name))

    client = boto3.client(
        "kinesis",
        endpoint_url=ENDPOINT,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}, parameter_validation=True),
    )
    client.meta.events.register("after-call.kinesis.*", look)
    name = {"StreamName": "tour"}
    client.create_stream(ShardCount=2, Tags={"made": "here"}, **name)
    client.get_waiter("stream_exists").wait(**name)
    arn = {"StreamARN": client.describe_stream(**name)["StreamDescription"]["StreamARN"]}
    resource = {"ResourceARN": arn["StreamARN"]}
    first = client.put_record(Data=b"x", PartitionKey="k", **name)
    client.put_records(Records=[{"Data": b"x", "PartitionKey": f"k{i}"} for i in range(10)], **name)
    start = {"ShardId": first["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
    iterator = client.get_shard_iterator(**name, **start)["ShardIterator"]
    client.get_records(ShardIterator=iterator)
    steps = {
        "DescribeStreamSummary": lambda: client.describe_stream_summary(**name),
        "ListStreams": lambda: client.list_streams(),
        "ListShards": lambda: client.list_shards(**name),
        "DescribeLimits": lambda: client.describe_limits(),
        "AddTagsToStream": lambda: client.add_tags_to_stream(Tags={"a": "b"}, **name),
        "ListTagsForStream": lambda: client.list_tags_for_stream(**name),
        "RemoveTagsFromStream": lambda: client.remove_tags_from_stream(TagKeys=["a"], **name),
        "TagResource": lambda: client.tag_resource(Tags={"c": "d"}, **resource),
        "ListTagsForResource": lambda: client.list_tags_for_resource(**resource),
        "UntagResource": lambda: client.untag_resource(TagKeys=["c"], **resource),
        "IncreaseStreamRetentionPeriod": lambda: client.increase_stream_retention_period(
            RetentionPeriodHours=48, **name
        ),
        "DecreaseStreamRetentionPeriod": lambda: client.decrease_stream_retention_period(
            RetentionPeriodHours=24, **name
        ),
        "EnableEnhancedMonitoring": lambda: client.enable_enhanced_monitoring(ShardLevelMetrics=["ALL"], **name),
        "DisableEnhancedMonitoring": lambda: client.disable_enhanced_monitoring(
            ShardLevelMetrics=["IncomingBytes"], **name
        ),
        "StartStreamEncryption": lambda: client.start_stream_encryption(
            EncryptionType="KMS", KeyId="alias/aws/kinesis", **name
        ),
        "StopStreamEncryption": lambda: client.stop_stream_encryption(
            EncryptionType="KMS", KeyId="alias/aws/kinesis", **name
        ),
        "PutResourcePolicy": lambda: client.put_resource_policy(
            Policy=json.dumps({"Version": "2012-10-17", "Statement": [STATEMENT]}), **resource
        ),
        "GetResourcePolicy": lambda: client.get_resource_policy(**resource),
        "DeleteResourcePolicy": lambda: client.delete_resource_policy(**resource),
        "UpdateMaxRecordSize": lambda: client.update_max_record_size(MaxRecordSizeInKiB=2048, **arn),
        "DescribeAccountSettings": lambda: client.describe_account_settings(),
        "UpdateAccountSettings": lambda: client.update_account_settings(
            MinimumThroughputBillingCommitment={"Status": "ENABLED"}
        ),
        "SplitShard": lambda: client.split_shard(
            ShardToSplit="shardId-000000000000", NewStartingHashKey="1000", **name
        ),
        "MergeShards": lambda: client.merge_shards(
            ShardToMerge="shardId-000000000002", AdjacentShardToMerge="shardId-000000000003", **name
        ),
        "UpdateShardCount": lambda: client.update_shard_count(
            TargetShardCount=4, ScalingType="UNIFORM_SCALING", **name
        ),
        "RegisterStreamConsumer": lambda: client.register_stream_consumer(ConsumerName="one", **arn),
        "DescribeStreamConsumer": lambda: client.describe_stream_consumer(ConsumerName="one", **arn),
        "ListStreamConsumers": lambda: client.list_stream_consumers(**arn),
        "SubscribeToShard": lambda: client.subscribe_to_shard(
            ConsumerARN=client.describe_stream_consumer(ConsumerName="one", **arn)["ConsumerDescription"][
                "ConsumerARN"
            ],
            ShardId="shardId-000000000001",
            StartingPosition={"Type": "TRIM_HORIZON"},
        )["EventStream"].close(),
        "DeregisterStreamConsumer": lambda: client.deregister_stream_consumer(ConsumerName="one", **arn),
        "UpdateStreamMode": lambda: client.update_stream_mode(StreamModeDetails={"StreamMode": "ON_DEMAND"}, **arn),
        "UpdateStreamWarmThroughput": lambda: client.update_stream_warm_throughput(WarmThroughputMiBps=8, **arn),
        "UpdateStreamRecordDistributionStrategy": lambda: client.update_stream_record_distribution_strategy(
            RecordDistributionStrategy="AUTO", **arn
        ),
        "DeleteStream": lambda: client.delete_stream(EnforceConsumerDeletion=True, **name),
    }
    for operation, step in steps.items():
        if operation not in served:
            continue
        try:
            if operation != "DeleteStream":
                client.get_waiter("stream_exists").wait(**name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
            step()
        except Exception as error:
            differences.append(f"{operation}: {error}")
    differences.extend(f"{operation} was not tried" for operation in served if operation not in seen)
    return sorted(set(differences))


tried, differences, unserved = break_every_bound()
served = [operation for operation in OPERATIONS if operation not in unserved]
print(json.dumps({
    "tried": tried,
    "bounds": differences,
    "served": served,
    "unserved": unserved,
    "answers": tour(served),
}))
