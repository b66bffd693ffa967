//! The streams that a peer opens for itself (RFC 9114 section 6.2, RFC 9204 section 4.2).

use super::frame::{Front, Kind};
use super::settings::{self, Settings};
use super::{Broken, Code, varint};
use crate::h2::Role;

/// What a peer has said on its own streams, taken together.
#[derive(Debug)]
pub struct Peer {
    /// Which side it is.
    is: Role,
    control: bool,
    encoder: bool,
    decoder: bool,
    settings: Option<Settings>,
    /// The last identifier of its GOAWAY: it may only become smaller (section 5.2).
    goaway: Option<u64>,
    /// Its MAX_PUSH_ID, which may only become larger.
    most_pushes: Option<u64>,
    /// Frames and instructions that meant nothing.
    idle: u32,
}

/// One of those streams.
#[derive(Debug)]
pub struct OneWay {
    kind: Stage,
}

/// What is to be done with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is read on.
    Read,
    /// Nobody knows what it is: the peer is asked to stop, and nothing of it is read.
    Unknown,
}

#[derive(Debug)]
enum Stage {
    /// Its kind is here in part.
    Kind {
        bytes: [u8; 8],
        length: u8,
    },
    /// The control stream; its next frame's front, what is left of a payload that is passed over, or one that is kept.
    Control {
        front: Front,
        left: u64,
        keeps: Option<Kind>,
        payload: Vec<u8>,
    },
    /// What would fill a table.
    Encoder,
    /// What would confirm the use of one.
    Decoder {
        rest: Integer,
    },
    Unknown,
}

/// Whether a number goes on in the next byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Integer {
    /// An instruction begins.
    None,
    /// Bytes of a number follow.
    Goes(u8),
}

/// How many of those one connection may send: nobody needs a tenth of it.
const IDLE: u32 = 1000;

impl OneWay {
    /// A stream of which nothing is known.
    #[expect(clippy::new_without_default, reason = "nothing is a stream by default")]
    pub fn new() -> OneWay {
        OneWay { kind: Stage::Kind { bytes: [0; 8], length: 0 } }
    }

    /// Reads what came.
    ///
    /// # Errors
    /// The peer breaks a rule, and the connection with it.
    pub fn take(&mut self, mut bytes: &[u8], peer: &mut Peer) -> Result<Verdict, Broken> {
        while let Some(byte) = bytes.first() {
            match &mut self.kind {
                Stage::Kind { bytes: front, length } => {
                    front[usize::from(*length)] = *byte;
                    *length += 1;
                    bytes = &bytes[1..];
                    if let Some((number, _)) = varint::read(&front[..usize::from(*length)]) {
                        self.kind = peer.opened(number)?;
                    }
                }
                Stage::Control { front, left, keeps, payload } => {
                    bytes = peer.control(front, left, keeps, payload, bytes)?;
                }
                Stage::Encoder => {
                    peer.encoder(*byte)?;
                    bytes = &bytes[1..];
                }
                Stage::Decoder { rest } => {
                    peer.decoder(rest, *byte)?;
                    bytes = &bytes[1..];
                }
                Stage::Unknown => return Ok(Verdict::Unknown),
            }
        }
        Ok(if matches!(self.kind, Stage::Unknown) { Verdict::Unknown } else { Verdict::Read })
    }

    /// The stream has ended, or was reset.
    ///
    /// # Errors
    /// It was one that the connection cannot do without.
    pub fn end(&self) -> Result<(), Broken> {
        match self.kind {
            Stage::Kind { .. } | Stage::Unknown => Ok(()),
            Stage::Control { .. } | Stage::Encoder | Stage::Decoder { .. } => {
                Err(Broken::of(Code::CLOSED_CRITICAL_STREAM, "a stream ended that a connection cannot do without"))
            }
        }
    }
}

impl Peer {
    /// One of which nothing was heard, at this end.
    pub fn of(is: Role) -> Peer {
        Peer {
            is,
            control: false,
            encoder: false,
            decoder: false,
            settings: None,
            goaway: None,
            most_pushes: None,
            idle: 0,
        }
    }

    /// What it has set; absent while that is not here.
    pub fn settings(&self) -> Option<Settings> {
        self.settings
    }

    /// The identifier of its last GOAWAY: of a server's, the first request that it will not look at.
    pub fn goaway(&self) -> Option<u64> {
        self.goaway
    }

    fn opened(&mut self, kind: u64) -> Result<Stage, Broken> {
        let (there, stage) = match kind {
            0x0 => (
                &mut self.control,
                Stage::Control { front: Front::default(), left: 0, keeps: None, payload: Vec::new() },
            ),
            // A client pushes nothing, and we let no server do it.
            0x1 if self.is == Role::Client => {
                return Err(Broken::of(Code::STREAM_CREATION_ERROR, "a push stream from a client"));
            }
            0x1 => return Err(Broken::of(Code::ID_ERROR, "a push that was not allowed")),
            0x2 => (&mut self.encoder, Stage::Encoder),
            0x3 => (&mut self.decoder, Stage::Decoder { rest: Integer::None }),
            _ => return Ok(Stage::Unknown),
        };
        if std::mem::replace(there, true) {
            return Err(Broken::of(Code::STREAM_CREATION_ERROR, "a stream twice that there is one of"));
        }
        Ok(stage)
    }

    fn control<'a>(
        &mut self,
        front: &mut Front,
        left: &mut u64,
        keeps: &mut Option<Kind>,
        payload: &mut Vec<u8>,
        bytes: &'a [u8],
    ) -> Result<&'a [u8], Broken> {
        if *left == 0 && keeps.is_none() {
            let (used, whole) = front.take(bytes);
            if let Some(whole) = whole {
                let (kind, length) = whole?;
                *left = length;
                *keeps = self.begins(kind, length)?;
                if length == 0
                    && let Some(kind) = keeps.take()
                {
                    self.frame(kind, &[])?;
                }
            }
            return Ok(&bytes[used..]);
        }
        let used = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        let (mine, rest) = bytes.split_at(used);
        *left -= used as u64;
        if keeps.is_some() {
            payload.extend_from_slice(mine);
        }
        if *left == 0
            && let Some(kind) = keeps.take()
        {
            self.frame(kind, &std::mem::take(payload))?;
        }
        Ok(rest)
    }

    /// Whether a frame's payload is kept until it is whole.
    fn begins(&mut self, kind: Kind, length: u64) -> Result<Option<Kind>, Broken> {
        if self.settings.is_none() && kind != Kind::Settings {
            return Err(Broken::of(Code::MISSING_SETTINGS, "a control stream that does not begin with settings"));
        }
        let most = match kind {
            Kind::Settings if self.settings.is_some() => {
                return Err(Broken::of(Code::FRAME_UNEXPECTED, "settings twice"));
            }
            Kind::Data | Kind::Headers | Kind::PushPromise => {
                return Err(Broken::of(Code::FRAME_UNEXPECTED, "a request's frame on the control stream"));
            }
            // RFC 9114 section 7.2.7, RFC 9218 section 7.2.
            Kind::MaxPushId | Kind::PriorityUpdate if self.is == Role::Server => {
                return Err(Broken::of(Code::FRAME_UNEXPECTED, "a client's frame from a server"));
            }
            Kind::Settings => settings::LONGEST,
            Kind::CancelPush | Kind::Goaway | Kind::MaxPushId => 8,
            Kind::PriorityUpdate | Kind::Unknown => {
                self.idle()?;
                return Ok(None);
            }
        };
        match (length > most, kind) {
            (false, _) => Ok(Some(kind)),
            (true, Kind::Settings) => Err(Broken::of(Code::EXCESSIVE_LOAD, "too many settings")),
            (true, _) => Err(Broken::of(Code::FRAME_ERROR, "a frame longer than its number")),
        }
    }

    fn frame(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Broken> {
        if kind == Kind::Settings {
            self.settings = Some(Settings::read(payload)?);
            return Ok(());
        }
        let number = match varint::read(payload) {
            Some((number, length)) if length == payload.len() => number,
            _ => return Err(Broken::of(Code::FRAME_ERROR, "a frame that is not one number")),
        };
        let in_order = match kind {
            // RFC 9114 section 7.2.6: a server's names a request, whose numbers are multiples of four.
            Kind::Goaway if self.is == Role::Server && number % 4 != 0 => false,
            Kind::Goaway => self.goaway.replace(number).is_none_or(|before| number <= before),
            Kind::MaxPushId => self.most_pushes.replace(number).is_none_or(|before| number >= before),
            // We have promised nothing that could be cancelled.
            _ => false,
        };
        self.idle()?;
        if !in_order {
            return Err(Broken::of(Code::ID_ERROR, "an identifier out of order, or of nothing"));
        }
        Ok(())
    }

    /// RFC 9204 section 4.3: a table of no size holds nothing, and may only be told to have none.
    fn encoder(&mut self, byte: u8) -> Result<(), Broken> {
        const NO_TABLE: u8 = 0x20;
        if byte != NO_TABLE {
            return Err(Broken::of(Code::QPACK_ENCODER_STREAM_ERROR, "an entry for a table that is not allowed"));
        }
        self.idle()
    }

    /// Notes something that had no meaning for us.
    fn idle(&mut self) -> Result<(), Broken> {
        self.idle += 1;
        if self.idle > IDLE {
            return Err(Broken::of(Code::EXCESSIVE_LOAD, "too much that means nothing"));
        }
        Ok(())
    }

    /// RFC 9204 section 4.4: what we send refers to nothing, so that there is nothing to confirm; a stream that was given up
    /// may be told of.
    fn decoder(&mut self, rest: &mut Integer, byte: u8) -> Result<(), Broken> {
        const LONGEST: u8 = 10;
        *rest = match *rest {
            Integer::None if byte & 0xc0 == 0x40 => {
                if byte & 0x3f == 0x3f {
                    Integer::Goes(0)
                } else {
                    Integer::None
                }
            }
            Integer::Goes(length) if length < LONGEST => {
                if byte & 0x80 == 0 {
                    Integer::None
                } else {
                    Integer::Goes(length + 1)
                }
            }
            Integer::None | Integer::Goes(_) => {
                return Err(Broken::of(Code::QPACK_DECODER_STREAM_ERROR, "a confirmation of nothing"));
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(bytes: &[u8]) -> Result<(Peer, Verdict), Code> {
        take_of(Role::Client, bytes)
    }

    fn take_of(role: Role, bytes: &[u8]) -> Result<(Peer, Verdict), Code> {
        let (mut stream, mut peer) = (OneWay::new(), Peer::of(role));
        let mut verdict = Verdict::Read;
        // Byte by byte, so that nothing depends on how it is cut.
        for byte in bytes {
            verdict = stream.take(&[*byte], &mut peer).map_err(|broken| broken.code)?;
        }
        let mut again = (OneWay::new(), Peer::of(role));
        let whole = again.0.take(bytes, &mut again.1).map_err(|broken| broken.code)?;
        assert_eq!(verdict, whole);
        Ok((peer, verdict))
    }

    fn code(bytes: &[u8]) -> Code {
        take(bytes).map(|_| ()).expect_err("refused")
    }

    #[test]
    fn a_control_stream_is_read() {
        let (peer, verdict) =
            take(&[0, 4, 2, 6, 9, 0x21, 3, 1, 2, 3, 0xd, 1, 5, 0xd, 1, 6, 7, 1, 4, 7, 1, 0]).expect("all");
        assert_eq!(peer.settings().map(|settings| settings.most_fields), Some(9));
        assert_eq!(verdict, Verdict::Read);
    }

    #[test]
    fn a_control_stream_is_judged() {
        assert_eq!(code(&[0, 0xd, 1, 5]), Code::MISSING_SETTINGS);
        assert_eq!(code(&[0, 4, 0, 4, 0]), Code::FRAME_UNEXPECTED);
        assert_eq!(code(&[0, 4, 0, 0, 0]), Code::FRAME_UNEXPECTED);
        assert_eq!(code(&[0, 4, 0, 1, 0]), Code::FRAME_UNEXPECTED);
        assert_eq!(code(&[0, 4, 0, 7, 1, 0, 7, 1, 4]), Code::ID_ERROR);
        assert_eq!(code(&[0, 4, 0, 0xd, 1, 4, 0xd, 1, 3]), Code::ID_ERROR);
        assert_eq!(code(&[0, 4, 0, 3, 1, 0]), Code::ID_ERROR);
        assert_eq!(code(&[0, 4, 0, 7, 2, 0, 0]), Code::FRAME_ERROR);
        assert_eq!(code(&[0, 4, 0, 7, 0]), Code::FRAME_ERROR);
        assert_eq!(code(&[0, 4, 0, 7, 9]), Code::FRAME_ERROR);
        assert_eq!(code(&[0, 4, 0x80, 0, 0x40, 0]), Code::EXCESSIVE_LOAD);
        assert_eq!(code(&[1]), Code::STREAM_CREATION_ERROR);
        let mut flood = vec![0, 4, 0];
        flood.extend([0x21, 0].repeat(2000));
        assert_eq!(code(&flood), Code::EXCESSIVE_LOAD);
    }

    #[test]
    fn servers_are_judged_as_such() {
        let of_server = |bytes: &[u8]| take_of(Role::Server, bytes).map(|(peer, _)| (peer.settings(), peer.goaway()));
        let (settings, goaway) = of_server(&[0, 4, 2, 8, 1, 7, 1, 8, 7, 1, 4]).expect("all");
        assert_eq!((settings.map(|settings| settings.extended_connect), goaway), (Some(true), Some(4)));
        for (bytes, code) in [
            (&[1][..], Code::ID_ERROR),
            (&[0, 4, 0, 7, 1, 5], Code::ID_ERROR),
            (&[0, 4, 0, 7, 1, 4, 7, 1, 8], Code::ID_ERROR),
            (&[0, 4, 0, 3, 1, 0], Code::ID_ERROR),
            (&[0, 4, 0, 0xd, 1, 5], Code::FRAME_UNEXPECTED),
            (&[0, 4, 0, 0x80, 0xf, 7, 0, 1, 0], Code::FRAME_UNEXPECTED),
            (&[0, 7, 1, 0], Code::MISSING_SETTINGS),
            (&[2, 0x3f], Code::QPACK_ENCODER_STREAM_ERROR),
        ] {
            assert_eq!(of_server(bytes), Err(code), "{bytes:x?}");
        }
    }

    #[test]
    fn there_is_one_of_each() {
        for kind in [0, 2, 3] {
            let mut peer = Peer::of(Role::Client);
            assert_eq!(OneWay::new().take(&[kind], &mut peer), Ok(Verdict::Read));
            let again = OneWay::new().take(&[kind], &mut peer);
            assert_eq!(again.map_err(|broken| broken.code), Err(Code::STREAM_CREATION_ERROR));
        }
    }

    #[test]
    fn tables_stay_empty() {
        assert_eq!(take(&[2, 0x20]).map(|(_, verdict)| verdict), Ok(Verdict::Read));
        for instruction in [0x21, 0x3f, 0x80, 0xc0, 0x40, 0x00] {
            assert_eq!(code(&[2, instruction]), Code::QPACK_ENCODER_STREAM_ERROR);
        }
        assert_eq!(take(&[3, 0x44, 0x7f, 0x81, 0x01, 0x40]).map(|(_, verdict)| verdict), Ok(Verdict::Read));
        for instruction in [0x00, 0x01, 0x80, 0xff] {
            assert_eq!(code(&[3, instruction]), Code::QPACK_DECODER_STREAM_ERROR);
        }
        assert_eq!(code(&[&[3, 0x7f][..], &[0xff; 20]].concat()), Code::QPACK_DECODER_STREAM_ERROR);
    }

    #[test]
    fn critical_streams_do_not_end() {
        let mut peer = Peer::of(Role::Client);
        for (kind, ends) in [(0, false), (2, false), (3, false), (0x21, true)] {
            let mut stream = OneWay::new();
            assert!(stream.end().is_ok());
            let verdict = stream.take(&[kind], &mut peer).expect("a kind");
            assert_eq!(stream.end().is_ok(), ends);
            assert_eq!(verdict == Verdict::Unknown, ends);
        }
    }
}
