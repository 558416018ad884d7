//! The hot way to the endpoint: requests written by the thread that paces, answers read by another.
//!
//! A call that is due must leave now, not when a task is scheduled; so connections are plain non-blocking sockets that
//! any thread may write to, and nothing here knows an executor. Credentials, regions and endpoints stay the SDK's:
//! [`route`] asks it where it would send a call, and `sign` signs as it does.

pub(crate) mod answer;
pub(crate) mod connection;
pub mod route;
pub(crate) mod sign;
