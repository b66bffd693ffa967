//! Records of TLS 1.3 once hands are shaken (RFC 8446 section 5): content is sealed where it is sent from and opened where it was
//! received. A connection keeps its keys, and no buffer.
//!
//! The library has shaken hands and derived the keys; here they are used. What still comes beside content is little: new keys,
//! a server's tickets, and alerts. Nothing here touches a socket.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, UnboundKey};
use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::{InboundOpaqueMessage, MessageDecrypter, Nonce, make_tls13_aad};
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, Error, ExtractedSecrets, HandshakeType, InvalidMessage,
    PeerMisbehaved, ProtocolVersion, Tls13CipherSuite,
};

use super::engine::{Opened, Sink, whole};

/// The records of a connection, both ways.
pub(super) struct Records {
    schedule: Schedule,
    suite: &'static Tls13CipherSuite,
    sealing: Sealing,
    opening: Opening,
    /// The beginning of a message of the handshake's kind whose end has not come.
    partial: Vec<u8>,
    /// Records without content, one after the other.
    fruitless: u8,
    /// A request for new keys was answered, and no content of ours has followed: further requests have their answer in it (RFC 8446
    /// section 4.6.3). Else a peer that asks and never reads would fill our memory with answers.
    answered: bool,
    /// Keys of the peer's that no content has paid for yet, and content that pays for the next.
    unpaid: u8,
    content: usize,
}

/// Who knows the secrets that keys are derived from.
pub(super) enum Schedule {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

struct Sealing {
    key: LessSafeKey,
    iv: rustls::crypto::cipher::Iv,
    sequence: u64,
}

struct Opening {
    key: Box<dyn MessageDecrypter>,
    sequence: u64,
}

/// What a record carries at most (RFC 8446 section 5.1).
pub(super) const FULL: usize = 16 * 1024;

/// A record's header.
const HEADER: usize = 5;

/// What a record is longer by than its content: the header, the kind of content, the proof.
const MORE: usize = HEADER + 1 + 16;

/// What sealing may add to a record's content at most (RFC 8446 section 5.2).
const EXPANSION: usize = 256;

/// Records without content that are taken one after the other. A peer can make us draw keys and answer with each of them.
const FRUITLESS: u8 = 32;

/// Keys that a peer may change one after the other, and the content that pays for one more: each costs us a derivation, and its
/// sender next to nothing.
const UNPAID: u8 = 32;
const PRICE: usize = FULL;

/// The longest message that is put together; tickets are far shorter.
const LONGEST: usize = 64 * 1024;

impl Records {
    pub(super) fn new(
        schedule: Schedule,
        suite: &'static Tls13CipherSuite,
        secrets: ExtractedSecrets,
    ) -> Result<Records, Error> {
        let (sequence, sealing) = secrets.tx;
        let sealing = Sealing::new(sealing, sequence)?;
        let (sequence, opening) = secrets.rx;
        let opening = Opening::new(suite, opening, sequence)?;
        Ok(Records {
            schedule,
            suite,
            sealing,
            opening,
            partial: Vec::new(),
            fruitless: 0,
            answered: false,
            unpaid: 0,
            content: 0,
        })
    }

    /// Opens what is whole of `bytes`, as long as there is room. After an error the alert for the peer stands in `out`.
    pub(super) fn open(&mut self, bytes: &mut [u8], sink: &mut Sink<'_>, out: &mut Vec<u8>) -> Result<Opened, Error> {
        self.open_all(bytes, sink, out).inspect_err(|error| {
            if let Some(alert) = alert_for(error) {
                // A connection that cannot even say so closes without a word.
                let _ = self.seal(ContentType::Alert, &[2, u8::from(alert)], out);
            }
        })
    }

    fn open_all(&mut self, bytes: &mut [u8], sink: &mut Sink<'_>, out: &mut Vec<u8>) -> Result<Opened, Error> {
        let mut used = 0;
        while let Some(length) = whole(&bytes[used..], FULL + EXPANSION) {
            let length = length.map_err(|_| Error::PeerSentOversizedRecord)?;
            if !sink.takes(length) {
                break;
            }
            let (header, payload) = bytes[used..used + length].split_at_mut(HEADER);
            used += length;
            // Nothing is said in the open any more, not even that the cipher changes (section 5).
            if header[0] != u8::from(ContentType::ApplicationData) {
                return Err(PeerMisbehaved::IllegalMiddleboxChangeCipherSpec.into());
            }
            let sealed = InboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, payload);
            let opened = self.opening.key.decrypt(sealed, self.opening.sequence)?;
            self.opening.sequence += 1;
            if !self.partial.is_empty() && opened.typ != ContentType::Handshake {
                return Err(PeerMisbehaved::MessageInterleavedWithHandshakeMessage.into());
            }
            if opened.typ == ContentType::ApplicationData && !opened.payload.is_empty() {
                self.fruitless = 0;
                self.content += opened.payload.len();
                sink.give(opened.payload);
                continue;
            }
            self.fruitless += 1;
            if self.fruitless > FRUITLESS {
                return Err(PeerMisbehaved::TooManyEmptyFragments.into());
            }
            match opened.typ {
                ContentType::ApplicationData => {}
                ContentType::Alert => {
                    if is_end(opened.payload)? {
                        return Ok(Opened { used: bytes.len(), ended: true });
                    }
                }
                ContentType::Handshake => {
                    self.partial.extend_from_slice(opened.payload);
                    self.take_messages(out)?;
                }
                _ => return Err(Error::InappropriateMessage { expect_types: vec![], got_type: opened.typ }),
            }
        }
        Ok(Opened { used, ended: false })
    }

    /// Acts by the messages that are whole.
    fn take_messages(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let messages = std::mem::take(&mut self.partial);
        let mut rest = &messages[..];
        while let [kind, a, b, c, behind @ ..] = rest {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if length > LONGEST {
                return Err(InvalidMessage::HandshakePayloadTooLarge.into());
            }
            let Some((message, behind)) = behind.split_at_checked(length) else { break };
            rest = behind;
            match (HandshakeType::from(*kind), &mut self.schedule) {
                (HandshakeType::KeyUpdate, _) => {
                    // What is behind it in its record would be of the wrong key (section 5.1).
                    if !rest.is_empty() {
                        return Err(PeerMisbehaved::KeyEpochWithPendingFragment.into());
                    }
                    self.open_with_next_key(message, out)?;
                }
                (HandshakeType::NewSessionTicket, Schedule::Client(schedule)) => {
                    schedule.handle_new_session_ticket(message)?;
                }
                (kind, _) => {
                    return Err(Error::InappropriateHandshakeMessage { expect_types: vec![], got_type: kind });
                }
            }
        }
        self.partial = rest.to_vec();
        Ok(())
    }

    /// The peer has changed its key, and may want us to (section 4.6.3).
    fn open_with_next_key(&mut self, request: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let wants_ours = match request {
            [0] => false,
            [1] => true,
            _ => return Err(InvalidMessage::InvalidKeyUpdate.into()),
        };
        let paid = std::mem::take(&mut self.content) / PRICE;
        self.unpaid = self.unpaid.saturating_sub(u8::try_from(paid).unwrap_or(u8::MAX)) + 1;
        if self.unpaid > UNPAID {
            return Err(PeerMisbehaved::TooManyKeyUpdateRequests.into());
        }
        let (sequence, secrets) = match &mut self.schedule {
            Schedule::Server(schedule) => schedule.update_rx_secret()?,
            Schedule::Client(schedule) => schedule.update_rx_secret()?,
        };
        self.opening = Opening::new(self.suite, secrets, sequence)?;
        if !wants_ours || std::mem::replace(&mut self.answered, true) {
            return Ok(());
        }
        self.seal_with_next_key(out)
    }

    fn seal_with_next_key(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.change_key(0, out)
    }

    /// Says that the next record has another key, and whether the peer should change its own.
    fn change_key(&mut self, request: u8, out: &mut Vec<u8>) -> Result<(), Error> {
        let message = [u8::from(HandshakeType::KeyUpdate), 0, 0, 1, request];
        self.sealing.seal(ContentType::Handshake, &message, out)?;
        let (sequence, secrets) = match &mut self.schedule {
            Schedule::Server(schedule) => schedule.update_tx_secret()?,
            Schedule::Client(schedule) => schedule.update_tx_secret()?,
        };
        self.sealing = Sealing::new(secrets, sequence)?;
        Ok(())
    }

    /// Appends content to `out`, in as few records as can be.
    pub(super) fn seal(&mut self, kind: ContentType, content: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.answered &= kind != ContentType::ApplicationData;
        for content in content.chunks(FULL) {
            // A key is good for so many records (section 5.5); the one that announces the next is among them.
            if self.sealing.sequence.saturating_add(1) >= self.suite.common.confidentiality_limit {
                self.seal_with_next_key(out)?;
            }
            self.sealing.seal(kind, content, out)?;
        }
        Ok(())
    }
}

#[cfg(any(test, fuzzing))]
impl Records {
    /// How many records a key is good for.
    #[cfg(test)]
    pub(super) fn limit(&self) -> u64 {
        self.suite.common.confidentiality_limit
    }

    #[cfg(test)]
    pub(super) fn sealed(&self) -> u64 {
        self.sealing.sequence
    }

    #[cfg(test)]
    pub(super) fn set_sealed(&mut self, sequence: u64) {
        self.sealing.sequence = sequence;
    }

    #[cfg(test)]
    pub(super) fn set_opened(&mut self, sequence: u64) {
        self.opening.sequence = sequence;
    }

    /// Changes the key and asks the peer to change its own.
    pub(super) fn ask_for_key(&mut self, out: &mut Vec<u8>) {
        self.change_key(1, out).expect("sealed");
    }

    /// Seals whatever the caller likes.
    #[cfg(test)]
    pub(super) fn seal_one(&mut self, kind: ContentType, content: &[u8], out: &mut Vec<u8>) {
        self.sealing.seal(kind, content, out).expect("sealed");
    }
}

impl Sealing {
    fn new(secrets: ConnectionTrafficSecrets, sequence: u64) -> Result<Sealing, Error> {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&aead::AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&aead::AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&aead::CHACHA20_POLY1305, key, iv),
            _ => return Err(Error::General("a cipher that is not known".to_owned())),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| Error::EncryptError)?;
        Ok(Sealing { key: LessSafeKey::new(key), iv, sequence })
    }

    /// Appends one record.
    fn seal(&mut self, kind: ContentType, content: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let length = content.len() + MORE - HEADER;
        // The header is what is authenticated beside (section 5.2).
        let header = make_tls13_aad(length);
        out.reserve(HEADER + length);
        out.extend_from_slice(&header);
        let begin = out.len();
        out.extend_from_slice(content);
        out.push(u8::from(kind));
        // The sequence number makes the nonce unique (section 5.3): each is used once, also if sealing fails.
        let nonce = aead::Nonce::assume_unique_for_key(Nonce::new(&self.iv, self.sequence).0);
        self.sequence = self.sequence.checked_add(1).ok_or(Error::EncryptError)?;
        let sealed = self.key.seal_in_place_separate_tag(nonce, Aad::from(header), &mut out[begin..]);
        match sealed {
            Ok(proof) => out.extend_from_slice(proof.as_ref()),
            Err(_) => {
                // What was not sealed must not leave.
                out.truncate(begin - HEADER);
                return Err(Error::EncryptError);
            }
        }
        Ok(())
    }
}

impl Opening {
    fn new(
        suite: &'static Tls13CipherSuite,
        secrets: ConnectionTrafficSecrets,
        sequence: u64,
    ) -> Result<Opening, Error> {
        let key = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
            | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => suite.aead_alg.decrypter(key, iv),
            _ => return Err(Error::General("a cipher that is not known".to_owned())),
        };
        Ok(Opening { key, sequence })
    }
}

/// Whether an alert is the connection's clean end; every other one is an error, but for a warning that the end is near
/// (RFC 8446 section 6).
fn is_end(alert: &[u8]) -> Result<bool, Error> {
    match *alert {
        [_, 0] => Ok(true),
        [_, 90] => Ok(false),
        [_, other] => Err(Error::AlertReceived(AlertDescription::from(other))),
        _ => Err(InvalidMessage::TrailingData("an alert").into()),
    }
}

/// What the peer is told of an error.
fn alert_for(error: &Error) -> Option<AlertDescription> {
    Some(match error {
        // Who has said the end is not answered.
        Error::AlertReceived(_) => return None,
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::InvalidMessage(_) => AlertDescription::DecodeError,
        Error::PeerMisbehaved(_) | Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        _ => AlertDescription::InternalError,
    })
}
