//! Flow control (RFC 9113 section 5.2): how much either side may send, for a stream and for the connection.

/// The window that streams and connections begin with (section 6.9.2).
pub const DEFAULT: u32 = 65_535;

/// The largest window (section 6.9.1).
pub const MOST: u32 = 0x7fff_ffff;

/// What we may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Below zero after the peer has made its initial window smaller (section 6.9.2).
    left: i64,
}

/// A window above the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl Sending {
    /// A window of this size.
    pub fn new(size: u32) -> Sending {
        Sending { left: i64::from(size) }
    }

    /// How many bytes may be sent now.
    pub fn left(&self) -> usize {
        usize::try_from(self.left).unwrap_or(0)
    }

    /// Bytes were sent; never more than are left.
    pub fn sent(&mut self, count: usize) {
        debug_assert!(count <= self.left());
        self.left -= count as i64;
    }

    /// The peer has made it larger, or, with a new initial window, smaller.
    ///
    /// # Errors
    /// It is larger than the largest.
    pub fn change(&mut self, by: i64) -> Result<(), Overflow> {
        let left = self.left + by;
        if left > i64::from(MOST) {
            return Err(Overflow);
        }
        self.left = left;
        Ok(())
    }
}

/// What the peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiving {
    size: u32,
    /// What the peer may still send.
    left: u32,
    /// What was handed on and not told to the peer yet.
    credit: u32,
}

/// The peer has sent more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded;

impl Receiving {
    /// A window of this size, of which the peer already knows.
    pub fn new(size: u32) -> Receiving {
        Receiving { size, left: size, credit: 0 }
    }

    /// Bytes have arrived.
    ///
    /// # Errors
    /// The peer has sent more than it may.
    pub fn received(&mut self, count: u32) -> Result<(), Exceeded> {
        self.left = self.left.checked_sub(count).ok_or(Exceeded)?;
        Ok(())
    }

    /// What the peer may still send.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// Bytes were handed on.
    pub fn consumed(&mut self, count: u32) {
        self.credit += count;
    }

    /// What the peer should be told it may send more: once half a window is due, so that a frame speaks for much content.
    pub fn update(&mut self) -> Option<u32> {
        if self.credit < (self.size / 2).max(1) {
            return None;
        }
        let credit = std::mem::take(&mut self.credit);
        self.left += credit;
        Some(credit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_what_was_given_less_what_was_sent() {
        let mut window = Sending::new(10);
        window.sent(10);
        assert_eq!(window.change(-5), Ok(()));
        assert_eq!(window.left(), 0);
        assert_eq!(window.change(6), Ok(()));
        assert_eq!(window.left(), 1);
        assert_eq!(window.change(i64::from(MOST)), Err(Overflow));
    }

    #[test]
    fn updates_wait_for_half_a_window() {
        let mut window = Receiving::new(100);
        assert_eq!(window.received(101), Err(Exceeded));
        assert_eq!(window.received(100), Ok(()));
        window.consumed(49);
        assert_eq!(window.update(), None);
        window.consumed(1);
        assert_eq!(window.update(), Some(50));
        assert_eq!(window.update(), None);
        assert_eq!(window.received(51), Err(Exceeded));
        assert_eq!(window.received(50), Ok(()));
    }
}
