//! A program of another making that runs beside a test, and ends with it.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::client::Client;
use crate::wait::until;

/// A process that is asked to end, and is killed where it does not, when this is dropped.
#[derive(Debug)]
pub struct Process(Child);

/// How long it may take to end when it was asked to.
const GRACE: Duration = Duration::from_secs(10);

impl Process {
    /// Starts it.
    ///
    /// # Panics
    /// It cannot be run.
    pub fn start(command: &mut Command) -> Process {
        Process(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Starts it, and waits until it listens.
    ///
    /// # Panics
    /// It does not.
    pub fn listening(command: &mut Command, address: &str) -> Process {
        let mut process = Process::start(command);
        until("a server listens", || {
            assert!(!process.has_ended(), "{command:?} has ended");
            Client::try_connect(address).is_some()
        });
        process
    }

    /// Starts it, and waits for the first line that it says. What it reads ends when it should.
    ///
    /// # Panics
    /// It says nothing.
    pub fn saying(command: &mut Command) -> (Process, String) {
        let mut process = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let line = process.out().next().expect("a line").expect("a text");
        (process, line)
    }

    /// What it says on standard output, if that is a pipe.
    ///
    /// # Panics
    /// It is none, or somebody else has it.
    pub fn out(&mut self) -> Lines<BufReader<ChildStdout>> {
        BufReader::new(self.0.stdout.take().expect("a pipe")).lines()
    }

    /// What it says on standard error, if that is a pipe.
    ///
    /// # Panics
    /// It is none, or somebody else has it.
    pub fn err(&mut self) -> Lines<BufReader<ChildStderr>> {
        BufReader::new(self.0.stderr.take().expect("a pipe")).lines()
    }

    /// Stops it: connections are still taken by the kernel, and nothing answers.
    pub fn hang(&self) {
        self.signal(Signal::STOP).expect("a running process");
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT).expect("a running process");
    }

    /// Ends it at once, as `kill -9` does.
    ///
    /// # Panics
    /// It has ended before.
    pub fn kill(&mut self) {
        self.0.kill().expect("a running process");
        // It is gone, whatever its status.
        let _ = self.0.wait();
    }

    fn signal(&self, signal: Signal) -> rustix::io::Result<()> {
        kill_process(Pid::from_child(&self.0), signal)
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("a child").is_some()
    }

    fn ends_soon(&self) -> bool {
        let time = Timespec::try_from(GRACE).ok();
        let ended = |process| poll(&mut [PollFd::new(&process, PollFlags::IN)], time.as_ref());
        pidfd_open(Pid::from_child(&self.0), PidfdFlags::empty()).and_then(ended) == Ok(1)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        // Some have children of their own, which end by this with them. One hears the one, another the other, and who is stopped
        // neither.
        for signal in [Signal::TERM, Signal::INT, Signal::CONT] {
            let _ = self.signal(signal);
        }
        if !self.ends_soon() {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}
