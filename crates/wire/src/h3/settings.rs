//! What the sides tell each other at the start (RFC 9114 section 7.2.4).

use super::{Broken, Code, frame, varint};
use crate::h2::Role;

/// What the peer tells us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of a field section that it takes, with 32 for each field; unlimited unless said.
    pub most_fields: u64,
    /// Whether requests may become tunnels (RFC 9220). Only a server's word counts.
    pub extended_connect: bool,
    /// Whether it takes datagrams of requests in QUIC's own (RFC 9297 section 2.1.1).
    pub datagrams: bool,
}

/// RFC 9204 section 5, RFC 9114 section 7.2.4.1, RFC 9220 section 3, RFC 9297 section 2.1.1.
const QPACK_MAX_TABLE_CAPACITY: u64 = 0x1;
const MAX_FIELD_SECTION_SIZE: u64 = 0x6;
const QPACK_BLOCKED_STREAMS: u64 = 0x7;
const ENABLE_CONNECT_PROTOCOL: u64 = 0x8;
const H3_DATAGRAM: u64 = 0x33;

/// The longest payload that is read: nobody has so much to say.
pub const LONGEST: u64 = 2048;

impl Settings {
    /// Reads a payload.
    ///
    /// # Errors
    /// A setting twice, one of HTTP/2, or no settings.
    pub fn read(mut payload: &[u8]) -> Result<Settings, Broken> {
        let mut settings = Settings { most_fields: varint::MOST, extended_connect: false, datagrams: false };
        let mut seen = Vec::new();
        while !payload.is_empty() {
            let pair = varint::read(payload)
                .and_then(|(id, at)| varint::read(&payload[at..]).map(|(value, length)| (id, value, at + length)));
            let Some((id, value, used)) = pair else {
                return Err(Broken::of(Code::FRAME_ERROR, "settings that end in the midst"));
            };
            if seen.contains(&id) {
                return Err(Broken::of(Code::SETTINGS_ERROR, "a setting twice"));
            }
            seen.push(id);
            match id {
                0x0 | 0x2..=0x5 => return Err(Broken::of(Code::SETTINGS_ERROR, "a setting of HTTP/2")),
                ENABLE_CONNECT_PROTOCOL | H3_DATAGRAM if value > 1 => {
                    return Err(Broken::of(Code::SETTINGS_ERROR, "a switch that is neither on nor off"));
                }
                ENABLE_CONNECT_PROTOCOL => settings.extended_connect = value == 1,
                H3_DATAGRAM => settings.datagrams = value == 1,
                MAX_FIELD_SECTION_SIZE => settings.most_fields = value,
                _ => {}
            }
            payload = &payload[used..];
        }
        Ok(settings)
    }
}

/// Appends the frame with what we tell the peer: no table, no stream that waits for another, and to clients that requests
/// which become tunnels (RFC 9220) are welcome, and datagrams where they lead anywhere.
pub fn ours(role: Role, most_fields: usize, datagrams: bool, out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(16);
    let tunnels = (role == Role::Server).then_some((ENABLE_CONNECT_PROTOCOL, 1));
    for (id, value) in
        [(QPACK_MAX_TABLE_CAPACITY, 0), (MAX_FIELD_SECTION_SIZE, most_fields as u64), (QPACK_BLOCKED_STREAMS, 0)]
            .into_iter()
            .chain(tunnels)
            .chain(datagrams.then_some((H3_DATAGRAM, 1)))
    {
        varint::write(id, &mut payload);
        varint::write(value, &mut payload);
    }
    frame::front(0x4, payload.len(), out);
    out.extend_from_slice(&payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(pairs: &[(u64, u64)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (id, value) in pairs {
            varint::write(*id, &mut out);
            varint::write(*value, &mut out);
        }
        out
    }

    #[test]
    fn settings_are_read() {
        let nothing = Settings { most_fields: varint::MOST, extended_connect: false, datagrams: false };
        assert_eq!(Settings::read(&[]), Ok(nothing));
        let said = payload(&[(1, 4096), (6, 16_384), (7, 100), (0x33, 1), (0x1f * 7 + 0x21, 9)]);
        assert_eq!(Settings::read(&said), Ok(Settings { most_fields: 16_384, datagrams: true, ..nothing }));
        for (role, datagrams) in [(Role::Server, true), (Role::Server, false), (Role::Client, false)] {
            let mut frame = Vec::new();
            ours(role, 9, datagrams, &mut frame);
            let expected = Settings { most_fields: 9, extended_connect: role == Role::Server, datagrams };
            assert_eq!(Settings::read(&frame[2..]), Ok(expected));
        }
    }

    #[test]
    fn wrong_settings_break_the_connection() {
        let code = |pairs: &[(u64, u64)]| Settings::read(&payload(pairs)).map_err(|broken| broken.code);
        assert_eq!(code(&[(6, 1), (6, 1)]), Err(Code::SETTINGS_ERROR));
        for id in [0, 2, 3, 4, 5] {
            assert_eq!(code(&[(id, 1)]), Err(Code::SETTINGS_ERROR));
        }
        assert_eq!(code(&[(8, 2)]), Err(Code::SETTINGS_ERROR));
        assert_eq!(code(&[(0x33, 2)]), Err(Code::SETTINGS_ERROR));
        let half = Settings::read(&payload(&[(6, 16_384)])[..2]).map_err(|broken| broken.code);
        assert_eq!(half, Err(Code::FRAME_ERROR));
    }
}
