//! All streams of the server, as one AWS account in one region.

use std::{
    collections::BTreeMap,
    ops::Bound,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use super::{
    capacity::{Capacity, Reservation},
    clock::Clock,
    control::ControlQuota,
    data_stream::{DataStream, StreamSettings},
    error::{ApiError, ErrorKind},
    faults::Injector,
    meta::{AccountMeta, StreamMeta, StreamMode, StreamShape, StreamStatus, Transition},
    metrics::StreamMetrics,
    quota::{AccountLimits, Quotas},
    reshard::{Reshard, growth},
    subscription::Seats,
    token::Sealer,
    wal::{Recovery, Wal, WalError},
};

/// The account every stream belongs to.
pub(crate) const ACCOUNT_ID: &str = "000000000000";
/// The region in ARNs. Clients may sign for any.
pub(crate) const REGION: &str = "us-east-1";

/// What an account is made with.
#[derive(Debug, Clone)]
pub(crate) struct AccountSettings {
    /// Memory for stored records, bytes.
    pub(crate) capacity_bytes: u64,
    /// How long a record of a new stream can be read.
    pub(crate) retention_us: u64,
    /// How long a stream stays CREATING, UPDATING or DELETING.
    pub(crate) settle_us: u64,
    pub(crate) quotas: Quotas,
    /// What goes wrong on purpose; absent: nothing.
    pub(crate) faults: Option<Arc<Injector>>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The streams by name, and what they share.
#[derive(Debug)]
pub(crate) struct Account {
    streams: RwLock<BTreeMap<String, Arc<DataStream>>>,
    /// Held while streams gain or lose shards, so that the account's shards are counted once.
    counting: Mutex<()>,
    meta: RwLock<AccountMeta>,
    /// Where everything is written down, if it is.
    wal: Option<Arc<Wal>>,
    capacity: Arc<Capacity>,
    /// How long a record of a new stream can be read.
    pub(crate) retention_us: u64,
    /// How long a stream stays CREATING, UPDATING or DELETING.
    settle_us: u64,
    quotas: Quotas,
    faults: Option<Arc<Injector>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sealer: Sealer,
    /// Which consumer reads which shard.
    pub(crate) seats: Seats,
    /// How often streams may be managed.
    pub(crate) control: ControlQuota,
}

impl Account {
    /// An account without streams, which ends with the process.
    pub(crate) fn new(settings: AccountSettings) -> Self {
        Self::with(settings, None)
    }

    /// The account that a folder keeps: its streams are as they were when the last process ended, however it did.
    ///
    /// # Errors
    /// [`WalError`] when the folder cannot be used, or holds what cannot be read or does not fit.
    pub(crate) fn open(settings: AccountSettings, folder: &Path) -> Result<Self, WalError> {
        let (wal, recovery) = Wal::open(folder, Arc::clone(&settings.clock))?;
        let account = Self::with(settings, Some(wal));
        account.restore(&recovery)?;
        Ok(account)
    }

    fn restore(&self, recovery: &Recovery) -> Result<(), WalError> {
        let now_us = self.clock.now_us();
        *self.meta.write().unwrap_or_else(PoisonError::into_inner) = recovery.account.clone();
        let there = recovery.streams.iter().filter(|(_, meta)| meta.status(now_us).is_some());
        let streams: BTreeMap<_, _> = there
            .map(|((name, created_us), meta)| {
                let settings = self.stream_settings(name, *created_us);
                (name.clone(), Arc::new(DataStream::of(meta.clone(), arn(name), settings)))
            })
            .collect();
        recovery.records(&mut |(name, created_us), shard, batch| {
            let stream = streams.get(&name).filter(|stream| stream.created_us == created_us);
            let Some(stream) = stream else { return Ok(()) };
            let outlived = batch.arrival_us.saturating_add(stream.meta().retention_us) < now_us;
            match stream.topology().shard(shard) {
                Some(shard) if !outlived && !shard.restore(batch) => Err(WalError::TooLarge {
                    path: recovery.folder().to_owned(),
                    capacity_bytes: self.capacity.limit(),
                }),
                _ => Ok(()),
            }
        })?;
        for ((name, created_us), tips) in &recovery.tips {
            let stream = streams.get(name).filter(|stream| stream.created_us == *created_us);
            for (number, tip) in tips.iter().filter(|_| stream.is_some()) {
                let topology = stream.map(|stream| stream.topology());
                if let Some(shard) = topology.as_ref().and_then(|topology| topology.shard(*number)) {
                    shard.restore_tip(*tip);
                }
            }
        }
        *self.streams.write().unwrap_or_else(PoisonError::into_inner) = streams;
        Ok(())
    }

    fn with(settings: AccountSettings, wal: Option<Arc<Wal>>) -> Self {
        let key = wal.as_ref().map_or_else(rand::random, |wal| wal.key());
        Self {
            wal,
            streams: RwLock::default(),
            counting: Mutex::default(),
            meta: RwLock::default(),
            capacity: Capacity::new(settings.capacity_bytes),
            retention_us: settings.retention_us,
            settle_us: settings.settle_us,
            control: ControlQuota::new(settings.quotas.control),
            quotas: settings.quotas,
            faults: settings.faults,
            clock: settings.clock,
            sealer: Sealer::new(key),
            seats: Seats::default(),
        }
    }

    fn stream_settings(&self, name: &str, created_us: u64) -> StreamSettings {
        StreamSettings {
            quotas: self.quotas.clone(),
            faults: self.faults.clone(),
            capacity: Arc::clone(&self.capacity),
            journal: self.wal.as_ref().map(|wal| wal.journal(name, created_us)),
        }
    }

    /// When a change of status that begins now is over.
    pub(crate) fn settles_us(&self, now_us: u64) -> u64 {
        now_us.saturating_add(self.settle_us)
    }

    /// Makes a stream, which is CREATING until it settles.
    pub(crate) fn create(&self, name: &str, shape: StreamShape) -> Result<(), ApiError> {
        let settles_us = self.settles_us(self.clock.now_us());
        self.insert(name, shape, Transition { status: StreamStatus::Creating, settles_us })
    }

    /// Makes a stream that is active at once.
    pub(crate) fn create_active(&self, name: &str, shape: StreamShape) -> Result<(), ApiError> {
        self.insert(name, shape, Transition { status: StreamStatus::Active, settles_us: 0 })
    }

    fn insert(&self, name: &str, shape: StreamShape, transition: Transition) -> Result<(), ApiError> {
        let now_us = self.clock.now_us();
        let _counting = self.counting();
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|_, stream| stream.meta().status(now_us).is_some());
        if streams.contains_key(name) {
            let text = format!("Stream {name} under account {ACCOUNT_ID} already exists.");
            return Err(ApiError::new(ErrorKind::ResourceInUse, text));
        }
        let count = |is: &dyn Fn(&StreamMeta) -> bool| streams.values().filter(|stream| is(&stream.meta())).count();
        if transition.status == StreamStatus::Creating
            && count(&|meta| meta.status(now_us) == Some(StreamStatus::Creating))
                >= self.limits().creating_streams as usize
        {
            return Err(ApiError::new(
                ErrorKind::LimitExceeded,
                format!(
                    "This request would exceed the limit of {} streams in the status CREATING for the account \
                     {ACCOUNT_ID} in {REGION}.",
                    self.limits().creating_streams
                ),
            ));
        }
        if shape.mode == StreamMode::OnDemand {
            self.within_on_demand_limit(count(&|meta| meta.mode == StreamMode::OnDemand))?;
        }
        let current = streams.values().map(|stream| stream.topology().open().len()).sum();
        self.within_shard_limit(current, shape.shards as usize)?;
        let settings = self.stream_settings(name, now_us);
        let stream = DataStream::new(name, arn(name), shape, transition, now_us, settings);
        // Writes the facts down for the first time.
        stream.change(|_| Ok::<_, ApiError>(()))?;
        streams.insert(name.to_owned(), Arc::new(stream));
        Ok(())
    }

    /// Changes the shards of a stream as planned, if the account may have so many; it is UPDATING until that settles.
    pub(crate) fn reshard(
        &self,
        stream: &DataStream,
        plan: impl FnOnce(&mut StreamMeta, u64) -> Result<Vec<Reshard>, ApiError>,
    ) -> Result<(), ApiError> {
        let _counting = self.counting();
        let current = self.open_shards();
        let now_us = self.clock.now_us();
        stream.reshard(now_us, self.settles_us(now_us), |meta| {
            let plan = plan(meta, now_us)?;
            self.within_shard_limit(current, usize::try_from(growth(&plan)).unwrap_or(0))?;
            Ok(plan)
        })
    }

    /// What the account and its streams may have.
    pub(crate) const fn limits(&self) -> &AccountLimits {
        &self.quotas.account
    }

    /// Refuses another on-demand stream beyond those an account may have.
    pub(crate) fn within_on_demand_limit(&self, current: usize) -> Result<(), ApiError> {
        let limit = self.limits().on_demand_streams;
        if current < limit as usize {
            return Ok(());
        }
        Err(ApiError::new(
            ErrorKind::LimitExceeded,
            format!(
                "This request would exceed the limit of {limit} on-demand streams for the account {ACCOUNT_ID} in {REGION}."
            ),
        ))
    }

    /// Refuses shards beyond those an account may have.
    fn within_shard_limit(&self, current: usize, additional: usize) -> Result<(), ApiError> {
        let limit = self.limits().shards;
        if additional == 0 || current + additional <= limit as usize {
            return Ok(());
        }
        Err(ApiError::new(
            ErrorKind::LimitExceeded,
            format!(
                "This request would exceed the shard limit for the account {ACCOUNT_ID} in {REGION}. Current shard count \
                 for the account: {current}. Limit: {limit}. Number of additional shards that would have resulted from \
                 this request: {additional}."
            ),
        ))
    }

    fn counting(&self) -> MutexGuard<'_, ()> {
        self.counting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The facts of the account, to be looked at and let go.
    pub(crate) fn meta(&self) -> RwLockReadGuard<'_, AccountMeta> {
        self.meta.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the facts of the account.
    pub(crate) fn change(&self, change: impl FnOnce(&mut AccountMeta)) -> Result<(), ApiError> {
        let mut meta = self.meta.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = meta.clone();
        change(&mut changed);
        if let Some(wal) = &self.wal {
            wal.keep_account(&changed)?;
        }
        *meta = changed;
        Ok(())
    }

    /// Open shards over all streams.
    pub(crate) fn open_shards(&self) -> usize {
        self.list(None, usize::MAX).iter().map(|stream| stream.topology().open().len()).sum()
    }

    /// Streams in on-demand mode.
    pub(crate) fn on_demand_streams(&self) -> usize {
        let on_demand = |stream: &&Arc<DataStream>| stream.meta().mode == StreamMode::OnDemand;
        self.list(None, usize::MAX).iter().filter(on_demand).count()
    }

    /// Begins to delete a stream if `allowed`: it is DELETING until it settles, and then gone with its records.
    pub(crate) fn delete(
        &self,
        name: &str,
        allowed: impl FnOnce(&StreamMeta, u64) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let stream = self.stream(name)?;
        let now_us = self.clock.now_us();
        let settles_us = self.settles_us(now_us);
        stream.change(|meta| {
            allowed(meta, now_us)?;
            meta.transition = Transition { status: StreamStatus::Deleting, settles_us };
            Ok(())
        })?;
        drop(stream);
        self.forget_deleted(now_us);
        Ok(())
    }

    /// Lets go of the streams whose deletion has settled.
    fn forget_deleted(&self, now_us: u64) {
        let gone = |_: &String, stream: &mut Arc<DataStream>| stream.meta().status(now_us).is_none();
        // The records are freed after the lock: other streams do not wait for that.
        let removed: Vec<_> =
            self.streams.write().unwrap_or_else(PoisonError::into_inner).extract_if(.., gone).collect();
        drop(removed);
    }

    /// A stream in whatever status it is.
    pub(crate) fn stream(&self, name: &str) -> Result<Arc<DataStream>, ApiError> {
        let stream = {
            let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
            streams.get(name).map(Arc::clone).ok_or_else(|| not_found(name))?
        };
        let now_us = self.clock.now_us();
        let status = stream.meta().status(now_us);
        if status.is_none() {
            drop(stream);
            self.forget_deleted(now_us);
            return Err(not_found(name));
        }
        stream.forget_expired(now_us);
        Ok(stream)
    }

    /// A stream that records can be written to and read from: AWS does not find one that is not there yet or no more.
    pub(crate) fn usable(&self, name: &str) -> Result<Arc<DataStream>, ApiError> {
        let stream = self.stream(name)?;
        let status = stream.meta().status(self.clock.now_us());
        match status {
            Some(StreamStatus::Active | StreamStatus::Updating) => Ok(stream),
            _ => Err(not_found(name)),
        }
    }

    /// Streams in order of name, after a name if one is given.
    pub(crate) fn list(&self, after: Option<&str>, limit: usize) -> Vec<Arc<DataStream>> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        streams.range::<str, _>((from, Bound::Unbounded)).take(limit).map(|(_, stream)| Arc::clone(stream)).collect()
    }

    /// Takes memory for records, after dropping what has outlived its retention if it does not fit at first.
    pub(crate) fn reserve(&self, bytes: u64) -> Option<Reservation> {
        self.capacity.reserve(bytes).or_else(|| {
            let now_us = self.clock.now_us();
            self.list(None, usize::MAX).iter().for_each(|stream| stream.trim(now_us));
            self.capacity.reserve(bytes)
        })
    }

    /// Why a record was refused with `InternalFailure`, the error clients retry.
    pub(crate) fn full_text(&self) -> String {
        format!(
            "The local stream's memory is full: records may hold {} bytes in all; raise its capacity or shorten its retention.",
            self.capacity.limit()
        )
    }

    pub(crate) fn metrics(&self) -> StreamMetrics {
        let streams = self.list(None, usize::MAX);
        StreamMetrics {
            used_bytes: self.capacity.used(),
            capacity_bytes: self.capacity.limit(),
            streams: streams.iter().map(|stream| stream.counts()).collect(),
        }
    }
}

pub(crate) fn not_found(name: &str) -> ApiError {
    ApiError::not_found(format!("Stream {name} under account {ACCOUNT_ID} not found."))
}

fn arn(name: &str) -> String {
    format!("arn:aws:kinesis:{REGION}:{ACCOUNT_ID}:stream/{name}")
}

/// AWS's text for a refusal by a shard's limits.
pub(crate) fn throttle_text(stream: &str, shard_id: &str) -> String {
    format!("Rate exceeded for shard {shard_id} in stream {stream} under account {ACCOUNT_ID}.")
}
