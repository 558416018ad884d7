//! The account that is served now. A server that is killed and loses its state comes back with another one.

use std::sync::{Arc, PoisonError, RwLock};

use super::{
    account::{Account, AccountSettings},
    error::{ApiError, ErrorKind},
    meta::{StreamShape, StreamStatus},
    on_demand::Scaling,
    wal::WalError,
};

/// Where the account is to be found. Nobody keeps it for longer than a call.
#[derive(Debug)]
pub(crate) struct Premises {
    account: RwLock<Arc<Account>>,
    settings: AccountSettings,
    /// A folder keeps the state.
    kept: bool,
}

impl Premises {
    /// The account of a folder, or one that ends with the process. Its on-demand streams are watched by a task.
    pub(crate) fn open(settings: AccountSettings, data: Option<&std::path::Path>) -> Result<Self, WalError> {
        let account = Arc::new(match data {
            Some(folder) => Account::open(settings.clone(), folder)?,
            None => Account::new(settings.clone()),
        });
        watch_growth(&account, &settings);
        Ok(Self { account: RwLock::new(account), settings, kept: data.is_some() })
    }

    pub(crate) fn account(&self) -> Arc<Account> {
        Arc::clone(&self.account.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts an account in place that has the streams of the one before it, as new and empty ones.
    pub(crate) fn lose_state(&self) -> Result<(), ApiError> {
        if self.kept {
            return Err(ApiError::new(ErrorKind::InternalFailure, "A folder keeps the state."));
        }
        let before = self.account();
        let now_us = before.clock.now_us();
        let account = Arc::new(Account::new(self.settings.clone()));
        for stream in before.list(None, usize::MAX) {
            let shape = {
                let meta = stream.meta();
                let there = matches!(meta.status(now_us), Some(StreamStatus::Active | StreamStatus::Updating));
                let open = u32::try_from(stream.topology().open().len()).unwrap_or(u32::MAX);
                there.then(|| StreamShape {
                    mode: meta.mode,
                    max_record_kib: meta.max_record_kib,
                    distribution: meta.distribution,
                    tags: meta.tags.clone(),
                    ..StreamShape::provisioned(open, meta.retention_us)
                })
            };
            if let Some(shape) = shape {
                account.create_active(&stream.name, shape)?;
            }
        }
        watch_growth(&account, &self.settings);
        *self.account.write().unwrap_or_else(PoisonError::into_inner) = account;
        Ok(())
    }
}

fn watch_growth(account: &Arc<Account>, settings: &AccountSettings) {
    if let Some(rules) = settings.quotas.on_demand {
        tokio::spawn(Scaling::new(rules).watch(Arc::downgrade(account)));
    }
}
