"""Lets the real Kinesis Client Library read a stream, in each mode at once, while the stream is written and a shard is
split; prints what each got as JSON.

usage: kcl.py KINESIS DYNAMODB JAVA FOLDER MODE...          the modes are POLLING and FANOUT"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import amazon_kclpy
import boto3
from botocore.config import Config

KINESIS, DYNAMODB, JAVA, FOLDER, *MODES = sys.argv[1:]
PATIENCE_S = 100
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
STREAM = "kcl-talk"
client = boto3.client(
    "kinesis",
    endpoint_url=KINESIS,
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
    config=Config(retries={"max_attempts": 0}),
)


class Daemon:
    """The library's daemon, as its users start it: a properties file and a program for the records."""

    def __init__(self, mode):
        self.mode, self.folder = mode, pathlib.Path(FOLDER) / mode.lower()
        self.folder.mkdir()
        self.witness, self.log = self.folder / "witness.jsonl", self.folder / "daemon.log"
        self.witness.touch()
        here = pathlib.Path(__file__).parent
        properties = {
            "executableName": f"{sys.executable} {here / 'kcl_processor.py'}",
            "streamName": STREAM,
            "applicationName": f"talk-{mode.lower()}",
            "AwsCredentialsProvider": "EnvironmentVariableCredentialsProvider",
            "initialPositionInStream": "TRIM_HORIZON",
            "regionName": "us-east-1",
            "kinesisEndpoint": KINESIS,
            "dynamoDBEndpoint": DYNAMODB,
            "retrievalMode": mode,
            "metricsLevel": "NONE",
            # One worker on one machine: the waits that make sense between many are only slow.
            "failoverTimeMillis": 3000,
            "leaseAssignmentIntervalMillis": 1000,
            "shardSyncIntervalMillis": 1000,
            "parentShardPollIntervalMillis": 500,
            "idleTimeBetweenReadsInMillis": 400,
            "disableWorkerMetrics": "true",
        }
        file = self.folder / "kcl.properties"
        file.write_text("".join(f"{name} = {value}\n" for name, value in properties.items()))
        logback = self.folder / "logback.xml"
        logback.write_text(
            '<configuration><appender name="C" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>'
            "%d{HH:mm:ss.SSS} %-5level %logger{20} - %msg%n%ex{8}</pattern></encoder></appender>"
            '<logger name="software.amazon.kinesis.leases.dynamodb.DynamoDBLeaseDiscoverer" level="WARN"/>'
            '<logger name="software.amazon.kinesis.coordinator.assignment" level="WARN"/>'
            '<root level="INFO"><appender-ref ref="C"/></root></configuration>'
        )
        jars = pathlib.Path(amazon_kclpy.__file__).parent / "jars"
        thrift = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-Xshare:auto"]
        main = ["software.amazon.kinesis.multilang.MultiLangDaemon"]
        self.process = subprocess.Popen(
            [JAVA, *thrift, "-cp", f"{jars}/*", *main, "--properties-file", file, "--log-configuration", logback],
            env={**os.environ, **KEYS, "KCL_WITNESS": str(self.witness)},
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def events(self):
        return [json.loads(line) for line in self.witness.read_text().splitlines()]

    def records(self):
        return [e for e in self.events() if e["event"] == "record"]

    def stop(self):
        """Asks it to end as its users do, and makes sure."""
        try:
            self.process.terminate()
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


put = []


def write(count):
    """Puts records one after another in small batches: number `n` says when it was put among its shard's."""
    for _ in range(count // 20):
        batch = [f"record-{len(put) + i}" for i in range(20)]
        answer = client.put_records(
            StreamName=STREAM, Records=[{"Data": d.encode(), "PartitionKey": f"key {d}"} for d in batch]
        )
        assert answer["FailedRecordCount"] == 0, answer
        put.extend((d, r["ShardId"], r["SequenceNumber"]) for d, r in zip(batch, answer["Records"]))
        time.sleep(0.05)


def wait_until(what, condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        for daemon in daemons:
            assert daemon.process.poll() is None, f"the {daemon.mode} daemon ended with {daemon.process.returncode}"
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.1)


started, began = time.monotonic(), time.time()
marks = {}


def mark(name):
    marks[name] = round(time.monotonic() - started, 1)


daemons = []
try:
    client.create_stream(StreamName=STREAM, ShardCount=2)
    client.get_waiter("stream_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    write(100)
    daemons = [Daemon(mode) for mode in MODES]
    wait_until("both read", lambda: all(len(d.records()) >= 50 for d in daemons))
    mark("reading")
    write(100)
    parent = client.list_shards(StreamName=STREAM)["Shards"][0]
    low, high = (int(parent["HashKeyRange"][end]) for end in ("StartingHashKey", "EndingHashKey"))
    client.split_shard(
        StreamName=STREAM, ShardToSplit=parent["ShardId"], NewStartingHashKey=str((low + high + 1) // 2)
    )
    write(100)
    client.get_waiter("stream_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    mark("split")
    write(100)
    wait_until("both have every record", lambda: all(len(d.records()) >= len(put) for d in daemons))
    mark("read")
    summary = client.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
    consumers = []
    if "FANOUT" in MODES:
        consumers = client.list_stream_consumers(StreamARN=summary["StreamARN"])["Consumers"]
    shards = client.list_shards(StreamName=STREAM)["Shards"]
    print(json.dumps({
        "put": [{"data": d, "shard": s, "sequence": n} for d, s, n in put],
        "parent": parent["ShardId"],
        "children": [s["ShardId"] for s in shards if s.get("ParentShardId") == parent["ShardId"]],
        "consumers": [[c["ConsumerName"], c["ConsumerStatus"]] for c in consumers],
        "seconds": marks,
        "clock": [began, time.time()],
        **{d.mode.lower(): d.events() for d in daemons},
    }))
except BaseException:
    for daemon in daemons:
        lines = daemon.log.read_text(errors="replace").splitlines()
        shown = [*lines[:40], "...", *lines[-120:]] if len(lines) > 160 else lines
        got = {e["shard"]: 0 for e in daemon.events()}
        for record in daemon.records():
            got[record["shard"]] += 1
        print(f"=== {daemon.mode}: {got} of {len(put)}", *shown, sep="\n", file=sys.stderr)
    raise
finally:
    for daemon in daemons:
        daemon.stop()
