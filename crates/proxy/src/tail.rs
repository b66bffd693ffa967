//! Access records as they come, for operators who look. A worker with nobody who looks has nothing to do with it; one that has
//! never waits: a line that its reader has no room for is counted and forgotten.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use observe::access::{Lines, Record};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use wire::forwarded::Net;

/// Lines that wait for a reader.
const WAITING: usize = 1024;
/// Bytes of them.
const MOST: usize = 1024 * 1024;

/// Whose records are wanted. What is empty lets all pass.
#[derive(Debug, Default)]
pub struct Filter {
    /// Names of listeners.
    pub listeners: Vec<String>,
    /// Names of routes.
    pub routes: Vec<String>,
    /// Hosts in normal form, and `*.` before those whose subdomains are meant.
    pub hosts: Vec<String>,
    /// Statuses; 0 is none.
    pub statuses: Vec<RangeInclusive<u16>>,
    /// Networks of clients.
    pub clients: Vec<Net>,
}

/// One who looks, as workers see it.
#[derive(Debug)]
pub struct Tail {
    filter: Filter,
    lines: Sender<Vec<u8>>,
    held: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
}

/// One who looks, as it sees itself.
#[derive(Debug)]
pub struct Reader {
    lines: Receiver<Vec<u8>>,
    held: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
}

/// Those who look, as one worker knows them.
#[derive(Debug, Default)]
pub(crate) struct Tails {
    all: Vec<Arc<Tail>>,
    lines: Lines,
}

impl Tail {
    /// Both ends.
    pub fn new(filter: Filter) -> (Tail, Reader) {
        let (sender, receiver) = channel(WAITING);
        let (held, lost) = (Arc::<AtomicUsize>::default(), Arc::<AtomicU64>::default());
        let reader = Reader { lines: receiver, held: Arc::clone(&held), lost: Arc::clone(&lost) };
        (Tail { filter, lines: sender, held, lost }, reader)
    }

    fn tell(&self, line: &[u8]) {
        let before = self.held.fetch_add(line.len(), Ordering::Relaxed);
        if before + line.len() > MOST || self.lines.try_send(line.to_vec()).is_err() {
            self.held.fetch_sub(line.len(), Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Reader {
    /// The next line, when there is one.
    pub fn poll_line(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Vec<u8>>> {
        self.lines.poll_recv(cx).map(|line| line.inspect(|line| self.taken(line)))
    }

    /// The next line, if there is one.
    pub fn try_line(&mut self) -> Option<Vec<u8>> {
        self.lines.try_recv().ok().inspect(|line| self.taken(line))
    }

    fn taken(&self, line: &[u8]) {
        self.held.fetch_sub(line.len(), Ordering::Relaxed);
    }

    /// Lines that were lost since this was asked last.
    pub fn lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

impl Tails {
    pub(crate) fn set(&mut self, all: Vec<Arc<Tail>>) {
        self.all = all;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Tells everybody who wants to know.
    pub(crate) fn tell(&mut self, record: &Record<'_>) {
        let mut line = None;
        for tail in self.all.iter().filter(|tail| tail.filter.wants(record)) {
            tail.tell(line.get_or_insert_with(|| self.lines.json(record)));
        }
    }
}

impl Filter {
    fn wants(&self, record: &Record<'_>) -> bool {
        let has = |names: &[String], name: &str| names.is_empty() || names.iter().any(|known| known == name);
        has(&self.listeners, record.listener)
            && has(&self.routes, record.route.unwrap_or_default())
            && (self.hosts.is_empty() || self.hosts.iter().any(|host| is_of(host, record.host)))
            && (self.statuses.is_empty() || self.statuses.iter().any(|range| range.contains(&record.status)))
            && (self.clients.is_empty() || self.clients.iter().any(|net| net.contains(record.client.0.to_canonical())))
    }
}

/// Whether a host is the one, or below it.
fn is_of(wanted: &str, host: &[u8]) -> bool {
    match wanted.strip_prefix('*') {
        Some(below) => host.len() > below.len() && host.ends_with(below.as_bytes()),
        None => wanted.as_bytes() == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_as_routes_compare_them() {
        assert!(is_of("a.test", b"a.test") && is_of("*.a.test", b"b.a.test") && is_of("*.a.test", b"c.b.a.test"));
        assert!(!is_of("*.a.test", b"a.test") && !is_of("*.a.test", b"ba.test") && !is_of("a.test", b"b.a.test"));
    }

    #[test]
    fn a_reader_that_does_not_read_loses_lines_and_no_memory() {
        let (tail, mut reader) = Tail::new(Filter::default());
        for _ in 0..WAITING + 3 {
            tail.tell(b"line");
        }
        assert_eq!((reader.lost(), reader.lost()), (3, 0));
        assert_eq!(std::iter::from_fn(|| reader.try_line()).count(), WAITING);
        tail.tell(&vec![b'x'; MOST]);
        tail.tell(b"x");
        assert_eq!(reader.lost(), 1);
        assert_eq!(reader.try_line().map(|line| line.len()), Some(MOST));
        tail.tell(b"again");
        assert_eq!(reader.try_line().as_deref(), Some(&b"again"[..]));
        drop(reader);
        tail.tell(b"nobody");
        assert_eq!(tail.held.load(Ordering::Relaxed), 0);
    }
}
