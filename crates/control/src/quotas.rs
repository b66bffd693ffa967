//! What was used of quotas: kept by name over reloads, and in a file of the state folder over restarts.
//!
//! Workers count without knowing of it. What was counted since the last look is written down every two seconds, away from control and
//! workers, and at the end of the process: a process that is killed has lost two seconds at most.

mod home;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base::civil::Civil;
use config::Mistake;
use config::spec::{Per, PolicyKind, Quota, Spec};
use proxy::quota::{Ledger, Period, Row};

use crate::compile::zone;
use home::{Home, Used};

/// How often what was counted is written down.
pub(crate) const WRITTEN_EVERY: Duration = Duration::from_secs(2);
/// No period lasts for longer, in seconds.
const LONGEST: u64 = 366 * 86_400;
/// Who has met a quota is told of so often in one look; the others are counted.
const TOLD_AT_ONCE: usize = 16;

/// All quotas, by their names.
#[derive(Debug, Default)]
pub struct Quotas {
    known: BTreeMap<String, Known>,
    /// What was read of those that nobody has asked for yet.
    read: Used,
    /// Where it is written to, once there was a quota.
    home: Option<Arc<Home>>,
    /// Where it will be, if the configuration that is being looked at comes into force.
    next: Option<Arc<Home>>,
    /// Nothing was written there yet of what is known.
    is_new: bool,
    /// It could not be written the last time, which was said.
    is_owed: bool,
}

/// One of them.
#[derive(Debug)]
pub struct Known {
    /// What it is, as the configuration in force says it.
    pub said: Quota,
    /// What it will be, if the one that is being looked at comes into force.
    next: Option<Quota>,
    /// What everybody has used.
    pub ledger: Arc<Ledger>,
}

/// What there is to write, for whoever writes it.
pub(crate) struct Copy {
    home: Arc<Home>,
    ledgers: Vec<(String, Arc<Ledger>)>,
    unasked: Used,
}

impl Quotas {
    /// Finds out where what is used by a configuration is written to, and reads what was used before this process began when the first
    /// quota comes. Nothing else changes before it [comes into force](Quotas::commit).
    ///
    /// # Errors
    /// The file is another process's, or cannot be read.
    pub fn open(&mut self, spec: &Spec) -> Result<(), Mistake> {
        let is_quota = |policy: &&config::spec::Policy| matches!(policy.kind, PolicyKind::Quota(_));
        let Some(first) = spec.policies.iter().find(is_quota) else { return Ok(()) };
        let folder = spec.state.as_deref().unwrap_or(Path::new("."));
        if [&self.next, &self.home].into_iter().flatten().any(|home| home.is_in(folder)) {
            return Ok(());
        }
        let mistake = |message| Mistake { message, span: first.span.clone() };
        let home = Home::take(folder).map_err(mistake)?;
        if self.home.is_none() {
            self.read = home.read().map_err(mistake)?;
        }
        self.next = Some(Arc::new(home));
        Ok(())
    }

    /// What was used of one.
    pub fn ledger(&mut self, name: &str, said: &Quota) -> Arc<Ledger> {
        let fresh = || Known { said: said.clone(), next: None, ledger: Arc::new(Ledger::new(period(&said.per))) };
        let known = self.known.entry(name.to_owned()).or_insert_with(fresh);
        known.next = Some(said.clone());
        if let Some(rows) = self.read.remove(name) {
            known.ledger.adopt(rows, now());
        }
        Arc::clone(&known.ledger)
    }

    /// What was looked at is in force.
    pub fn commit(&mut self) {
        if let Some(next) = self.next.take() {
            self.is_new = self.home.is_some();
            self.home = Some(next);
        }
        for known in self.known.values_mut() {
            if let Some(next) = known.next.take() {
                if next.per != known.said.per {
                    known.ledger.follow(period(&next.per));
                }
                known.said = next;
            }
        }
    }

    /// What was looked at does not come into force.
    pub fn abandon(&mut self) {
        self.next = None;
        self.known.values_mut().for_each(|known| known.next = None);
        if self.home.is_none() {
            (self.known, self.read) = Default::default();
        }
    }

    /// Those that routes have.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Known)> {
        let in_force = self.known.iter().filter(|(_, known)| Arc::strong_count(&known.ledger) > 1);
        in_force.map(|(name, known)| (name.as_str(), known))
    }

    /// Says who has met a quota, once in a period.
    pub(crate) fn tell(&self) {
        for (name, known) in &self.known {
            let met = known.ledger.met(now());
            for row in met.iter().take(TOLD_AT_ONCE) {
                let Row { name: who, until, bytes, requests } = row;
                let who = who.escape_debug();
                let until = Civil::of(*until).rfc3339();
                observe::log::warn(format_args!(
                    "quota `{name}`: `{who}` has used it up until {until}: {bytes} bytes, {requests} requests"
                ));
            }
            let more = met.len().saturating_sub(TOLD_AT_ONCE);
            if more > 0 {
                observe::log::warn(format_args!("quota `{name}`: others have used it up, too: {more}"));
            }
        }
    }

    /// What has to be written down, if anything was counted.
    pub(crate) fn copy(&mut self) -> Option<Copy> {
        let moved = self.known.values().filter(|known| known.ledger.has_moved()).count();
        if moved > 0 || self.is_owed || self.is_new { self.all() } else { None }
    }

    /// Everything. Quotas that are gone are forgotten with the periods of those who had them.
    fn all(&mut self) -> Option<Copy> {
        let home = Arc::clone(self.home.as_ref()?);
        self.is_new = false;
        self.known.retain(|_, Known { ledger, .. }| Arc::strong_count(ledger) > 1 || !ledger.rows(now()).is_empty());
        let ledgers = self.known.iter().map(|(name, known)| (name.clone(), Arc::clone(&known.ledger))).collect();
        let now = now();
        self.read.retain(|_, rows| {
            rows.retain(|row| (1..=LONGEST).contains(&row.until.saturating_sub(now)));
            !rows.is_empty()
        });
        Some(Copy { home, ledgers, unasked: self.read.clone() })
    }

    /// Says that it could not be written, or can be again.
    pub(crate) fn written(&mut self, written: io::Result<()>) {
        let Some(home) = &self.home else { return };
        let path = home.path().display();
        match &written {
            Ok(()) if self.is_owed => observe::log::info(format_args!("quotas are written to `{path}` again")),
            Err(error) if !self.is_owed => observe::log::error(format_args!(
                "quotas cannot be written to `{path}`, a restart will have forgotten what was used: {error}"
            )),
            _ => {}
        }
        self.is_owed = written.is_err();
    }

    /// Writes what was counted last.
    pub fn close(&mut self) {
        self.tell();
        if let Some(copy) = self.all() {
            let written = copy.write();
            self.written(written);
        }
    }
}

impl Copy {
    /// Writes it in the place of what was there. It takes a disk's time.
    pub(crate) fn write(&self) -> io::Result<()> {
        self.home.write(|| {
            let now = now();
            let all = self.ledgers.iter().map(|(name, ledger)| (name.clone(), ledger.rows(now)));
            self.unasked.clone().into_iter().chain(all).collect()
        })
    }
}

fn period(said: &Per) -> Period {
    match said {
        Per::Hour(at) => Period::Hour(zone(at)),
        Per::Day(at) => Period::Day(zone(at)),
        Per::Week(at) => Period::Week(zone(at)),
        Per::Month(at) => Period::Month(zone(at)),
        Per::Rolling(length) => Period::Rolling(length.as_secs()),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
