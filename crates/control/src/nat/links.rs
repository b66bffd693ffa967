//! Interfaces as they are for now: one that was removed may come back under its name, and is another one to the kernel.

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

/// The number of each interface, in their order; none of one that is not there.
pub(super) fn numbers(interfaces: &[Box<str>]) -> Vec<Option<u32>> {
    let socket = socket(AddressFamily::UNIX, SocketType::DGRAM, None).ok();
    interfaces.iter().map(|name| name_to_index(socket.as_ref()?, name).ok()).collect()
}
