//! The thread that writes an archive, and the ends of it that workers hold.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::file::Archive;
use super::{Entry, Place, Redact, har};
use crate::log;
use crate::stamp::Stamp;

/// So many entries may wait for the writer. What they hold is bounded for itself.
const WAITING: usize = 4096;
/// Entries are written together up to so many bytes.
const BATCH: usize = 256 * 1024;
/// How often the operator is told that entries are lost.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// How an archive is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// When it is this large, another one begins.
    pub max_size: u64,
    /// So many that are full are kept.
    pub keep: u32,
    /// What is not told.
    pub redact: Redact,
}

/// An archive that is written: it is open until nobody has a [`Recorder`] of it any more.
#[derive(Debug)]
pub struct Capture {
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
    ended: Receiver<()>,
}

/// A worker's end of an archive.
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
    bodies: usize,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    budget: Arc<Budget>,
    /// Only control and the writer look at it.
    settings: Mutex<Settings>,
    closing: AtomicBool,
    written: AtomicU64,
    lost: AtomicU64,
}

enum Message {
    Entry(Box<Entry>),
    /// Look what there is to do.
    Wake,
}

impl Capture {
    /// Opens the file and starts its writer.
    ///
    /// # Errors
    /// The file cannot be opened or made, is something else, is written by another process, or there are no threads left.
    pub fn open(path: &Path, settings: Settings) -> io::Result<Capture> {
        let archive = Archive::open(path)?;
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            budget: Arc::default(),
            settings: Mutex::new(settings),
            closing: AtomicBool::new(false),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let (queue, inbox) = sync_channel(WAITING);
        let (end, ended) = sync_channel(1);
        let writer = Writer { archive, shared: Arc::clone(&shared), stamp: Stamp::default(), told: None };
        thread::Builder::new().name("capture".to_owned()).spawn(move || {
            writer.run(&inbox);
            // If nobody waits for it, all the better.
            let _ = end.send(());
        })?;
        Ok(Capture { shared, queue, ended })
    }

    /// A new end for workers, which keeps so much of each body.
    pub fn recorder(&self, bodies: usize) -> Recorder {
        Recorder { shared: Arc::clone(&self.shared), queue: self.queue.clone(), bodies }
    }

    /// From here on it is kept like this.
    pub fn set(&self, settings: Settings) {
        *self.shared.settings() = settings;
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Entries that were written.
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Entries that were lost: the writer was behind, there was no memory for them, or writing failed.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Whether nobody has a [`Recorder`] of it.
    pub fn is_unused(&self) -> bool {
        // The writer has one, and this is one.
        Arc::strong_count(&self.shared) <= 2
    }

    /// Takes no more entries, and waits until those that were handed over are written; says whether all were.
    pub fn shutdown(self, within: Duration) -> bool {
        self.shared.closing.store(true, Ordering::Release);
        // If there is no room for it, there is enough to wake up for.
        let _ = self.queue.try_send(Message::Wake);
        self.ended.recv_timeout(within).is_ok()
    }
}

impl Recorder {
    /// A place for one more entry, if there is one. None is a loss, and counted.
    pub fn begin(&self) -> Option<Place> {
        let place = Place::take(&self.shared.budget);
        if place.is_none() {
            self.lost();
        }
        place
    }

    /// How much of a body is kept.
    pub fn bodies(&self) -> usize {
        self.bodies
    }

    /// Hands an entry over. It never waits.
    pub fn record(&self, entry: Box<Entry>) {
        if self.queue.try_send(Message::Entry(entry)).is_err() {
            self.lost();
        }
    }

    /// Counts an entry that came to nothing.
    pub fn lost(&self) {
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn settings(&self) -> std::sync::MutexGuard<'_, Settings> {
        // The settings are whole whenever the lock is free, also after a panic elsewhere.
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Writer {
    archive: Archive,
    shared: Arc<Shared>,
    stamp: Stamp,
    /// When the operator was told of losses last, and how many there were.
    told: Option<(Instant, u64)>,
}

impl Writer {
    fn run(mut self, inbox: &Receiver<Message>) {
        let (mut text, mut line) = (Vec::new(), Vec::new());
        while let Some(first) = self.next(inbox) {
            let settings = self.shared.settings().clone();
            let mut count = 0;
            for message in std::iter::once(first).chain(inbox.try_iter()) {
                let Message::Entry(entry) = message else { continue };
                line.clear();
                har::write(&entry, &settings.redact, &mut self.stamp, &mut line);
                drop(entry);
                if count > 0 && self.archive.length_with(text.len() + line.len()) > settings.max_size {
                    self.write(&mut text, &mut count, &settings);
                }
                if count > 0 {
                    text.extend_from_slice(b",\n");
                }
                text.extend_from_slice(&line);
                count += 1;
                if text.len() >= BATCH {
                    break;
                }
            }
            self.write(&mut text, &mut count, &settings);
            self.tell();
            if text.capacity() > 4 * BATCH {
                text = Vec::new();
            }
        }
    }

    /// The next message; nothing if there is none and will be none.
    fn next(&self, inbox: &Receiver<Message>) -> Option<Message> {
        if !self.shared.closing.load(Ordering::Acquire) {
            return inbox.recv().ok();
        }
        inbox.try_recv().ok()
    }

    fn write(&mut self, text: &mut Vec<u8>, count: &mut u64, settings: &Settings) {
        let (entries, count) = (std::mem::take(text), std::mem::take(count));
        if count == 0 {
            return;
        }
        let is_full = self.archive.has_entries() && self.archive.length_with(entries.len()) > settings.max_size;
        let rotated = if is_full { self.archive.rotate(settings.keep) } else { Ok(()) };
        match rotated.and_then(|()| self.archive.append(&entries)) {
            Ok(()) => {
                self.shared.written.fetch_add(count, Ordering::Relaxed);
            }
            Err(error) => {
                let lost = self.shared.lost.fetch_add(count, Ordering::Relaxed) + count;
                if self.told.is_none_or(|(when, _)| when.elapsed() > TOLD_EVERY) {
                    let path = self.shared.path.display();
                    log::error(format_args!("capture: cannot write to `{path}`, entries are lost: {error}"));
                    self.told = Some((Instant::now(), lost));
                }
            }
        }
        *text = entries;
        text.clear();
    }

    /// Tells the operator of losses, now and then.
    fn tell(&mut self) {
        let lost = self.shared.lost.load(Ordering::Relaxed);
        let (when, before) = self.told.map_or((None, 0), |(when, before)| (Some(when), before));
        if lost > before && when.is_none_or(|when| when.elapsed() > TOLD_EVERY) {
            let path = self.shared.path.display();
            log::warn(format_args!("capture: `{path}` does not keep up, entries that were lost: {}", lost - before));
            self.told = Some((Instant::now(), lost));
        }
    }
}
