//! Takes from the kernel what the program told it of datagrams: which socket of an address each is for.

use std::net::{SocketAddr, UdpSocket};

use nix::libc::{BPF_K, BPF_RET, sock_filter, sock_fprog};
use nix::sys::socket::{setsockopt, sockopt};
use rustix::net::{AddressFamily, SocketType, bind, socket};

/// From now on the kernel chooses among the sockets of an address by the addresses of both ends, as if no program had ever been there.
///
/// # Panics
/// The sockets are somebody else's.
pub fn unsteer(address: SocketAddr) {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let one_more = socket(family, SocketType::DGRAM, None).expect("a socket");
    rustix::net::sockopt::set_socket_reuseport(&one_more, true).expect("an option");
    bind(&one_more, &address).expect("an address that may be shared");
    // An answer that no socket has leaves the choice to the kernel.
    let mut program = [sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k: u32::MAX }];
    let program = sock_fprog { len: 1, filter: program.as_mut_ptr() };
    let one_more = UdpSocket::from(one_more);
    setsockopt(&one_more, sockopt::AttachReusePortCbpf, &program).expect("a program that is taken");
}
