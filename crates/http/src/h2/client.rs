//! A client's connection as its pool sees it: whether it has room for a request, and a lane for each.

use std::cell::RefCell;
use std::rc::Rc;

use wire::h2::{Code, StreamId};

use super::{Lane, Link, Shared};

/// What gives lanes of a connection to a server.
#[derive(Debug, Clone)]
pub struct Client {
    link: Link,
}

impl Client {
    pub(super) fn new(link: &Link) -> Client {
        Client { link: Link(Rc::clone(&link.0)) }
    }

    /// Whether the server has said its limits: before that, nobody knows what it can take.
    pub fn is_greeted(&self) -> bool {
        self.shared().borrow().codec.is_greeted()
    }

    /// Whether there is room for one more request.
    pub fn has_room(&self) -> bool {
        self.shared().borrow().has_room()
    }

    /// Whether no request will ever be taken again.
    pub fn is_leaving(&self) -> bool {
        let shared = self.shared().borrow();
        shared.over || shared.codec.is_leaving()
    }

    /// How many requests it has.
    pub fn open(&self) -> usize {
        let shared = self.shared().borrow();
        shared.lanes.len() + shared.reserved
    }

    /// A lane for one request, if there is room for it.
    pub fn lane(&self) -> Option<Lane> {
        let mut shared = self.shared().borrow_mut();
        if !shared.has_room() {
            return None;
        }
        shared.reserved += 1;
        drop(shared);
        Some(Lane::reserved(&self.link))
    }

    /// Wakes whoever drives the connection.
    pub fn wake(&self) {
        if let Some(driver) = &self.shared().borrow().driver {
            driver.wake_by_ref();
        }
    }

    fn shared(&self) -> &RefCell<Shared> {
        &self.link.0
    }
}

impl Shared {
    fn has_room(&self) -> bool {
        // Streams that are over for the codec and not for their exchange need no place at the server.
        let open = self.codec.open_streams() + self.reserved;
        !self.over && self.codec.is_greeted() && !self.codec.is_leaving() && open < self.codec.peer_streams() as usize
    }

    /// The server will not answer streams above this one: nothing of them was done (RFC 9113 section 6.8).
    pub(super) fn leave_behind(&mut self, last: u32) {
        let behind: Vec<StreamId> = self.lanes.keys().copied().filter(|id| id.number() > last).collect();
        for id in behind {
            self.codec.reset(id, Code::CANCEL);
            if let Some(strand) = self.lanes.get_mut(&id) {
                strand.broken = Some(Code::REFUSED_STREAM);
                strand.wake();
            }
        }
    }
}
