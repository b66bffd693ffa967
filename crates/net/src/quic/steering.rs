//! A program of classic BPF by which the kernel finds the worker that a datagram of QUIC is for.
//!
//! It is an optimization alone: whatever comes to the wrong worker is handed over by the workers themselves.

use std::io;
use std::net::UdpSocket;

use nix::libc::{BPF_ABS, BPF_ALU, BPF_B, BPF_H, BPF_JA, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_MOD, BPF_RET};
use nix::libc::{sock_filter, sock_fprog};
use nix::sys::socket::{setsockopt, sockopt};

/// Has the kernel choose among the sockets of an address, which are as many as its workers and were bound in their order.
///
/// # Errors
/// The kernel takes no program.
pub(super) fn steer(one_of_them: &UdpSocket, workers: u16) -> io::Result<()> {
    attach(one_of_them, &mut program(u32::from(workers.max(1))))
}

/// Has the kernel choose by addresses again.
///
/// # Errors
/// The kernel takes no program.
pub(super) fn leave(one_of_them: &UdpSocket) -> io::Result<()> {
    // An answer that no socket has leaves the choice to the kernel.
    attach(one_of_them, &mut [step(BPF_RET | BPF_K, 0, 0, u32::MAX)])
}

fn attach(one_of_them: &UdpSocket, program: &mut [sock_filter]) -> io::Result<()> {
    let program = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    setsockopt(one_of_them, sockopt::AttachReusePortCbpf, &program)?;
    Ok(())
}

/// What [`ids::steered`](super::ids::steered) says, of the id at its place in either header (RFC 8999 section 5). A datagram that is too
/// short for it belongs to the first socket, as does everything that the kernel cannot read.
fn program(workers: u32) -> [sock_filter; 7] {
    /// The accumulator is the answer.
    const BPF_A: u32 = 0x10;
    let load = |size: u32, at: u32| step(BPF_LD | size | BPF_ABS, 0, 0, at);
    [
        load(BPF_B, 0),
        step(BPF_JMP | BPF_JSET | BPF_K, 2, 0, 0x80),
        load(BPF_H, 1),
        step(BPF_JMP | BPF_JA, 0, 0, 1),
        load(BPF_H, 6),
        step(BPF_ALU | BPF_MOD | BPF_K, 0, 0, workers),
        step(BPF_RET | BPF_A, 0, 0, 0),
    ]
}

fn step(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}
