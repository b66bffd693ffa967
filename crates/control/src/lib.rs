//! The control plane: from a configuration to what the workers run by, and the operator's view of it.
//!
//! - [`process`]: the life of the process: start, reload, drain, end
//! - [`plane`]: applies a configuration, all of it or nothing
//! - [`certificates`]: from files to what listeners show and pools believe
//! - [`acme`]: certificates that are asked for
//! - [`ca`]: an authority of the owner's own, made once
//! - [`compile`]: `Spec` to `Snapshot`
//! - [`registry`]: what survives a reload, by identity
//! - [`captures`]: the archives that are written
//! - [`quotas`]: what was used of quotas, over restarts
//! - [`canary`]: what moves the share of a candidate
//! - [`room`]: how much the system lets the process have
//! - [`sockets`]: the listening sockets of the process
//! - [`discovery`]: where servers come from: names, services, files
//! - [`lists`]: lists of sites, read, watched and swapped
//! - [`health`]: whether servers are well
//! - [`nat`]: packets that the kernel rewrites
//! - [`files`]: files that we write
//! - [`watch`]: files that have changed
//! - [`admin`]: the operator's address: status page, API, metrics
//!
//! It runs on a thread of its own, so that nothing it does makes a request wait.

pub mod acme;
pub mod admin;
pub mod ca;
pub mod canary;
pub mod captures;
pub mod certificates;
pub mod compile;
pub mod discovery;
pub mod files;
pub mod health;
pub mod lists;
pub mod nat;
pub mod plane;
pub mod process;
pub mod quotas;
pub mod registry;
pub mod room;
pub mod sockets;
pub mod users;
pub mod watch;

pub use process::{Options, Source, load, run};
