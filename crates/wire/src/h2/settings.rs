//! SETTINGS (RFC 9113 section 6.5, RFC 8441 section 3, RFC 9218 section 2.1).

use super::frame::{self, kind};
use super::{Code, Limits, Role};

/// What a peer has told us, or its silence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many streams we may have open at it; a server's word to a client.
    pub streams: u32,
    /// The window that each new stream has.
    pub window: u32,
    /// The largest payload it takes.
    pub payload: usize,
    /// Whether it knows extended CONNECT.
    pub extended_connect: bool,
}

const PUSH: u16 = 2;
const STREAMS: u16 = 3;
const WINDOW: u16 = 4;
const PAYLOAD: u16 = 5;
const HEAD: u16 = 6;
const EXTENDED_CONNECT: u16 = 8;
const NO_OLD_PRIORITIES: u16 = 9;

impl Default for Settings {
    fn default() -> Settings {
        // No limit of streams is the standard's default; 100 is the least that it wants servers to allow, and a server that
        // means less has not had its chance to say so yet.
        Settings { streams: 100, window: super::flow::DEFAULT, payload: frame::PAYLOAD, extended_connect: false }
    }
}

impl Settings {
    /// Takes over what a frame says. Settings that we do not know are ignored, as section 6.5.2 demands; HEADER_TABLE_SIZE
    /// is one, since our encoder has no table.
    ///
    /// # Errors
    /// A value that the setting cannot have.
    pub fn update(&mut self, payload: &[u8], role: Role) -> Result<(), (Code, &'static str)> {
        let (settings, []) = payload.as_chunks::<6>() else {
            return Err((Code::FRAME_SIZE_ERROR, "SETTINGS of a broken length"));
        };
        for [a, b, c, d, e, f] in settings {
            let value = u32::from_be_bytes([*c, *d, *e, *f]);
            match u16::from_be_bytes([*a, *b]) {
                // A server has no business with a push of the client's, nor may it announce its own (section 6.5.2).
                PUSH if value > u32::from(role == Role::Server) => {
                    return Err((Code::PROTOCOL_ERROR, "invalid SETTINGS_ENABLE_PUSH"));
                }
                STREAMS => self.streams = value,
                WINDOW if value > super::flow::MOST => {
                    return Err((Code::FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE over the largest window"));
                }
                WINDOW => self.window = value,
                PAYLOAD if !(16_384..=16_777_215).contains(&value) => {
                    return Err((Code::PROTOCOL_ERROR, "invalid SETTINGS_MAX_FRAME_SIZE"));
                }
                PAYLOAD => self.payload = value as usize,
                EXTENDED_CONNECT if value > 1 || (value == 0 && self.extended_connect) => {
                    return Err((Code::PROTOCOL_ERROR, "invalid SETTINGS_ENABLE_CONNECT_PROTOCOL"));
                }
                EXTENDED_CONNECT => self.extended_connect = value == 1,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Appends the SETTINGS frame that we begin with.
pub fn write(role: Role, limits: &Limits, out: &mut Vec<u8>) {
    let at = out.len();
    frame::begin(0, kind::SETTINGS, 0, 0, out);
    let mut say = |setting: u16, value: u32| {
        out.extend_from_slice(&setting.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    };
    say(WINDOW, limits.stream_window);
    say(HEAD, u32::try_from(limits.head).unwrap_or(u32::MAX));
    say(NO_OLD_PRIORITIES, 1);
    match role {
        Role::Client => say(PUSH, 0),
        Role::Server => {
            say(STREAMS, limits.streams);
            if limits.extended_connect {
                say(EXTENDED_CONNECT, 1);
            }
        }
    }
    let length = out.len() - at - frame::HEADER;
    frame::set_length(out, at, length);
}
