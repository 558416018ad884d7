//! The lake and the table on S3: a real S3 server on loopback, read back by other clients.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::process::Command;

use support::{expect_exit, measure, millrace, number, python, record, server::Server};

/// The binary with credentials for, and only for, the local S3.
fn with_s3(server: &Server) -> Command {
    let mut command = millrace();
    command
        .env("AWS_ENDPOINT_URL_S3", &server.url)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

#[test]
fn a_run_lands_and_compacts_on_s3_and_other_clients_agree() {
    let server = Server::s3("mill");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut run = with_s3(&server);
    run.args(["run", "sensors", "--rate", "200", "--for", "4s", "--set", "delivery.buffer_interval=1s"]);
    run.args(["--set", "delivery.lake=s3://mill/lake", "--set", "table.location=s3://mill/tables/sensors", "--out"]);
    let (record_of_run, _) = measure(run.arg(&out), &out);
    let found = python::ask("s3_table.py", &[&server.url, "mill", "lake/", "tables/sensors"]);
    assert_eq!(number(&found, "lines"), number(&record_of_run, "load.accepted"));
    assert_eq!(number(&found, "rows"), number(&record_of_run, "compaction.table_rows"));
    assert_eq!(number(&found, "objects"), number(&record_of_run, "delivery.objects"));

    let mut again = with_s3(&server);
    again.args(["compact", "sensors", "--lake", "s3://mill/lake", "--table", "s3://mill/tables/sensors", "--out"]);
    let out = folder.path().join("again");
    expect_exit(again.arg(&out), 0);
    assert_eq!(number(&record(&out), "compaction.objects"), 0);
}

#[test]
fn a_bucket_that_is_not_there_is_named() {
    let server = Server::s3("mill");
    let folder = tempfile::tempdir().unwrap();
    let mut command = with_s3(&server);
    command.args(["compact", "sensors", "--lake", "s3://no-such-bucket/lake", "--table"]);
    let (_, stderr) = expect_exit(command.arg(folder.path().join("table")), 3);
    assert!(stderr.contains("no-such-bucket"), "{stderr}");
}
