//! Keys and values of the tables as the program in `bpf/layout.h` has them: plain bytes, so that no structure of Rust is ever
//! read by the kernel. Numbers are in the machine's order, addresses and ports in the network's.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use base::maglev::PLACES;

use crate::expiry::{State, patience};
use crate::{Mode, Service, Transport};

/// Carried by the folder of the pins. Another layout must have another number: the tables of one are not read by the other.
pub(crate) const VERSION: &str = "v1";

/// An address, a port and a protocol.
pub(crate) type ServiceKey = [u8; 20];
/// A packet's addresses and ports.
pub(crate) type FlowKey = [u8; 40];
/// What becomes of it.
pub(crate) type FlowValue = [u8; 64];
/// A server of a service.
pub(crate) type BackendValue = [u8; 40];
/// A server and a source address.
pub(crate) type StrayKey = [u8; 36];
/// The part of it that names the server.
pub(crate) type StrayServer = [u8; 19];
/// First and count.
pub(crate) type Ports = [u8; 4];
/// Five sums.
pub(crate) type TrafficValue = [u8; 40];
/// Everything about a service.
pub(crate) type ServiceValue = [u8; SERVICE];
/// An address alone.
pub(crate) type AddressKey = [u8; 16];

const SERVICE: usize = PLACES_AT + 2 * PLACES + 6;
const PLACES_AT: usize = 24 + 16 * Service::SOURCES;
/// The number at a place that nobody has: the program finds no server by it, because none can have it.
const NOBODY: u16 = u16::MAX;
const _: () = assert!(Service::SERVERS <= NOBODY as usize);

/// The ports that connections get at source addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first one.
    pub(crate) first: u16,
    /// How many.
    pub(crate) count: u16,
    /// Whether the kernel gives them to connections of its own, too.
    pub(crate) is_shared: bool,
}

pub(crate) fn address(ip: IpAddr) -> AddressKey {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn ip(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

fn number(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    }
}

pub(crate) fn service_key(at: SocketAddr, transport: Transport) -> ServiceKey {
    let mut key = [0; 20];
    key[..16].copy_from_slice(&address(at.ip()));
    key[16..18].copy_from_slice(&at.port().to_be_bytes());
    key[18] = number(transport);
    key
}

/// A service whose places belong to the servers of these numbers, of generation 0.
pub(crate) fn service(service: &Service, range: Range, places: &[u16], slots: &[u32]) -> Box<ServiceValue> {
    let mut value = Box::new([0; SERVICE]);
    let mode: u32 = match service.mode {
        Mode::Full => 0,
        Mode::Dnat => 1,
        Mode::Dsr => 2,
    };
    let idle = u32::try_from(service.idle.as_secs().max(1)).unwrap_or(u32::MAX);
    let head = [0, idle, mode, service.sources.len() as u32];
    for (at, word) in head.into_iter().enumerate() {
        value[4 * at..4 * at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    value[16..18].copy_from_slice(&range.first.to_ne_bytes());
    value[18..20].copy_from_slice(&range.count.to_ne_bytes());
    for (at, source) in service.sources.iter().take(Service::SOURCES).enumerate() {
        value[24 + 16 * at..40 + 16 * at].copy_from_slice(&address(*source));
    }
    let cells = value[PLACES_AT..PLACES_AT + 2 * PLACES].as_chunks_mut::<2>().0;
    cells.fill(NOBODY.to_ne_bytes());
    for (cell, place) in cells.iter_mut().zip(places) {
        let slot = slots.get(usize::from(*place)).and_then(|slot| u16::try_from(*slot).ok());
        *cell = slot.unwrap_or(NOBODY).to_ne_bytes();
    }
    value
}

/// Says which generation a service is of.
pub(crate) fn set_generation(value: &mut ServiceValue, generation: u32) {
    value[..4].copy_from_slice(&generation.to_ne_bytes());
}

/// A server of a service, and whether it takes new connections.
pub(crate) fn backend(service: &ServiceKey, server: SocketAddr, takes_new: bool) -> BackendValue {
    let mut value = [0; 40];
    value[..16].copy_from_slice(&address(server.ip()));
    value[16..36].copy_from_slice(service);
    value[36..38].copy_from_slice(&server.port().to_be_bytes());
    value[38] = if takes_new { 1 } else { 2 };
    value
}

/// What [`backend`] was made of, unless it stands for nobody.
pub(crate) fn read_backend(value: &BackendValue) -> Option<(ServiceKey, SocketAddr)> {
    let service = *value[16..].first_chunk::<20>()?;
    let address = ip(*value.first_chunk::<16>()?);
    let port = u16::from_be_bytes([value[36], value[37]]);
    (value[38] != 0).then_some((service, SocketAddr::new(address, port)))
}

pub(crate) fn stray_key(server: SocketAddr, source: IpAddr, transport: Transport) -> StrayKey {
    let mut key = [0; 36];
    key[..16].copy_from_slice(&address(server.ip()));
    key[16..32].copy_from_slice(&address(source));
    key[32..34].copy_from_slice(&server.port().to_be_bytes());
    key[34] = number(transport);
    key
}

/// The server of a stray key, as [`stray_server`] has it.
pub(crate) fn server_of(key: &StrayKey) -> StrayServer {
    let mut server = [0; 19];
    server[..16].copy_from_slice(&key[..16]);
    server[16..].copy_from_slice(&key[32..35]);
    server
}

/// A server of a service, as stray keys name it: services that share it cannot be told apart.
pub(crate) fn stray_server(service: &ServiceKey, server: SocketAddr) -> StrayServer {
    let mut value = [0; 19];
    value[..16].copy_from_slice(&address(server.ip()));
    value[16..18].copy_from_slice(&server.port().to_be_bytes());
    value[18] = service[18];
    value
}

/// The ports of which a server's packets belong to connections of ours or to nobody: none of those that the kernel gives to its own
/// connections, too, such as health checks, whose answers would be taken for strays.
pub(crate) fn stray_ports(range: Range) -> Ports {
    let count = if range.is_shared { 0 } else { range.count };
    let ([a, b], [c, d]) = (range.first.to_ne_bytes(), count.to_ne_bytes());
    [a, b, c, d]
}

/// One entry of the table of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    seen: Duration,
    idle: Duration,
    state: State,
    is_tcp: bool,
    /// The server's number.
    pub(crate) backend: u16,
    /// Whether it is for packets of the server.
    pub(crate) is_reply: bool,
}

impl Flow {
    pub(crate) fn read(key: &FlowKey, value: &FlowValue) -> Flow {
        let word = |at: usize| value[at..].first_chunk::<4>().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        let seen = value.first_chunk::<8>().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
        Flow {
            seen: Duration::from_nanos(seen),
            idle: Duration::from_secs(u64::from(word(52))),
            state: State(value[62]),
            is_tcp: key[36] == number(Transport::Tcp),
            backend: u16::from_ne_bytes([value[60], value[61]]),
            is_reply: value[63] & 128 != 0,
        }
    }

    /// Whether it has been silent for too long at this time of the monotonic clock.
    pub(crate) fn is_over(&self, now: Duration) -> bool {
        // A packet may have come since the clock was read.
        now.saturating_sub(self.seen) > patience(self.is_tcp, self.state, self.idle)
    }
}

/// The five sums of a server.
pub(crate) fn read_traffic(value: &TrafficValue) -> [u64; 5] {
    let mut sums = [0; 5];
    for (sum, bytes) in sums.iter_mut().zip(value.as_chunks::<8>().0) {
        *sum = u64::from_ne_bytes(*bytes);
    }
    sums
}

#[cfg(test)]
mod tests;
