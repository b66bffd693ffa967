//! A connection of HTTP/3: QUIC has its streams already, so that each of them is read and written by its own task.
//!
//! - [`trunk`]: what belongs to the connection: its settings, the peer's own streams, its end
//! - [`boxes`]: datagrams of requests
//! - [`client`]: a connection to a server, as its pool sees it
//! - [`lane`]: a request's stream, as an exchange sees it

mod boxes;
mod client;
mod lane;
mod trunk;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use net::quic;
use wire::h2::Limits;
use wire::h3::settings::Settings;

pub use client::{Client, Driver};
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
    said: Said,
    boxes: boxes::Boxes,
}

/// What the peer has said of itself.
#[derive(Debug, Default)]
struct Said {
    settings: Cell<Option<Settings>>,
    /// The first request that it will not look at.
    goaway: Cell<Option<u64>>,
    /// Streams that it allows and nobody has used yet.
    spare: RefCell<Vec<quic::Stream>>,
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
    fn new(connection: quic::Connection, limits: Limits) -> Link {
        let (open, trunk, leftovers) = (Cell::new(0), RefCell::default(), RefCell::default());
        Rc::new(Shared {
            connection,
            limits,
            open,
            trunk,
            leftovers,
            said: Said::default(),
            boxes: boxes::Boxes::default(),
        })
    }

    fn wake_trunk(&self) {
        if let Some(waker) = self.trunk.borrow_mut().take() {
            waker.wake();
        }
    }
}
