// Takes apart what another packed, and packs for another to take apart, with AWS's library for Node.
//
// usage: node aggregates.js FILE, where FILE holds {"blobs": [BASE64], "records": [[[KEY, HASH or null, BASE64]]]}
//
// Prints for each blob the records in it, and for each list of records one blob.

const fs = require("fs");
const { deaggregateSync, RecordAggregator } = require("aws-kinesis-agg");

const given = JSON.parse(fs.readFileSync(process.argv[2]));

const unpacked = given.blobs.map((data) => {
  let records;
  const record = { data, partitionKey: "p", sequenceNumber: "1" };
  deaggregateSync(record, true, (error, found) => {
    if (error) throw error;
    records = found.map((r) => [r.partitionKey, r.explicitPartitionKey ?? null, r.data]);
  });
  return records;
});

const packed = given.records.map((records) => {
  const aggregator = new RecordAggregator();
  for (const [partitionKey, hash, data] of records) {
    const record = { partitionKey, data: Buffer.from(data, "base64") };
    aggregator.addUserRecord(hash === null ? record : { ...record, explicitHashKey: hash });
  }
  return aggregator.build().data.toString("base64");
});

console.log(JSON.stringify({ unpacked, packed }));
