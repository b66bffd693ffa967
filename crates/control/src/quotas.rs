//! What was used of quotas: kept by name over reloads, and in a file of the state folder over restarts.
//!
//! Workers count without knowing of it. What was counted since the last look is written down every two seconds, away from control and
//! workers, and at the end of the process: a process that is killed has lost two seconds at most.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base::civil::Civil;
use config::spec::{PolicyKind, Quota, Spec};
use proxy::quota::{Ledger, Row};
use serde_json::{Map, Value, json};

use crate::files;

/// How often what was counted is written down.
pub(crate) const WRITTEN_EVERY: Duration = Duration::from_secs(2);
/// The file in the state folder.
const FILE: &str = "quotas.json";
/// No larger file is read: all subjects that a few quotas can have.
const LARGEST: u64 = 256 * 1024 * 1024;
/// Who has met a quota is told of so often in one look; the others are counted.
const TOLD_AT_ONCE: usize = 16;
/// What stands at the beginning of the file.
const VERSION: u64 = 1;

/// All quotas, by their names.
#[derive(Debug, Default)]
pub struct Quotas {
    known: BTreeMap<String, Known>,
    /// What was read of those that nobody has asked for yet.
    read: BTreeMap<String, Vec<Row>>,
    /// Where it is written to, once there was a quota.
    path: Option<PathBuf>,
    /// Held by whoever writes: of two that do, the later one is to know more.
    turn: Arc<Mutex<()>>,
    /// It could not be written the last time, which was said.
    is_owed: bool,
}

/// One of them.
#[derive(Debug)]
pub struct Known {
    /// What it is, as the configuration said it last.
    pub said: Quota,
    /// What everybody has used.
    pub ledger: Arc<Ledger>,
}

/// What there is to write, for whoever writes it.
pub(crate) struct Copy {
    path: PathBuf,
    turn: Arc<Mutex<()>>,
    ledgers: Vec<(String, Arc<Ledger>)>,
    unasked: BTreeMap<String, Vec<Row>>,
}

impl Quotas {
    /// Reads what was used before this process began, when the first quota comes. A file that cannot be read is put aside: nobody has
    /// used anything then.
    pub fn open(&mut self, spec: &Spec) {
        let is_there = spec.policies.iter().any(|policy| matches!(policy.kind, PolicyKind::Quota(_)));
        if !is_there {
            return;
        }
        let path = spec.state.as_deref().unwrap_or(Path::new(".")).join(FILE);
        if self.path.is_none() {
            match read(&path, now()) {
                Ok(read) => self.read = read,
                Err(why) => put_aside(&path, &why),
            }
        }
        self.path = Some(path);
    }

    /// What was used of one.
    pub fn ledger(&mut self, name: &str, said: &Quota) -> Arc<Ledger> {
        let fresh = || Known { said: said.clone(), ledger: Arc::default() };
        let known = self.known.entry(name.to_owned()).or_insert_with(fresh);
        known.said = said.clone();
        if let Some(rows) = self.read.remove(name) {
            known.ledger.adopt(rows);
        }
        Arc::clone(&known.ledger)
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

    /// What has to be written down, if anything was counted. Quotas that are gone are forgotten with the periods of those who had them.
    pub(crate) fn copy(&mut self) -> Option<Copy> {
        let moved = self.known.values().filter(|known| known.ledger.has_moved()).count();
        if moved == 0 && !self.is_owed {
            return None;
        }
        self.known.retain(|_, Known { ledger, .. }| Arc::strong_count(ledger) > 1 || !ledger.rows(now()).is_empty());
        let ledgers = self.known.iter().map(|(name, known)| (name.clone(), Arc::clone(&known.ledger))).collect();
        Some(Copy { path: self.path.clone()?, turn: Arc::clone(&self.turn), ledgers, unasked: self.read.clone() })
    }

    /// Says that it could not be written, or can be again.
    pub(crate) fn written(&mut self, written: io::Result<()>) {
        let path = self.path.as_deref().unwrap_or(Path::new(FILE)).display();
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
        if let Some(copy) = self.copy() {
            let written = copy.write();
            self.written(written);
        }
    }
}

impl Copy {
    /// Writes it in the place of what was there. It takes a disk's time.
    pub(crate) fn write(&self) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            files::folder(folder)?;
        }
        let now = now();
        let all = self.ledgers.iter().map(|(name, ledger)| (name.clone(), told(&ledger.rows(now))));
        let unasked = self.unasked.iter().map(|(name, rows)| (name.clone(), told(rows)));
        let quotas: Map<String, Value> = unasked.chain(all).collect();
        let document = json!({ "version": VERSION, "quotas": quotas });
        files::replace(&self.path, document.to_string().as_bytes())
    }
}

fn told(rows: &[Row]) -> Value {
    let one =
        |row: &Row| (row.name.to_string(), json!({ "until": row.until, "bytes": row.bytes, "requests": row.requests }));
    rows.iter().map(one).collect::<Map<_, _>>().into()
}

/// What a file says, without periods that are over. None is there before the first.
fn read(path: &Path, now: u64) -> Result<BTreeMap<String, Vec<Row>>, String> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(LARGEST + 1).read_to_end(&mut text).map_err(|error| error.to_string())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.to_string()),
    };
    if text.len() as u64 > LARGEST {
        return Err(format!("it is larger than {LARGEST} bytes"));
    }
    let document: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    understood(&document, now).ok_or_else(|| "it is not what this version writes".to_owned())
}

fn understood(document: &Value, now: u64) -> Option<BTreeMap<String, Vec<Row>>> {
    if document["version"] != VERSION {
        return None;
    }
    let mut quotas = BTreeMap::new();
    for (name, subjects) in document["quotas"].as_object()? {
        let mut rows = Vec::new();
        for (who, used) in subjects.as_object()? {
            let number = |key: &str| used[key].as_u64();
            let row = Row {
                name: who.as_str().into(),
                until: number("until")?,
                bytes: number("bytes")?,
                requests: number("requests")?,
            };
            rows.extend(Some(row).filter(|row| row.until > now));
        }
        quotas.insert(name.clone(), rows);
    }
    Some(quotas)
}

fn put_aside(path: &Path, why: &str) {
    let aside = path.with_extension("json.damaged");
    let kept = match fs::rename(path, &aside) {
        Ok(()) => format!("it is kept as `{}`", aside.display()),
        Err(error) => format!("it could not be put aside: {error}"),
    };
    observe::log::error(format_args!(
        "what was used of quotas cannot be read from `{}`, all begin with nothing used, {kept}: {why}",
        path.display()
    ));
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
