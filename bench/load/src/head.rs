//! As much of an HTTP/1.1 head as both ends need: where it ends, its first line and its `Content-Length`.

pub struct Head<'a> {
    pub first_line: &'a [u8],
    /// Zero when the field is absent.
    pub content_length: usize,
    /// Bytes up to and including the empty line.
    pub length: usize,
}

impl<'a> Head<'a> {
    /// `None` until the empty line has arrived.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut content_length = 0;
        let mut first_line: Option<&[u8]> = None;
        let mut at = 0;
        loop {
            let end = at + bytes[at..].iter().position(|&byte| byte == b'\n')?;
            let line = bytes[at..end].strip_suffix(b"\r").unwrap_or(&bytes[at..end]);
            at = end + 1;
            match first_line {
                None => first_line = Some(line),
                Some(first_line) if line.is_empty() => return Some(Self { first_line, content_length, length: at }),
                Some(_) => content_length = length_field(line).unwrap_or(content_length),
            }
        }
    }
}

fn length_field(line: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let (name, value) = line.split_at_checked(NAME.len())?;
    if !name.eq_ignore_ascii_case(NAME) {
        return None;
    }
    str::from_utf8(value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Head;

    #[test]
    fn waits_for_the_empty_line() {
        let whole = b"POST / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH:  12\r\n\r\n";
        for cut in 0..whole.len() {
            assert!(Head::parse(&whole[..cut]).is_none());
        }
        let head = Head::parse(whole).expect("the whole head");
        assert_eq!((head.first_line, head.content_length, head.length), (&b"POST / HTTP/1.1"[..], 12, whole.len()));
    }
}
