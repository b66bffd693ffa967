//! What all versions of QUIC have in common (RFC 8999): the ids by which connections are told apart, as far as somebody on the way who
//! has no keys can read them.

/// The beginning of a datagram, if it is one of QUIC. Nobody on the way can know that: whatever is long enough reads as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header<'a> {
    /// It says its version and both ids (section 5.1): a connection is being made, or was not understood.
    Long {
        /// The version; 0 is no version, but a list of those that a server speaks (section 6).
        version: u32,
        /// Who it is for, by an id that the receiver has chosen; the first of a client has made it up.
        destination: &'a [u8],
        /// By which id the sender wants to be answered.
        source: &'a [u8],
    },
    /// It says who it is for and nothing else (section 5.2). How long that id is, is known to whoever has chosen it.
    Short {
        /// The id, and whatever follows it.
        rest: &'a [u8],
    },
}

/// What says that a header is a long one.
const LONG: u8 = 0x80;
/// The longest id of the versions there are (RFC 9000 section 17.2). Others may have longer ones.
pub const LONGEST_ID: usize = 20;

/// Reads the first header of a datagram; whatever else is in it is for the same connection. Nothing if it is too short for what it says.
pub fn read(datagram: &[u8]) -> Option<Header<'_>> {
    let (first, rest) = datagram.split_first()?;
    if first & LONG == 0 {
        return Some(Header::Short { rest });
    }
    let (version, rest) = rest.split_first_chunk()?;
    let (destination, rest) = id(rest)?;
    let (source, _) = id(rest)?;
    Some(Header::Long { version: u32::from_be_bytes(*version), destination, source })
}

/// An id behind its length.
fn id(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

impl<'a> Header<'a> {
    /// The id that a server has chosen for its connection and says here for the first time: not where it speaks no version of the
    /// client's, for then the client's own id comes back.
    pub fn chosen(&self) -> Option<&'a [u8]> {
        match self {
            Header::Long { version: 1.., source, .. } if !source.is_empty() => Some(source),
            _ => None,
        }
    }

    /// The part of the id that it is for which lies there, whatever its length is. A short header does not say where its id ends.
    pub fn part(&self, offset: usize, length: usize) -> Option<&'a [u8]> {
        let id = match self {
            Header::Long { destination, .. } => destination,
            Header::Short { rest } => rest,
        };
        id.get(offset..offset.checked_add(length)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(version: u32, destination: &[u8], source: &[u8]) -> Vec<u8> {
        let version = version.to_be_bytes();
        [&[0xc3], &version[..], &[destination.len() as u8], destination, &[source.len() as u8], source, b"more"]
            .concat()
    }

    #[test]
    fn ids_are_found_in_both_headers() {
        let bytes = long(1, b"destination", b"source");
        let header = read(&bytes);
        assert_eq!(header, Some(Header::Long { version: 1, destination: b"destination", source: b"source" }));
        assert_eq!(header.and_then(|header| header.chosen()), Some(&b"source"[..]));
        assert_eq!(read(b"\x40destination and more"), Some(Header::Short { rest: b"destination and more" }));
        assert_eq!(read(b"\x40").map(|header| header.chosen()), Some(None));
    }

    /// RFC 8999 allows ids of up to 255 bytes, whatever versions do.
    #[test]
    fn ids_may_be_of_any_length() {
        for (to, from) in [(0, 0), (0, 20), (20, 0), (255, 255)] {
            let bytes = long(0xffff_ffff, &vec![7; to], &vec![8; from]);
            let Some(Header::Long { destination, source, .. }) = read(&bytes) else { panic!("a long header") };
            assert_eq!((destination, source), (&vec![7; to][..], &vec![8; from][..]));
        }
    }

    #[test]
    fn what_ends_too_early_is_none() {
        let bytes = long(1, b"to", b"from");
        let whole = bytes.len() - b"more".len();
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length]).is_some(), length >= whole, "{length} bytes");
        }
    }

    /// Version negotiation repeats the client's id as the server's own (RFC 8999 section 6).
    #[test]
    fn a_list_of_versions_chooses_no_id() {
        assert_eq!(read(&long(0, b"a", b"the client's")).and_then(|header| header.chosen()), None);
        assert_eq!(read(&long(1, b"a", b"")).and_then(|header| header.chosen()), None);
    }

    #[test]
    fn a_part_of_an_id_is_where_it_is_in_both_headers() {
        let bytes = long(1, b"0123456789", b"");
        for header in [read(&bytes), read(b"\x400123456789")] {
            let part = |offset, length| header.and_then(|header| header.part(offset, length));
            assert_eq!(part(1, 2), Some(&b"12"[..]));
            assert_eq!(part(9, 2), None);
            assert_eq!(part(usize::MAX, 2), None);
        }
    }
}
