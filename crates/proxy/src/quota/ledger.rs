//! What each of those who are told apart by a quota has used of its period: one count for the process, changed without a lock.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Period;

/// All of them. It survives a reload by its quota's name, and is written down by control.
#[derive(Debug)]
pub struct Ledger {
    keys: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    /// The one that is in force, for all who count, by whichever configuration they do.
    period: Mutex<Period>,
    /// See [`Period::longest`].
    longest: AtomicU64,
    /// Those for whom there is no room.
    others: Arc<Subject>,
    /// Something was counted since control has looked.
    moved: AtomicBool,
    refused: AtomicU64,
    cut: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    subjects: HashMap<Arc<str>, Arc<Subject>>,
    /// When it was last looked for those whose periods are over.
    swept: u64,
}

/// What one of them has used.
#[derive(Debug)]
pub struct Subject {
    name: Arc<str>,
    /// The end of its period; [`TURNING`] while another one begins.
    until: AtomicU64,
    bytes: AtomicU64,
    requests: AtomicU64,
    /// Whether it has met its quota in this period, and whether control was told.
    met: AtomicU8,
}

/// The same as it is at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who it is.
    pub name: Arc<str>,
    /// The second of Unix time at which its period ends.
    pub until: u64,
    /// Bytes that it has used.
    pub bytes: u64,
    /// Requests that it has used.
    pub requests: u64,
}

/// How much there is in a period.
#[derive(Clone, Copy, Debug, Default)]
pub struct Most {
    /// Bytes, if they are limited.
    pub bytes: Option<u64>,
    /// Requests, if they are limited.
    pub requests: Option<u64>,
}

/// What is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Used {
    Bytes,
    Requests,
}

/// Workers rarely meet in one of so many.
const SHARDS: usize = 64;
/// Subjects in each: 65536 in all. Beyond that those who come share one, until the periods of others are over.
const EACH: usize = 1024;
/// Those who share one, as operators see them.
const OTHERS: &str = "others";
/// No moment: a period is about to begin.
const TURNING: u64 = 0;

const UNMET: u8 = 0;
const MET: u8 = 1;
const TOLD: u8 = 2;

impl Ledger {
    /// One in which nobody has used anything.
    pub fn new(period: Period) -> Ledger {
        Ledger {
            keys: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            longest: AtomicU64::new(period.longest()),
            period: Mutex::new(period),
            // Its first period begins with the first who comes.
            others: Arc::new(Subject::new(&OTHERS.into(), 1)),
            moved: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        }
    }

    /// From now on periods are these. One that has begun goes on, unless it would last longer than any of these.
    pub fn follow(&self, period: Period) {
        let mut known = lock(&self.period);
        self.longest.store(period.longest(), Ordering::Relaxed);
        *known = period;
    }

    /// The one of this name, which may be a new one.
    pub(super) fn subject(&self, name: &str, now: u64) -> Arc<Subject> {
        let mut shard = self.shard(name);
        if let Some(subject) = shard.subjects.get(name) {
            return Arc::clone(subject);
        }
        // Periods end by seconds: looking more often finds nobody else.
        if shard.subjects.len() >= EACH && shard.swept != now {
            shard.swept = now;
            shard.subjects.retain(|_, subject| !subject.is_idle(self, now));
        }
        if shard.subjects.len() >= EACH {
            return Arc::clone(&self.others);
        }
        let name: Arc<str> = name.into();
        let subject = Arc::new(Subject::new(&name, self.end(now)));
        shard.subjects.insert(name, Arc::clone(&subject));
        subject
    }

    /// Goes on with what was written down, as far as it is about the present period.
    pub fn adopt(&self, rows: impl IntoIterator<Item = Row>, now: u64) {
        let period = lock(&self.period).clone();
        for row in rows.into_iter().filter(|row| period.is_present(row.until, now)) {
            let subject = if *row.name == *OTHERS {
                Arc::clone(&self.others)
            } else {
                let mut shard = self.shard(&row.name);
                if shard.subjects.len() >= EACH && !shard.subjects.contains_key(&row.name) {
                    continue;
                }
                let fresh = || Arc::new(Subject::new(&row.name, 0));
                Arc::clone(shard.subjects.entry(Arc::clone(&row.name)).or_insert_with(fresh))
            };
            subject.bytes.store(row.bytes, Ordering::Relaxed);
            subject.requests.store(row.requests, Ordering::Relaxed);
            subject.until.store(row.until, Ordering::Release);
        }
    }

    /// All whose periods are not over, in no order. Others are forgotten.
    pub fn rows(&self, now: u64) -> Vec<Row> {
        let mut subjects = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.subjects.retain(|_, subject| !subject.is_idle(self, now));
            // Nobody waits until they are read.
            subjects.extend(shard.subjects.values().cloned());
        }
        subjects.push(Arc::clone(&self.others));
        subjects.iter().filter_map(|subject| subject.row(self, now)).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).subjects.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same of one.
    pub fn row(&self, name: &str, now: u64) -> Option<Row> {
        self.known(name)?.row(self, now)
    }

    /// Gives one all that there is in its period; says whether there is such a one.
    pub fn reset(&self, name: &str, now: u64) -> bool {
        let Some(subject) = self.known(name).filter(|subject| subject.row(self, now).is_some()) else { return false };
        subject.bytes.store(0, Ordering::Relaxed);
        subject.requests.store(0, Ordering::Relaxed);
        subject.met.store(UNMET, Ordering::Relaxed);
        self.note_moved();
        true
    }

    /// Whether anything was counted since this was asked last.
    pub fn has_moved(&self) -> bool {
        self.moved.swap(false, Ordering::Acquire)
    }

    /// Those who have met the quota and of whom nobody was told yet in their period.
    pub fn met(&self, now: u64) -> Vec<Row> {
        let mut met = Vec::new();
        let mut look = |subject: &Subject| {
            if subject.met.compare_exchange(MET, TOLD, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                met.extend(subject.row(self, now));
            }
        };
        self.shards.iter().for_each(|shard| lock(shard).subjects.values().for_each(|subject| look(subject)));
        look(&self.others);
        met
    }

    /// How many requests were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many transfers and tunnels were cut.
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// To be said behind what it is about: whoever looks meanwhile is to look again.
    pub(super) fn note_moved(&self) {
        // Workers share this line, and write to it once in a while only.
        if !self.moved.load(Ordering::Relaxed) {
            self.moved.store(true, Ordering::Release);
        }
    }

    pub(super) fn note_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_cut(&self) {
        self.cut.fetch_add(1, Ordering::Relaxed);
    }

    fn known(&self, name: &str) -> Option<Arc<Subject>> {
        if name == OTHERS { Some(Arc::clone(&self.others)) } else { self.shard(name).subjects.get(name).cloned() }
    }

    /// When a period ends that begins now.
    fn end(&self, now: u64) -> u64 {
        lock(&self.period).end(now)
    }

    /// Whether what ends so is not over. What ends too late was counted by a clock that was wrong, or by longer periods.
    fn lasts(&self, until: u64, now: u64) -> bool {
        now < until && until - now <= self.longest.load(Ordering::Relaxed)
    }

    fn shard(&self, name: &str) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.keys.hash_one(name) as usize % SHARDS])
    }
}

/// A panic in another thread leaves nothing half done here.
fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Subject {
    fn new(name: &Arc<str>, until: u64) -> Subject {
        Subject {
            name: Arc::clone(name),
            until: AtomicU64::new(until),
            bytes: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            met: AtomicU8::new(UNMET),
        }
    }

    /// Takes one request, if there is one left, and bytes.
    pub(super) fn request(&self, most: Most, ledger: &Ledger, now: u64) -> Result<(), Used> {
        if !self.settle(ledger, now) {
            // In this very moment another period begins, and nobody can have used it up.
            self.requests.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let used = if most.bytes.is_some_and(|most| self.bytes.load(Ordering::Relaxed) >= most) {
            Some(Used::Bytes)
        } else {
            let most = most.requests.unwrap_or(u64::MAX);
            let one_more = |had: u64| (had < most).then(|| had + 1);
            let taken = self.requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
            taken.is_err().then_some(Used::Requests)
        };
        match used {
            None => Ok(()),
            Some(used) => {
                self.meet();
                Err(used)
            }
        }
    }

    /// Gives a request back that was none in the end.
    pub(super) fn give_back(&self) {
        let _ = self.requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |had| had.checked_sub(1));
    }

    /// Counts bytes; says whether there were so many left.
    pub(super) fn bytes(&self, count: u64, most: Most, ledger: &Ledger, now: u64) -> bool {
        let stands = self.settle(ledger, now);
        let before = self.bytes.fetch_add(count, Ordering::Relaxed);
        let is_over = stands && most.bytes.is_some_and(|most| before.saturating_add(count) > most);
        if is_over {
            self.meet();
        }
        !is_over
    }

    /// How many seconds its period lasts.
    pub(super) fn left(&self, now: u64) -> u64 {
        self.until.load(Ordering::Relaxed).saturating_sub(now).max(1)
    }

    /// Begins another period if the one that was is over; says whether what is counted belongs to this one. It does not for the moment in
    /// which somebody else begins it.
    fn settle(&self, ledger: &Ledger, now: u64) -> bool {
        let until = self.until.load(Ordering::Acquire);
        if until == TURNING {
            return false;
        }
        if ledger.lasts(until, now) {
            return true;
        }
        if self.until.compare_exchange(until, TURNING, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        self.bytes.store(0, Ordering::Relaxed);
        self.requests.store(0, Ordering::Relaxed);
        self.met.store(UNMET, Ordering::Relaxed);
        self.until.store(ledger.end(now), Ordering::Release);
        true
    }

    fn meet(&self) {
        let _ = self.met.compare_exchange(UNMET, MET, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether nobody uses it, and nothing of it counts any more.
    fn is_idle(self: &Arc<Subject>, ledger: &Ledger, now: u64) -> bool {
        Arc::strong_count(self) == 1 && self.row(ledger, now).is_none()
    }

    fn row(&self, ledger: &Ledger, now: u64) -> Option<Row> {
        let until = self.until.load(Ordering::Acquire);
        let row = Row {
            name: Arc::clone(&self.name),
            until,
            bytes: self.bytes.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
        };
        ledger.lasts(until, now).then_some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Period;
    use super::*;

    const MINUTE: Period = Period::Rolling(60);
    const NOW: u64 = 1_000_000;

    fn most(bytes: Option<u64>, requests: Option<u64>) -> Most {
        Most { bytes, requests }
    }

    #[test]
    fn so_many_requests_pass_in_a_period_and_no_more() {
        let ledger = Ledger::new(MINUTE);
        let (ann, two) = (ledger.subject("ann", NOW), most(None, Some(2)));
        assert_eq!([(); 3].map(|()| ann.request(two, &ledger, NOW)), [Ok(()), Ok(()), Err(Used::Requests)]);
        assert_eq!(ann.left(NOW), 60);
        assert!(ledger.subject("bob", NOW).request(two, &ledger, NOW).is_ok(), "others have their own");
        assert_eq!(ann.request(two, &ledger, NOW + 59), Err(Used::Requests));
        // At its edge, and not before.
        assert_eq!(ann.request(two, &ledger, NOW + 60), Ok(()));
        assert_eq!(ann.left(NOW + 60), 60);
        ann.give_back();
        assert_eq!(ann.row(&ledger, NOW + 60).expect("a row").requests, 0);
    }

    #[test]
    fn bytes_are_counted_beyond_and_the_next_period_begins_with_none() {
        let ledger = Ledger::new(MINUTE);
        let (ann, hundred) = (ledger.subject("ann", NOW), most(Some(100), None));
        assert!(ann.bytes(100, hundred, &ledger, NOW), "all that there is may be used");
        assert!(ledger.met(NOW).is_empty());
        assert_eq!(ann.request(hundred, &ledger, NOW), Err(Used::Bytes));
        assert!(!ann.bytes(1, hundred, &ledger, NOW));
        let told: Vec<_> = ledger.met(NOW).into_iter().map(|row| (row.name, row.bytes)).collect();
        assert_eq!(told, [("ann".into(), 101)]);
        assert!(ledger.met(NOW).is_empty(), "once in a period");
        // A tunnel that is still there begins the next period by what goes through it.
        assert!(ann.bytes(7, hundred, &ledger, NOW + 60));
        assert_eq!(ann.row(&ledger, NOW + 60).expect("a row").bytes, 7);
        assert!(!ann.bytes(94, hundred, &ledger, NOW + 60) && ledger.met(NOW + 60).len() == 1);
        assert!(ledger.reset("ann", NOW + 60) && !ledger.reset("nobody", NOW + 60));
        assert!(!ledger.reset("ann", NOW + 120) && !ledger.reset(OTHERS, NOW), "nothing of them counts");
        assert_eq!(ann.request(hundred, &ledger, NOW + 60), Ok(()));
    }

    #[test]
    fn what_was_written_down_goes_on_and_what_is_over_does_not() {
        let (before, after) = (Ledger::new(MINUTE), Ledger::new(MINUTE));
        assert!(!before.has_moved());
        before.subject("ann", NOW).bytes(5, Most::default(), &before, NOW);
        before.note_moved();
        assert!(before.has_moved() && !before.has_moved());
        let mut rows = before.rows(NOW + 59);
        assert_eq!(rows, [Row { name: "ann".into(), until: NOW + 60, bytes: 5, requests: 0 }]);
        rows.push(Row { name: OTHERS.into(), until: NOW + 60, bytes: 9, requests: 1 });
        after.adopt(rows, NOW);
        assert_eq!(after.rows(NOW).len(), 2);
        assert!(!after.subject("ann", NOW).bytes(1, most(Some(5), None), &after, NOW + 1));
        assert!(after.rows(NOW + 60).is_empty() && after.is_empty());
        assert!(before.rows(NOW + 60).is_empty());
    }

    #[test]
    fn a_clock_that_was_ahead_locks_nobody_out() {
        let zone = || crate::route::Zone::fixed(0).expect("a zone");
        for (period, ahead) in [(Period::Day(zone()), 30 * 86_400), (Period::Hour(zone()), 20 * 3600)] {
            let (ledger, one) = (Ledger::new(period), most(None, Some(1)));
            let ann = ledger.subject("ann", NOW + ahead);
            assert!(ann.request(one, &ledger, NOW + ahead).is_ok());
            assert!(ann.request(one, &ledger, NOW).is_ok(), "the clock was set right");
            assert!(ann.request(one, &ledger, NOW).is_err());
        }
    }

    #[test]
    fn what_was_written_of_other_periods_is_forgotten() {
        let hour = Period::Hour(crate::route::Zone::fixed(0).expect("a zone"));
        let end = hour.end(NOW);
        let row = |name: &str, until| Row { name: name.into(), until, bytes: 1, requests: 1 };
        let rows = [row("is", end), row("was", end - 3600), row("ahead", end + 3600), row("late", u64::MAX)];
        let ledger = Ledger::new(hour);
        ledger.adopt(rows, NOW);
        assert_eq!(ledger.rows(NOW), [row("is", end)]);
        let rolling = Ledger::new(MINUTE);
        rolling.adopt([row("is", NOW + 1), row("was", NOW), row("ahead", NOW + 61)], NOW);
        assert_eq!(rolling.rows(NOW), [row("is", NOW + 1)]);
    }

    #[test]
    fn periods_are_the_ledgers_and_not_those_of_whoever_counts() {
        let ledger = Ledger::new(MINUTE);
        let month = Period::Rolling(30 * 86_400);
        let (tunnel, two) = (ledger.subject("ann", NOW), most(None, Some(2)));
        assert!(tunnel.request(two, &ledger, NOW).is_ok());
        ledger.follow(month);
        assert_eq!(tunnel.left(NOW), 60, "what has begun goes on");
        // The first of a month, by a tunnel that is older than it; it stays one for all.
        assert!(tunnel.request(two, &ledger, NOW + 60).is_ok());
        assert_eq!(tunnel.left(NOW + 60), 30 * 86_400);
        tunnel.bytes(1, two, &ledger, NOW + 61);
        assert_eq!(ledger.row("ann", NOW + 61).map(|row| (row.bytes, row.requests)), Some((1, 1)));
        ledger.follow(MINUTE);
        assert_eq!(ledger.row("ann", NOW + 62), None, "no period is so long any more");
        assert!(tunnel.request(two, &ledger, NOW + 62).is_ok() && tunnel.left(NOW + 62) == 60);
    }

    #[test]
    fn a_full_table_is_looked_through_once_in_a_second() {
        let ledger = Ledger::new(MINUTE);
        let name = |number: usize| format!("user={number}");
        let held: Vec<_> = (0..SHARDS * EACH * 2).map(|number| ledger.subject(&name(number), NOW)).collect();
        let full = |shard: &Mutex<Shard>| lock(shard).subjects.len() == EACH && lock(shard).swept == NOW;
        assert!(ledger.shards.iter().all(full));
        drop(held);
        // It has been, in this second: nobody else is found before the next one.
        ledger.subject("ann", NOW);
        assert!(ledger.shards.iter().all(|shard| lock(shard).subjects.len() == EACH));
        assert!(!Arc::ptr_eq(&ledger.subject("ann", NOW + 60), &ledger.others));
    }

    #[test]
    fn there_are_so_many_and_those_beyond_share_one() {
        let ledger = Ledger::new(MINUTE);
        let name = |number: usize| format!("client_ip=2001:db8::{number:x}");
        let held: Vec<_> = (0..SHARDS * EACH * 2).map(|number| ledger.subject(&name(number), NOW)).collect();
        assert!(held.iter().any(|subject| Arc::ptr_eq(subject, &ledger.others)) && ledger.len() <= SHARDS * EACH);
        drop(held);
        // Whose period is over makes room, and whoever uses it stays.
        let stays = ledger.subject(&name(0), NOW);
        let later = NOW + 60;
        assert!(
            (0..100)
                .map(|number| ledger.subject(&format!("new{number}"), later))
                .all(|subject| !Arc::ptr_eq(&subject, &ledger.others))
        );
        assert!(Arc::ptr_eq(&stays, &ledger.subject(&name(0), later)));
    }

    #[test]
    fn workers_count_together() {
        let ledger = Ledger::new(MINUTE);
        let passed: usize = std::thread::scope(|scope| {
            let count = || {
                (0..10_000)
                    .filter(|_| ledger.subject("ann", NOW).request(most(None, Some(15_000)), &ledger, NOW).is_ok())
                    .count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().expect("a count")).sum()
        });
        assert_eq!(passed, 15_000);
    }
}
