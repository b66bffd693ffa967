//! A connection of HTTP/3: QUIC has its streams already, so that each of them is read and written by its own task.
//!
//! - [`trunk`]: what belongs to the connection: its settings, the client's own streams, its end
//! - [`lane`]: a request's stream, as an exchange sees it

mod lane;
mod trunk;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use net::quic;
use wire::h2::Limits;

pub use lane::{Came, Lane};
pub use trunk::{End, Trunk};

/// What the trunk and the lanes of a connection share.
#[derive(Debug)]
struct Shared {
    connection: quic::Connection,
    limits: Limits,
    /// Lanes that live.
    open: Cell<usize>,
    /// Wakes the task of the trunk.
    trunk: RefCell<Option<Waker>>,
    /// Ends of messages that the client does not take yet, of lanes that are gone.
    leftovers: RefCell<Vec<Leftover>>,
}

/// The end of a message.
#[derive(Debug)]
struct Leftover {
    stream: quic::Stream,
    bytes: Vec<u8>,
    at: usize,
}

type Link = Rc<Shared>;

impl Shared {
    fn wake_trunk(&self) {
        if let Some(waker) = self.trunk.borrow_mut().take() {
            waker.wake();
        }
    }
}
