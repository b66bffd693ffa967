//! The access log itself: one thread that writes what the sinks hand over.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::queue::{Next, Queue};
use super::{Format, Sink, Target};
use crate::log;

/// The access log: owns the thread that writes.
///
/// Dropping it ends the thread once the last [`Sink`] is dropped and all its lines are written.
#[derive(Debug)]
pub struct Log {
    queue: Arc<Queue>,
    format: Format,
}

impl Log {
    /// Opens the target and starts the writer.
    ///
    /// # Errors
    /// The file cannot be opened or made, is a FIFO that nobody reads, or there are no threads left.
    pub fn open(target: Target, format: Format) -> io::Result<Log> {
        let queue = Arc::new(Queue::default());
        let output = Output { file: open(&target)?, target, torn: false, failing: false };
        let shared = Arc::clone(&queue);
        thread::Builder::new().name("access-log".to_owned()).spawn(move || run(&shared, output))?;
        Ok(Log { queue, format })
    }

    /// A new end for a worker.
    pub fn sink(&self) -> Sink {
        Sink::new(Arc::clone(&self.queue), self.format)
    }

    /// Lines lost so far: the writer was behind, or writing failed.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Closes the file and opens it anew by its name, after something has renamed it. If that fails, the old one is
    /// kept and the process's log says so. Standard output and error stay as they are.
    pub fn reopen(&self) {
        self.queue.reopen();
    }

    /// Takes no more lines, and waits until those that were handed over are written. Flush or drop the sinks before.
    ///
    /// Says whether all were written; those that were not count as dropped.
    pub fn shutdown(&self, within: Duration) -> bool {
        self.queue.close(within)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue.orphan();
    }
}

fn run(queue: &Queue, mut output: Output) {
    loop {
        match queue.next() {
            Next::Lines(lines) => {
                output.write(&lines, queue);
                queue.give_back(lines);
            }
            Next::Reopen => output.reopen(),
            Next::End => return queue.end(),
        }
    }
}

/// The file that lines go to.
struct Output {
    file: File,
    target: Target,
    /// The last line that reached the file lacks its end.
    torn: bool,
    /// The last write failed, and the operator was told.
    failing: bool,
}

impl Output {
    fn write(&mut self, lines: &[u8], queue: &Queue) {
        if self.torn && self.write_all(b"\n", queue).is_ok() {
            self.torn = false;
        }
        match self.write_all(lines, queue) {
            Ok(()) if self.failing => {
                self.failing = false;
                log::warn(format_args!("access log: {} can be written again", self.target));
            }
            Ok(()) => {}
            Err((written, error)) => {
                if let Some(last) = written.checked_sub(1) {
                    self.torn = lines[last] != b'\n';
                }
                queue.drop_lines(&lines[written..]);
                if !std::mem::replace(&mut self.failing, true) {
                    log::error(format_args!("access log: cannot write to {}, lines are lost: {error}", self.target));
                }
            }
        }
    }

    /// Writes everything, or says how much was written before it failed.
    fn write_all(&mut self, bytes: &[u8], queue: &Queue) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && !queue.is_abandoned() => self.wait(),
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }

    /// Waits until a pipe has room, for a second at most.
    fn wait(&self) {
        let mut descriptors = [PollFd::new(&self.file, PollFlags::OUT)];
        // Whatever it answers, the next write finds out.
        let _ = poll(&mut descriptors, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }));
    }

    fn reopen(&mut self) {
        let Target::File(_) = self.target else { return };
        match open(&self.target) {
            Ok(file) => {
                self.file = file;
                self.torn = false;
                log::info(format_args!("access log: reopened {}", self.target));
            }
            Err(error) => log::error(format_args!("access log: cannot reopen {}: {error}", self.target)),
        }
    }
}

/// Files are opened without blocking: regular ones do not care, and a FIFO that nobody reads is an error instead of a
/// wait without end.
fn open(target: &Target) -> io::Result<File> {
    match target {
        Target::Stdout => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        Target::Stderr => Ok(File::from(io::stderr().as_fd().try_clone_to_owned()?)),
        Target::File(path) => {
            let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
            OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags.bits() as i32).open(path)
        }
    }
}
