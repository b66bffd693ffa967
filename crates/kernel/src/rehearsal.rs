//! What the program makes of a packet, without a wire: the kernel runs it on bytes (`BPF_PROG_TEST_RUN`). For tests, and for
//! whoever asks what would become of a packet. Connections are remembered and counted as if it had arrived.

use aya::TestRun as _;
use aya::programs::TestRunOptions;

use crate::Refusal;
use crate::datapath::{Datapath, program};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as if the program were not there.
    Passed,
    /// It is dropped.
    Dropped,
    /// It leaves by another way than it would have.
    Sent,
}

impl Datapath {
    /// Has a frame, beginning with its Ethernet header, arrive at the interface with this index. Returns what becomes of it
    /// and how it looks then.
    pub fn rehearse(&mut self, interface: u32, frame: &[u8]) -> Result<(Verdict, Vec<u8>), Refusal> {
        let mut context = [0; CONTEXT];
        context[INTERFACE_AT..INTERFACE_AT + 4].copy_from_slice(&interface.to_ne_bytes());
        let mut out = vec![0; frame.len() + ROOM];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        let ran = program(&mut self.ebpf)?.test_run(options);
        let ran = ran.map_err(|error| Refusal::of("run the program on a packet", &error))?;
        out.truncate(ran.data_size_out as usize);
        let verdict = match ran.return_value {
            PASSED => Verdict::Passed,
            REDIRECTED => Verdict::Sent,
            _ => Verdict::Dropped,
        };
        Ok((verdict, out))
    }
}

/// `struct __sk_buff` up to and with `ifindex`.
const CONTEXT: usize = 44;
const INTERFACE_AT: usize = 40;
/// What a program may add to a packet.
const ROOM: usize = 256;
/// `TC_ACT_UNSPEC` and `TC_ACT_REDIRECT`.
const PASSED: u32 = u32::MAX;
const REDIRECTED: u32 = 7;
