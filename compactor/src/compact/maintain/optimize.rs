//! Small files of a partition into one, or rows in order: the plan carried out, commit by commit, none of a row's values
//! touched.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use arrow::datatypes::Schema;
use deltalake::{
    kernel::{Action, Add},
    protocol::DeltaOperation,
};
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, path::Path};
use serde_json::json;
use tracing::warn;

use super::{
    Size,
    cluster::{self, Edge},
    existing,
    layout::Layout,
    lease::Lease,
    plan::{Facts, Group, Plan},
    rows,
};
use crate::{
    clock::Clock,
    compact::{
        apply::rows_of,
        existing::TableReader,
        keys::{Keyed, Sidecars},
        live::{DataFile, Live},
        manifest::{self, Manifest},
        table::{Committed, Table},
        write::TableWriter,
    },
    dedupe::{KeyHash, origin},
    error::CompactError,
    store::{Location, durable},
};

/// On a file that was put together: by which target.
const TAG: &str = "millrace.optimized";
/// On a file whose rows lie in order, and in one with the other files that have it: of which columns.
const CLUSTER_TAG: &str = "millrace.clustered";
/// Bytes read for one commit, about. What is committed stays when the run ends early.
const COMMIT_BYTES: u64 = 1 << 30;
/// Times a commit is tried while others write to the table.
const ATTEMPTS: u32 = 20;

/// What a run found, planned and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OptimizeReport {
    /// The table before.
    pub layout: Layout,
    /// The columns that rows are put in order of; none where small files are put together.
    pub cluster_by: Vec<String>,
    /// What was to be done.
    pub plan: Plan,
    /// What was done; absent after a dry run.
    pub done: Option<Optimized>,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Optimized {
    /// Commits made.
    pub commits: u64,
    /// Files taken out.
    pub files_removed: u64,
    /// Files put in.
    pub files_added: u64,
    /// Their bytes.
    pub bytes_added: u64,
    /// Groups left as they are, because someone else changed one of their files meanwhile.
    pub groups_overtaken: u64,
    /// The table's version at the end.
    pub version: u64,
}

impl fmt::Display for OptimizeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.layout)?;
        for Group { partition, paths, bytes, rows } in &self.plan.groups {
            let of = if partition.is_empty() { String::new() } else { format!(" of {partition}") };
            let into = if self.cluster_by.is_empty() { "1 file" } else { "files in order" };
            writeln!(f, "plan: {} files{of}, {rows} rows, {} -> {into}", paths.len(), Size(*bytes))?;
        }
        let (files, groups) = (self.plan.files(), self.plan.groups.len());
        match &self.done {
            None if self.cluster_by.is_empty() => {
                writeln!(f, "a run would write {files} files ({}) as {groups}", Size(self.plan.bytes()))
            }
            None => {
                let by = self.cluster_by.join(", ");
                writeln!(f, "a run would put {files} files ({}) in order of {by}", Size(self.plan.bytes()))
            }
            Some(done) => {
                writeln!(
                    f,
                    "{} files written as {} ({}) in {} commits; the table is at version {}",
                    done.files_removed,
                    done.files_added,
                    Size(done.bytes_added),
                    done.commits,
                    done.version
                )?;
                match done.groups_overtaken {
                    0 => Ok(()),
                    groups => {
                        writeln!(f, "{groups} groups were changed by someone else meanwhile and left as they are")
                    }
                }
            }
        }
    }
}

/// What files are to become.
struct Aim {
    target_bytes: u64,
    cluster_by: Vec<String>,
}

impl Aim {
    fn plan(&self, facts: &[Facts]) -> Plan {
        if self.cluster_by.is_empty() {
            Plan::of(facts, self.target_bytes)
        } else {
            Plan::clustered(facts, self.target_bytes)
        }
    }

    /// What is said on a file that came out of it.
    fn tags(&self) -> HashMap<String, Option<String>> {
        let mut tags = HashMap::from([(TAG.to_owned(), Some(self.target_bytes.to_string()))]);
        if !self.cluster_by.is_empty() {
            tags.insert(CLUSTER_TAG.to_owned(), Some(json!(self.cluster_by).to_string()));
        }
        tags
    }

    /// Whether a file with these tags came out of it.
    fn has_made(&self, tags: &HashMap<String, Option<String>>) -> bool {
        let tag = if self.cluster_by.is_empty() { TAG } else { CLUSTER_TAG };
        tags.get(tag).is_some_and(|of| of.is_some() && *of == self.tags()[tag])
    }

    /// Refuses columns that rows cannot be put in order of.
    fn check(&self, table: &Table) -> Result<(), CompactError> {
        let schema = table.state.snapshot().arrow_schema();
        let refuse = |column: &String, reason: String| {
            Err(CompactError::Cluster { table: table.url(), column: column.clone(), reason })
        };
        for (index, column) in self.cluster_by.iter().enumerate() {
            let names = || schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
            match schema.field_with_name(column) {
                Err(_) => return refuse(column, format!("there is no such column; there are {}", names())),
                Ok(field) if field.data_type().is_nested() => {
                    return refuse(column, "it is a struct or a list; name a column of plain values".to_owned());
                }
                Ok(_) if table.state.metadata().partition_columns().contains(column) => {
                    return refuse(
                        column,
                        "the table is partitioned by it; name columns that are in the files".to_owned(),
                    );
                }
                Ok(_) if self.cluster_by[..index].contains(column) => {
                    return refuse(column, "it is there twice; name each column once".to_owned());
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

/// Puts small files together, up to `target_bytes` each. With `dry_run` nothing is written, a lease neither.
///
/// # Errors
/// [`CompactError`]. Commits made before an error stay; each leaves the rows as they were.
pub async fn optimize(
    place: &Location,
    target_bytes: u64,
    dry_run: bool,
    clock: &Clock,
) -> Result<OptimizeReport, CompactError> {
    run(place, &Aim { target_bytes, cluster_by: Vec::new() }, dry_run, clock).await
}

/// Puts the rows of each partition in order of these columns, in files of `target_bytes` whose ranges do not overlap.
/// Files that lie so are written again only where others overlap with them. Otherwise as [`optimize`].
///
/// # Errors
/// [`CompactError::Cluster`]; otherwise as for [`optimize`].
pub async fn cluster(
    place: &Location,
    cluster_by: &[String],
    target_bytes: u64,
    dry_run: bool,
    clock: &Clock,
) -> Result<OptimizeReport, CompactError> {
    run(place, &Aim { target_bytes, cluster_by: cluster_by.to_vec() }, dry_run, clock).await
}

async fn run(place: &Location, aim: &Aim, dry_run: bool, clock: &Clock) -> Result<OptimizeReport, CompactError> {
    let mut table = existing(place).await?;
    aim.check(&table)?;
    let report = |table: &Table| {
        let facts = facts(table, aim)?;
        let (layout, plan) = (Layout::of(&facts, aim.target_bytes), aim.plan(&facts));
        Ok::<_, CompactError>(OptimizeReport { layout, plan, cluster_by: aim.cluster_by.clone(), done: None })
    };
    if dry_run {
        return report(&table);
    }
    let mut lease = Lease::take(place, clock, "optimize").await?;
    let outcome = async {
        table.refresh().await?;
        let mut report = report(&table)?;
        report.done = Some(carry_out(&mut table, &report.plan, aim, &mut lease).await?);
        Ok(report)
    };
    let outcome = outcome.await;
    lease.release().await;
    outcome
}

async fn carry_out(table: &mut Table, plan: &Plan, aim: &Aim, lease: &mut Lease) -> Result<Optimized, CompactError> {
    let mut done = Optimized::default();
    let mut groups = plan.groups.as_slice();
    while !groups.is_empty() {
        let mut bytes = 0;
        let fits = groups.iter().take_while(|group| {
            bytes += group.bytes;
            bytes <= COMMIT_BYTES
        });
        let (now, later) = groups.split_at(fits.count().max(1));
        let rewrites = write(table, now, aim, lease).await?;
        commit(table, rewrites, aim.target_bytes, lease, &mut done).await?;
        groups = later;
    }
    if done.commits > 0 {
        table.checkpoint().await;
    }
    done.version = table.version();
    Ok(done)
}

/// A group and the file it became.
struct Rewrite {
    inputs: Vec<Arc<DataFile>>,
    added: Vec<Add>,
    /// What says which keys they hold.
    sidecar: Option<Path>,
}

/// What the plan looks at, of every file of the table.
fn facts(table: &Table, aim: &Aim) -> Result<Vec<Facts>, CompactError> {
    // Refuses what cannot be written again as it is, such as deletion vectors.
    Live::of(&table.state, &[]).files(table.place.url.as_str())?;
    let columns = table.state.metadata().partition_columns();
    let schema = table.state.snapshot().arrow_schema();
    let first = aim.cluster_by.first().and_then(|name| schema.field_with_name(name).ok());
    let views = table.state.log_data();
    Ok(views
        .iter()
        .map(|view| {
            let values = view.partition_values_map();
            let value =
                |name: &String| values.get(name).and_then(Option::as_deref).unwrap_or("__HIVE_DEFAULT_PARTITION__");
            let partition: Vec<String> = columns.iter().map(|name| format!("{name}={}", value(name))).collect();
            #[expect(deprecated, reason = "the one way to a file's tags")]
            let tags = view.add_action().tags.unwrap_or_default();
            let range = first.map(|column| {
                let stats = view.stats().and_then(|stats| serde_json::from_str(&stats).ok()).unwrap_or_default();
                cluster::range(&stats, column)
            });
            Facts {
                path: view.object_store_path().to_string(),
                partition: partition.join("/"),
                bytes: u64::try_from(view.size()).unwrap_or(0),
                rows: view.num_records().unwrap_or(0) as u64,
                tagged: aim.has_made(&tags),
                range: range.unwrap_or((Edge::Least, Edge::Most)),
            }
        })
        .collect())
}

/// Writes the new files. Nothing is committed here.
async fn write(
    table: &mut Table,
    groups: &[Group],
    aim: &Aim,
    lease: &mut Lease,
) -> Result<Vec<Rewrite>, CompactError> {
    let mut schema = table.state.snapshot().arrow_schema();
    let sequence = table.sequence().await?;
    let last = manifest::read(&table.place, sequence).await?;
    let hash = key_hash(last.as_ref(), &schema)?;
    if last.is_some_and(|last| last.keeps_origins()) {
        schema = origin::with_columns(&schema);
    }
    let sidecars = Sidecars::new(&table.place);
    let partition_by = table.state.metadata().partition_columns();
    let reader = TableReader::new(table.log_store.object_store(None), Arc::clone(&schema), partition_by);
    let reader = Arc::new(reader);
    // Packing is by the sizes of the old files; the new one is one, whatever it comes to.
    let size = if aim.cluster_by.is_empty() { aim.target_bytes.saturating_mul(2) } else { aim.target_bytes };
    let writer = TableWriter::sized(&table.log_store, &table.state, schema, size);
    let files = Live::of(&table.state, &[]).files(table.place.url.as_str())?;
    let mut files: HashMap<_, _> = files.into_iter().map(|file| (file.path.to_string(), file)).collect();
    let mut rewrites = Vec::new();
    for group in groups {
        lease.keep().await?;
        let inputs: Vec<Arc<DataFile>> = group.paths.iter().filter_map(|path| files.remove(path)).collect();
        if inputs.len() < group.paths.len() {
            // Someone took one out since the plan was made.
            rewrites.push(Rewrite { inputs: Vec::new(), added: Vec::new(), sidecar: None });
            continue;
        }
        // A file has the filters that those have which it takes the place of.
        let filters = reader.bloom_filters(&inputs[0]).await?;
        let writer = writer.clone().with_bloom_filters(filters);
        let mut batches = match aim.cluster_by.as_slice() {
            [] => rows::as_they_lie(&reader, &inputs),
            columns => rows::in_order(&reader, &inputs, columns).await?,
        };
        let (mut out, mut rows, mut hashes) = (None, 0, Vec::new());
        while let Some(batch) = batches.try_next().await? {
            rows += batch.num_rows() as u64;
            if let Some(hash) = &hash {
                hashes.extend(hash.of(&batch)?);
            }
            let out = out.get_or_insert_with(|| writer.file_like(&batch));
            out.write(&batch).await?;
        }
        let mut added = match out {
            Some(out) => out.close().await?,
            None => Vec::new(),
        };
        let written = rows_of(&added)?;
        if i64::try_from(rows).ok() != Some(written) || (group.rows > 0 && group.rows != rows) {
            let reason =
                format!("{} rows by the log, {rows} read, {written} written in {}", group.rows, group.partition);
            return Err(CompactError::Audit { table: table.url(), reason });
        }
        for add in &mut added {
            add.data_change = false;
            add.tags = Some(aim.tags());
        }
        // One for each file, not for each commit: a commit of many large files has more keys than memory should hold.
        let files = vec![Keyed { added, hashes: hash.as_ref().map(|_| hashes) }];
        let (added, sidecar) = sidecars.write(hash.as_ref(), files).await?;
        rewrites.push(Rewrite { inputs, added, sidecar });
    }
    let paths = rewrites.iter().flat_map(|rewrite| &rewrite.added).map(|add| table.place.path(&add.path)).collect();
    durable::sync(&table.place, paths).await?;
    Ok(rewrites)
}

/// How the rows' keys are hashed, where the table has keys: its compactor's last manifest knows.
fn key_hash(last: Option<&Manifest>, schema: &Schema) -> Result<Option<KeyHash>, CompactError> {
    let Some(key) = last.and_then(|last| last.dedup_key(schema)) else { return Ok(None) };
    Ok(KeyHash::new(&key, schema)?)
}

/// Commits those whose every input is in the table that is committed upon; forgets the others.
async fn commit(
    table: &mut Table,
    mut rewrites: Vec<Rewrite>,
    target_bytes: u64,
    lease: &mut Lease,
    done: &mut Optimized,
) -> Result<(), CompactError> {
    for _ in 0..ATTEMPTS {
        table.refresh().await?;
        let live = live(table);
        let stands = |rewrite: &Rewrite| {
            !rewrite.inputs.is_empty() && rewrite.inputs.iter().all(|file| live.contains(&file.path.to_string()))
        };
        let (standing, overtaken): (Vec<_>, Vec<_>) = rewrites.into_iter().partition(stands);
        rewrites = standing;
        done.groups_overtaken += overtaken.len() as u64;
        forget(table, &overtaken).await;
        if rewrites.is_empty() {
            return Ok(());
        }
        // They say `dataChange`, although no row changes: delta-rs passes over removes that do not, and a delete that began
        // before this commit would bring the rows back. What is added does not say it, so a stream reads no row again.
        let now_ms = chrono::Utc::now().timestamp_millis();
        let inputs = rewrites.iter().flat_map(|rewrite| &rewrite.inputs);
        let removes = inputs.map(|file| Action::Remove(file.remove(now_ms)));
        let adds = rewrites.iter().flat_map(|rewrite| &rewrite.added).cloned().map(Action::Add);
        let actions: Vec<Action> = removes.chain(adds).collect();
        let target_size = i64::try_from(target_bytes).unwrap_or(i64::MAX);
        let operation = DeltaOperation::Optimize { predicate: None, target_size };
        let metadata = HashMap::from([("millrace.groups".to_owned(), json!(rewrites.len()))]);
        lease.keep().await?;
        if table.commit_rewrite(actions, operation, metadata).await? == Committed::Yes {
            let added = || rewrites.iter().flat_map(|rewrite| &rewrite.added);
            done.commits += 1;
            done.files_removed += rewrites.iter().map(|rewrite| rewrite.inputs.len() as u64).sum::<u64>();
            done.files_added += added().count() as u64;
            done.bytes_added += added().map(|add| u64::try_from(add.size).unwrap_or(0)).sum::<u64>();
            return audit(table, &rewrites).await;
        }
    }
    forget(table, &rewrites).await;
    let attempts = ATTEMPTS;
    Err(CompactError::Contended { table: table.url(), sequence: table.version() + 1, attempts })
}

/// Reads the table anew: every file taken out is gone.
async fn audit(table: &mut Table, rewrites: &[Rewrite]) -> Result<(), CompactError> {
    table.refresh().await?;
    let live = live(table);
    let inputs = rewrites.iter().flat_map(|rewrite| &rewrite.inputs);
    match inputs.map(|file| file.path.to_string()).find(|path| live.contains(path)) {
        None => Ok(()),
        Some(path) => {
            let reason = format!("{path} was taken out and is still in the table: its rows are there twice");
            Err(CompactError::Audit { table: table.url(), reason })
        }
    }
}

fn live(table: &Table) -> HashSet<String> {
    table.state.log_data().iter().map(|view| view.object_store_path().to_string()).collect()
}

/// Deletes files that did not get into the table. What cannot be deleted is found by a later vacuum.
async fn forget(table: &Table, rewrites: &[Rewrite]) {
    let added = rewrites.iter().flat_map(|rewrite| &rewrite.added).map(|add| table.place.path(&add.path));
    let sidecars = rewrites.iter().filter_map(|rewrite| rewrite.sidecar.clone());
    for path in added.chain(sidecars) {
        if let Err(error) = table.place.store.delete(&path).await {
            warn!(%path, %error, "a file that is not needed could not be deleted");
        }
    }
}
