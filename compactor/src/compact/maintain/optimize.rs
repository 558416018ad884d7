//! Small files of a partition into one: the plan carried out, commit by commit, none of a row's values touched.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use deltalake::{
    checkpoints::create_checkpoint,
    kernel::{Action, Add},
    protocol::DeltaOperation,
};
use object_store::ObjectStoreExt;
use serde_json::json;
use tracing::warn;

use super::{
    Size, existing,
    layout::Layout,
    lease::Lease,
    plan::{Facts, Group, Plan},
};
use crate::{
    clock::Clock,
    compact::{
        apply::rows_of,
        existing::{self as data, DataFile, TableReader},
        table::{Committed, Table},
        write::TableWriter,
    },
    error::CompactError,
    store::{Location, durable},
};

/// On a file that was put together: by which target.
const TAG: &str = "millrace.optimized";
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
            writeln!(f, "plan: {} files{of}, {rows} rows, {} -> 1 file", paths.len(), Size(*bytes))?;
        }
        let (files, groups) = (self.plan.files(), self.plan.groups.len());
        match &self.done {
            None => writeln!(f, "a run would write {files} files ({}) as {groups}", Size(self.plan.bytes())),
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
    let mut table = existing(place).await?;
    if dry_run {
        let facts = facts(&table, target_bytes)?;
        let (layout, plan) = (Layout::of(&facts, target_bytes), Plan::of(&facts, target_bytes));
        return Ok(OptimizeReport { layout, plan, done: None });
    }
    let mut lease = Lease::take(place, clock, "optimize").await?;
    let outcome = async {
        table.refresh().await?;
        let facts = facts(&table, target_bytes)?;
        let (layout, plan) = (Layout::of(&facts, target_bytes), Plan::of(&facts, target_bytes));
        let done = carry_out(&mut table, &plan, target_bytes, &mut lease).await?;
        Ok(OptimizeReport { layout, plan, done: Some(done) })
    };
    let outcome = outcome.await;
    lease.release().await;
    outcome
}

async fn carry_out(
    table: &mut Table,
    plan: &Plan,
    target_bytes: u64,
    lease: &mut Lease,
) -> Result<Optimized, CompactError> {
    let mut done = Optimized::default();
    let mut groups = plan.groups.as_slice();
    while !groups.is_empty() {
        let mut bytes = 0;
        let fits = groups.iter().take_while(|group| {
            bytes += group.bytes;
            bytes <= COMMIT_BYTES
        });
        let (now, later) = groups.split_at(fits.count().max(1));
        let rewrites = write(table, now, target_bytes, lease).await?;
        commit(table, rewrites, target_bytes, lease, &mut done).await?;
        groups = later;
    }
    if done.commits > 0 {
        let mut written = table.place.delta_table();
        let delta = |e| CompactError::delta(&table.place.url, e);
        written.load().await.map_err(delta)?;
        if let Err(error) = create_checkpoint(&written, None).await {
            // Readers do without; the next one is written by the next commit that is due for it.
            warn!(%error, "no checkpoint could be written");
        }
    }
    done.version = table.state.version();
    Ok(done)
}

/// A group and the file it became.
struct Rewrite {
    inputs: Vec<DataFile>,
    added: Vec<Add>,
}

/// What the plan looks at, of every file of the table.
fn facts(table: &Table, target_bytes: u64) -> Result<Vec<Facts>, CompactError> {
    // Refuses what cannot be written again as it is, such as deletion vectors.
    data::files(table.place.url.as_str(), &table.state)?;
    let columns = table.state.metadata().partition_columns();
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
            Facts {
                path: view.object_store_path().to_string(),
                partition: partition.join("/"),
                bytes: u64::try_from(view.size()).unwrap_or(0),
                rows: view.num_records().unwrap_or(0) as u64,
                tagged: tags.get(TAG).is_some_and(|of| of.as_deref() == Some(target_bytes.to_string().as_str())),
            }
        })
        .collect())
}

/// Writes the new files. Nothing is committed here.
async fn write(
    table: &Table,
    groups: &[Group],
    target_bytes: u64,
    lease: &mut Lease,
) -> Result<Vec<Rewrite>, CompactError> {
    let schema = table.state.snapshot().arrow_schema();
    let partition_by = table.state.metadata().partition_columns();
    let reader = TableReader::new(table.log_store.object_store(None), Arc::clone(&schema), partition_by);
    // Packing is by the sizes of the old files; the new one is one, whatever it comes to.
    let writer = TableWriter::sized(&table.log_store, &table.state, schema, target_bytes.saturating_mul(2));
    let files = data::files(table.place.url.as_str(), &table.state)?;
    let mut files: HashMap<String, DataFile> = files.into_iter().map(|file| (file.path().to_string(), file)).collect();
    let mut rewrites = Vec::new();
    for group in groups {
        lease.keep().await?;
        let inputs: Vec<DataFile> = group.paths.iter().filter_map(|path| files.remove(path)).collect();
        if inputs.len() < group.paths.len() {
            // Someone took one out since the plan was made.
            rewrites.push(Rewrite { inputs: Vec::new(), added: Vec::new() });
            continue;
        }
        let mut out = writer.file();
        let mut rows = 0;
        for input in &inputs {
            rows += reader.copy(input, &mut out).await?;
        }
        let mut added = out.close().await?;
        let written = rows_of(&added)?;
        if i64::try_from(rows).ok() != Some(written) || (group.rows > 0 && group.rows != rows) {
            let reason =
                format!("{} rows by the log, {rows} read, {written} written in {}", group.rows, group.partition);
            return Err(CompactError::Audit { table: table.url(), reason });
        }
        for add in &mut added {
            add.data_change = false;
            add.tags = Some(HashMap::from([(TAG.to_owned(), Some(target_bytes.to_string()))]));
        }
        rewrites.push(Rewrite { inputs, added });
    }
    let paths = rewrites.iter().flat_map(|rewrite| &rewrite.added).map(|add| table.place.path(&add.path)).collect();
    durable::sync(&table.place, paths).await?;
    Ok(rewrites)
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
            !rewrite.inputs.is_empty() && rewrite.inputs.iter().all(|file| live.contains(&file.path().to_string()))
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
        let removes =
            rewrites.iter().flat_map(|rewrite| &rewrite.inputs).map(|file| Action::Remove(file.remove.clone()));
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
    Err(CompactError::Contended { table: table.url(), sequence: table.state.version() + 1, attempts })
}

/// Reads the table anew: every file taken out is gone.
async fn audit(table: &mut Table, rewrites: &[Rewrite]) -> Result<(), CompactError> {
    table.refresh().await?;
    let live = live(table);
    let inputs = rewrites.iter().flat_map(|rewrite| &rewrite.inputs);
    match inputs.map(|file| file.path().to_string()).find(|path| live.contains(path)) {
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
    for add in rewrites.iter().flat_map(|rewrite| &rewrite.added) {
        let path = table.place.path(&add.path);
        if let Err(error) = table.place.store.delete(&path).await {
            warn!(%path, %error, "a file that is not needed could not be deleted");
        }
    }
}
