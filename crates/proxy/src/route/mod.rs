//! The route table: which rule a request falls under, host first, then path, then every other predicate.
//!
//! The rooms, in the order in which a question walks:
//!
//! - `rule`: what a rule asks for, as the table's maker states it
//! - `facts`: what a request shows
//! - `table`: the compiled rules and the search
//! - `keys`, `literal`, `index`, `candidates`: the few rules that host and path leave to be judged
//! - `judge`: whether a condition holds, in three values and two ways of not yet knowing
//! - `schedule`: times of the day
//! - `text`, `cookie`, `body`, `json`: the predicates' leaves
//! - `captures`: what the path's pattern left over
//!
//! The first rule that matches in the order given wins, whatever the index looks like. Nothing here reads from a
//! connection, allocates for a plain host and path, or knows what a rule leads to: the answer is its ordinal.

mod body;
mod candidates;
mod captures;
mod cookie;
mod facts;
mod index;
mod json;
mod json_path;
mod judge;
mod keys;
mod literal;
mod rule;
mod schedule;
mod table;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;

use wire::{Head, form};

pub use body::BodyCondition;
pub use captures::Captures;
pub use cookie::cookie;
pub(crate) use cookie::{remove as remove_cookie, values as cookies};
pub use facts::{Body, Facts, Kind, Said, Words};
pub use json_path::{BadJsonPath, JsonPath, JsonStep};
pub use rule::{Condition, HostPattern, PathPattern, Rule};
pub use schedule::{Schedule, Zone};
pub use table::{Finding, Found, Table};
pub use text::Text;

/// The first parameter of the query with this name, decoded.
pub fn query<'a>(head: &'a Head, name: &[u8]) -> Option<Cow<'a, [u8]>> {
    form::values(head.query()?, name).next()
}
