//! epoll, level-triggered, with the descriptor's number as the event's data.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::{Errno, Result};

pub use rustix::event::epoll::EventFlags as Interest;

pub struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    pub fn new() -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(256) })
    }

    pub fn add(&self, fd: impl AsFd, interest: Interest) -> Result<()> {
        let data = epoll::EventData::new_u64(fd.as_fd().as_raw_fd() as u64);
        epoll::add(&self.epoll, fd, data, interest)
    }

    pub fn change(&self, fd: impl AsFd, interest: Interest) -> Result<()> {
        let data = epoll::EventData::new_u64(fd.as_fd().as_raw_fd() as u64);
        epoll::modify(&self.epoll, fd, data, interest)
    }

    /// Waits for events and moves the ready descriptors' numbers into `ready`.
    pub fn wait(&mut self, ready: &mut Vec<usize>, timeout: Option<Duration>) -> Result<()> {
        let timeout =
            timeout.map(|time| Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() });
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(fault) => return Err(fault),
        }
        ready.clear();
        ready.extend(self.events.iter().map(|event| event.data.u64() as usize));
        Ok(())
    }
}
