//! When a connection is over, by what is remembered of it and how long it has been silent.

use std::time::Duration;

/// Of TCP, before the client has answered to the server's answer: what a flood of SYN leaves behind.
pub const HALF_OPEN: Duration = Duration::from_secs(15);
/// Of TCP, after one side has ended. A longer silence than this ends a connection that is half closed.
pub const HALF_CLOSED: Duration = Duration::from_secs(120);
/// Of TCP, after both sides have ended: what is on its way, what is sent again, and for as long as a server of Linux may still take a
/// connection from the same port for the old one.
pub const CLOSED: Duration = Duration::from_secs(60);
/// Of TCP, after a reset.
pub const RESET: Duration = Duration::from_secs(10);

/// The state of a connection of TCP: bits of `enum state` in `bpf/layout.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State(pub(crate) u8);

impl State {
    const ESTABLISHED: u8 = 2;
    const CLIENT_ENDED: u8 = 4;
    const SERVER_ENDED: u8 = 8;
    const RESET: u8 = 16;

    fn has(self, bits: u8) -> bool {
        self.0 & bits == bits
    }
}

/// How long a connection in this state may be silent; `idle` is its service's own bound, which no other exceeds.
pub(crate) fn patience(is_tcp: bool, state: State, idle: Duration) -> Duration {
    if !is_tcp {
        return idle;
    }
    let own = if state.has(State::RESET) {
        RESET
    } else if state.has(State::CLIENT_ENDED | State::SERVER_ENDED) {
        CLOSED
    } else if !state.has(State::ESTABLISHED) {
        HALF_OPEN
    } else if state.has(State::CLIENT_ENDED) || state.has(State::SERVER_ENDED) {
        HALF_CLOSED
    } else {
        idle
    };
    own.min(idle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_follows_the_state() {
        let hour = Duration::from_secs(3600);
        for (is_tcp, state, wanted) in [
            (true, 0, HALF_OPEN),
            (true, 1, HALF_OPEN),
            (true, 3, hour),
            (true, 3 | 4, HALF_CLOSED),
            (true, 3 | 8, HALF_CLOSED),
            (true, 3 | 4 | 8, CLOSED),
            (true, 3 | 16, RESET),
            (true, 16, RESET),
            (true, 3 | 4 | 8 | 16, RESET),
            (false, 0, hour),
        ] {
            assert_eq!(patience(is_tcp, State(state), hour), wanted, "{state}");
        }
    }

    #[test]
    fn nothing_lasts_longer_than_its_service_says() {
        let short = Duration::from_secs(2);
        for state in 0..32 {
            assert_eq!(patience(true, State(state), short), short);
            assert_eq!(patience(false, State(state), short), short);
        }
    }
}
