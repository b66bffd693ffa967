//! Rules by host, then by path. A lookup costs a hash for each label of the host and each segment of the path, at most.
//!
//! The hash is fast and unkeyed: keys come from the table's maker, and a client's lookup cannot add any.

use rustc_hash::FxHashMap;

use super::candidates::Candidates;
use super::keys::{HostKey, Keys, PathKey};

/// Rules by host.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    exact: FxHashMap<Box<[u8]>, Paths>,
    below: FxHashMap<Box<[u8]>, Paths>,
    below_lengths: Lengths,
    every: Paths,
}

/// Rules of one host by path; each list ascends.
#[derive(Clone, Debug, Default)]
struct Paths {
    exact: FxHashMap<Box<[u8]>, Vec<u32>>,
    prefix: FxHashMap<Box<[u8]>, Vec<u32>>,
    prefix_lengths: Lengths,
    every: Vec<u32>,
}

/// Which lengths the keys of a map have. It spares most lookups, and it bounds those that a long host or path causes.
#[derive(Clone, Copy, Debug, Default)]
struct Lengths {
    /// A bit for each length below 63; all longer ones share the last.
    seen: u64,
    longest: usize,
}

impl Index {
    /// Files a rule under its keys. Ordinals arrive in ascending order.
    pub(super) fn file(&mut self, ordinal: u32, keys: Keys) {
        for host in keys.hosts {
            let paths = match host {
                HostKey::Exact(name) => self.exact.entry(name.into_bytes().into()).or_default(),
                HostKey::Below(apex) => {
                    self.below_lengths.add(apex.len());
                    self.below.entry(apex.into_bytes().into()).or_default()
                }
                HostKey::Every => &mut self.every,
            };
            for path in &keys.paths {
                paths.file(ordinal, path);
            }
        }
    }

    /// The rules at or after `from` that this host and path leave to be judged, in ascending order.
    pub(super) fn candidates(&self, host: &[u8], path: &[u8], from: u32) -> Candidates<'_> {
        let mut candidates = Candidates::starting(from);
        if !host.is_empty() {
            if let Some(paths) = self.exact.get(host) {
                paths.look_up(path, &mut candidates);
            }
            if !self.below.is_empty() {
                self.look_below(host, path, &mut candidates);
            }
        }
        self.every.look_up(path, &mut candidates);
        candidates
    }

    fn look_below<'t>(&'t self, host: &[u8], path: &[u8], candidates: &mut Candidates<'t>) {
        // A dot at the very beginning has no label before it.
        for dot in memchr::memchr_iter(b'.', host).filter(|dot| *dot > 0) {
            let apex = &host[dot + 1..];
            if !self.below_lengths.has(apex.len()) {
                continue;
            }
            if let Some(paths) = self.below.get(apex) {
                paths.look_up(path, candidates);
            }
        }
    }
}

impl Paths {
    fn file(&mut self, ordinal: u32, path: &PathKey) {
        let list = match path {
            PathKey::Exact(path) => self.exact.entry(path.as_bytes().into()).or_default(),
            PathKey::Prefix(prefix) => {
                self.prefix_lengths.add(prefix.len());
                self.prefix.entry(prefix.as_bytes().into()).or_default()
            }
            PathKey::Every => &mut self.every,
        };
        if list.last() != Some(&ordinal) {
            list.push(ordinal);
        }
    }

    fn look_up<'t>(&'t self, path: &[u8], candidates: &mut Candidates<'t>) {
        candidates.add(&self.every);
        if let Some(list) = self.exact.get(path) {
            candidates.add(list);
        }
        if self.prefix.is_empty() {
            return;
        }
        // A prefix ends before a slash or with the path.
        let reach = &path[..path.len().min(self.prefix_lengths.longest + 1)];
        for slash in memchr::memchr_iter(b'/', reach) {
            self.look_up_prefix(&path[..slash], candidates);
        }
        self.look_up_prefix(path, candidates);
    }

    fn look_up_prefix<'t>(&'t self, prefix: &[u8], candidates: &mut Candidates<'t>) {
        if !self.prefix_lengths.has(prefix.len()) {
            return;
        }
        if let Some(list) = self.prefix.get(prefix) {
            candidates.add(list);
        }
    }
}

impl Lengths {
    fn add(&mut self, length: usize) {
        self.seen |= 1 << length.min(63);
        self.longest = self.longest.max(length);
    }

    fn has(self, length: usize) -> bool {
        length <= self.longest && self.seen >> length.min(63) & 1 == 1
    }
}
