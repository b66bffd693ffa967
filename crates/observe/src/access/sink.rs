//! A worker's end of the access log.

use std::sync::Arc;

use super::queue::{FULL, Queue};
use super::{Format, Record, combined, json};
use crate::stamp::Stamp;

/// One worker's end of the access log: formats lines into a buffer of its own and hands it over when it is full.
///
/// It outlives its [`Log`](super::Log): after a reload made a new log, lines that still go to the old sink are written
/// where they were meant to go, until the sink is dropped. After a shutdown they are dropped and counted.
#[derive(Debug)]
pub struct Sink {
    queue: Arc<Queue>,
    format: Format,
    buffer: Vec<u8>,
    stamp: Stamp,
}

impl Sink {
    pub(super) fn new(queue: Arc<Queue>, format: Format) -> Sink {
        queue.sink_born();
        Sink { queue, format, buffer: Vec::new(), stamp: Stamp::default() }
    }

    /// Formats one line. It never waits: while the writer is behind, the line is dropped and counted.
    pub fn record(&mut self, record: &Record<'_>) {
        if self.buffer.len() >= FULL && !self.queue.hand_over(&mut self.buffer) {
            return self.queue.drop_count(1);
        }
        match self.format {
            Format::Json => json::write(record, &mut self.stamp, &mut self.buffer),
            Format::Combined => combined::write(record, &mut self.stamp, &mut self.buffer),
        }
        if self.buffer.len() >= FULL {
            self.flush();
        }
    }

    /// Hands over what is there, for the worker's ticker: a line should not wait for the next thousand. Lines that the
    /// writer has no room for stay here.
    pub fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.queue.hand_over(&mut self.buffer);
        }
    }

    /// The form of the lines; only [`Format::Combined`] shows `Referer` and `User-Agent`.
    pub fn format(&self) -> Format {
        self.format
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if !self.buffer.is_empty() {
            self.queue.hand_over_last(&mut self.buffer);
        }
        self.queue.sink_gone();
    }
}
