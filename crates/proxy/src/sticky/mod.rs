//! Clients that stay with their server: by a cookie of ours, or by what else a request says of its client.
//!
//! A server that is drained keeps its clients, as HAProxy has it; one that is out loses them. It never says where a client
//! goes that has no server yet.

mod table;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use table::Table;

use base::hex;
use rustc_hash::FxHashMap;

use crate::balance::Key;
use crate::exchange::Exchange;
use crate::pool::{Pool, Server, ServerId};
use crate::route;
use crate::seal::Seal;

/// How a pool's clients are known again.
#[derive(Clone, Debug)]
pub enum Sticky {
    /// By a cookie that the client keeps.
    Cookie(Cookie),
    /// By what its requests say, in a table here.
    Table(Known),
}

/// A cookie whose value stands for a server and names none.
#[derive(Clone, Debug)]
pub struct Cookie {
    name: Box<str>,
    attributes: Box<str>,
    /// The value for each server of the pool, and back.
    values: Box<[[u8; 32]]>,
    numbers: FxHashMap<[u8; 32], usize>,
}

/// Clients in a table.
#[derive(Clone, Debug)]
pub struct Known {
    /// What tells clients apart.
    pub key: Key,
    /// Where they were sent.
    pub table: Arc<Table>,
    /// How long that is remembered after their last request.
    pub lasts: Duration,
    /// The servers of the pool by their slots.
    numbers: FxHashMap<usize, usize>,
}

/// What is known of a request's client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stuck {
    /// The pool for which it holds.
    pool: usize,
    /// What it is in the table, if that can be told.
    key: Option<u64>,
    /// Its server.
    number: Option<usize>,
}

/// The server of this request's client, if it may still be used for it. Reads the request only once: the cookie is ours,
/// and servers never see it.
pub(crate) fn own(x: &mut Exchange, pool: &Pool) -> Option<usize> {
    let sticky = pool.sticky.as_ref()?;
    let stuck = match x.notes.stuck {
        Some(stuck) if stuck.pool == pool.key => stuck,
        _ => {
            let stuck = sticky.read(x, pool.key);
            x.notes.stuck = Some(stuck);
            stuck
        }
    };
    stuck.number.filter(|number| pool.servers.get(*number).is_some_and(|server| server.is_usable_for_its_own()))
}

/// Makes the client keep the server that has answered, where it does not yet.
pub(crate) fn tell(x: &mut Exchange, pool: &Pool) {
    let Some(sticky) = &pool.sticky else { return };
    let (Some(stuck), Some(number)) = (x.notes.stuck, x.notes.server) else { return };
    match sticky {
        Sticky::Cookie(_) if stuck.number == Some(number) => {}
        Sticky::Cookie(cookie) => {
            let Some(value) = cookie.values.get(number) else { return };
            x.response.add_parts(b"Set-Cookie", &[cookie.name.as_bytes(), b"=", value, cookie.attributes.as_bytes()]);
        }
        Sticky::Table(known) => {
            if let (Some(key), Some(server)) = (stuck.key, pool.servers.get(number)) {
                known.table.put(key, server.slot, Instant::now(), known.lasts);
            }
        }
    }
}

impl Sticky {
    fn read(&self, x: &mut Exchange, pool: usize) -> Stuck {
        match self {
            Sticky::Cookie(cookie) => {
                let named = |value: &[u8]| cookie.numbers.get(<&[u8; 32]>::try_from(value).ok()?).copied();
                let number = route::cookies(&x.request, cookie.name.as_bytes()).find_map(named);
                route::remove_cookie(&mut x.request, cookie.name.as_bytes());
                Stuck { pool, key: None, number }
            }
            Sticky::Table(known) => {
                let key = known.key.found(&x.facts.view(&x.request));
                let slot = key.and_then(|key| known.table.find(key, Instant::now()));
                Stuck { pool, key, number: slot.and_then(|slot| known.numbers.get(&slot).copied()) }
            }
        }
    }
}

impl Cookie {
    /// The cookie of a pool with these servers. Without a name of its own it has one that no other pool has: a host may lead
    /// to several, and each would take the other's cookie for a forged one.
    pub fn new(
        pool: &str,
        servers: &[Arc<Server>],
        name: Option<&str>,
        lasts: Option<Duration>,
        seal: &Seal,
    ) -> Cookie {
        let name =
            name.map_or_else(|| format!("tidegate-{:08x}", base::xxh64::hash(0, pool.as_bytes()) >> 32), str::to_owned);
        let max_age = lasts.map_or_else(String::new, |lasts| format!("; Max-Age={}", lasts.as_secs().max(1)));
        let values: Box<[_]> = servers.iter().map(|server| value(&server.id, seal)).collect();
        Cookie {
            name: name.into(),
            attributes: format!("; Path=/; HttpOnly; SameSite=Lax{max_age}").into(),
            numbers: values.iter().zip(0..).map(|(value, number)| (*value, number)).collect(),
            values,
        }
    }
}

impl Known {
    /// A table's view of a pool with these servers.
    pub fn new(servers: &[Arc<Server>], key: Key, table: Arc<Table>, lasts: Duration) -> Known {
        let numbers = servers.iter().zip(0..).map(|(server, number)| (server.slot, number)).collect();
        Known { key, table, lasts, numbers }
    }
}

/// What stands for a server in a cookie: the same for every node with the same secret.
fn value(id: &ServerId, seal: &Seal) -> [u8; 32] {
    let identity = format!("{}\0{}\0{}", id.pool, id.name, id.address);
    let mut value = [0; 32];
    for (pair, byte) in value.as_chunks_mut::<2>().0.iter_mut().zip(seal.tag("sticky", identity.as_bytes())) {
        *pair = hex::pair(byte);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::fixture::servers;

    #[test]
    fn a_value_is_one_for_each_server_and_secret() {
        let servers = servers(&[1, 1]);
        let of = |secret: &[u8]| Cookie::new("p", &servers, None, None, &Seal::new(secret)).values;
        let (one, same, other) = (of(b"secret"), of(b"secret"), of(b"other"));
        assert!(one == same && one[0] != one[1] && one[0] != other[0]);
        assert!(!String::from_utf8_lossy(&one[0]).contains("s0"));
    }

    #[test]
    fn pools_without_a_name_of_their_own_have_different_cookies() {
        let name = |pool| Cookie::new(pool, &[], None, None, &Seal::new(b"")).name;
        assert_ne!(name("one"), name("two"));
    }
}
