//! The data plane. The rooms stand in the order in which a request walks through them:
//!
//! - [`door`]: accepts connections, keeps the workers even, refuses what is too much
//! - [`session`]: the life of one connection
//! - [`exchange`]: the story of one request, top to bottom
//! - [`users`]: who the client is
//! - [`route`]: host, path and predicates to one route
//! - [`lists`]: which lists of sites name what is asked for
//! - [`canary`]: which of two versions a request sees
//! - [`proof`]: answers to authorities that ask whether a domain is ours
//! - [`pac`]: the file by which browsers find a forward proxy
//! - [`destination`]: the server that a client has asked for itself
//! - [`intercept`]: tunnels whose TLS ends here
//! - [`policy`]: what happens on the way to the destination and back
//! - [`attempt`]: pick, check out, send, first byte; the only room for retries
//! - [`filter`]: which responses are refused, by their heads and by words in texts
//! - [`balance`]: one file per algorithm
//! - [`sticky`]: clients that stay with their server
//! - [`mirror`]: copies of requests whose answers nobody sees
//! - [`bandwidth`]: how fast bodies and tunnels may go
//! - [`quota`]: how much goes through in a period
//! - [`capture`]: what of an exchange goes into an archive
//! - [`pool`]: servers, idle connections, limits and the queue
//! - [`relay`]: bodies, trailers and tunnels
//! - [`reply`]: answers of our own; the one table from faults to statuses
//! - [`finish`]: the access record and the counters
//! - [`tail`]: access records as they come, for operators who look
//! - [`seal`]: values that clients keep for us and cannot change
//!
//! [`worker`] is the thread that all of it runs on, and [`snapshot`] is what it runs by: defined here, manufactured by
//! the control crate. Nothing here knows a configuration model, a file or a YAML document.

pub mod attempt;
pub mod balance;
pub mod bandwidth;
pub mod canary;
pub mod capture;
pub mod destination;
pub mod door;
pub mod exchange;
pub mod filter;
pub mod finish;
pub mod intercept;
pub mod lists;
pub mod mirror;
pub mod pac;
pub mod policy;
pub mod pool;
pub mod proof;
pub mod quota;
pub mod relay;
pub mod reply;
pub mod route;
pub mod seal;
pub mod session;
pub mod snapshot;
pub mod sticky;
pub mod tail;
pub mod users;
pub mod worker;
