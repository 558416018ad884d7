"""A record processor of the Kinesis Client Library that writes down what it is given.

It is started by the library's daemon, once for each shard it holds; the lines of all of them go to the end of one file,
so their order in it is the order in which they happened."""

import json
import os

from amazon_kclpy import kcl
from amazon_kclpy.v3 import processor


class Witness(processor.RecordProcessorBase):
    def note(self, event, **facts):
        with open(os.environ["KCL_WITNESS"], "a", buffering=1) as file:
            file.write(json.dumps({"shard": self.shard, "event": event, **facts}) + "\n")

    def initialize(self, initialize_input):
        self.shard = initialize_input.shard_id
        self.note("initialized")

    def process_records(self, process_records_input):
        for record in process_records_input.records:
            arrived = record.approximate_arrival_timestamp.timestamp()
            self.note("record", data=record.binary_data.decode(), sequence=record.sequence_number, arrived=arrived)
        process_records_input.checkpointer.checkpoint()

    def lease_lost(self, lease_lost_input):
        self.note("lost")

    def shard_ended(self, shard_ended_input):
        self.note("ended")
        shard_ended_input.checkpointer.checkpoint()

    def shutdown_requested(self, shutdown_requested_input):
        self.note("stopping")
        shutdown_requested_input.checkpointer.checkpoint()


if __name__ == "__main__":
    kcl.KCLProcess(Witness()).run()
