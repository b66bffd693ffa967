//! NAT inside the kernel: an eBPF program rewrites packets as they arrive, by tables that this crate fills.
//!
//! - [`service`]: what is to be in force
//! - `needs`: what the machine must provide, looked at before the kernel is asked
//! - [`claim`]: which process has the pins
//! - `layout`: keys and values of the tables, as bytes
//! - `lists`: which place of a service belongs to which of its servers
//! - `slots`: which number stands for which server, for as long as a connection has it
//! - `tables`: the tables themselves
//! - `survey`: a look at the whole table of connections
//! - [`resize`]: a table of connections in the place of one of another size
//! - `hooks`: the program at its interfaces
//! - [`expiry`]: when a connection is over
//! - [`datapath`]: all of it together
//! - `left`: what a process has left, taken away without being opened
//! - [`counters`], [`refusal`]: what is told about it
//! - `rehearsal`: what becomes of a packet, without a wire
//!
//! The program itself is C, in `bpf/`; its object is part of the repository. Packets never wait for anything here: while no
//! process runs, the kernel goes on by the tables as they are.

pub mod claim;
pub mod counters;
pub mod datapath;
pub mod expiry;
mod hooks;
mod layout;
mod left;
mod lists;
mod needs;
pub mod refusal;
mod rehearsal;
pub mod resize;
pub mod service;
mod slots;
mod survey;
mod tables;

pub use claim::{Claim, is_claimed};
pub use counters::{Counters, Dropped, ServerCounters, ServiceCounters, Traffic};
pub use datapath::Datapath;
pub use left::{is_left, release};
pub use needs::are_there;
pub use refusal::Refusal;
pub use rehearsal::Verdict;
pub use resize::Copied;
pub use service::{Mode, Server, Service, Transport};
