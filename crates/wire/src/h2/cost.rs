//! The account of everything that a peer makes us do for nothing.
//!
//! One number a connection. What costs us work and brings neither side anything forward adds to it; time and finished
//! work take from it. Above the limit the connection ends with ENHANCE_YOUR_CALM. One account for all kinds of it, so
//! that a new mixture of old floods meets the same bound (CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2024-27316 and its
//! kin, CVE-2025-8671).

use std::time::Instant;

/// The account of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    level: u32,
    /// Until when time was taken into account.
    settled: Option<Instant>,
}

/// The account is overdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdrawn;

/// What a peer may do at once: 200 requests that it takes back, 1,000 PINGs.
pub const MOST: u32 = 1_000;

/// What time takes from the level, a second: 40 requests taken back, 200 PINGs.
const EACH_SECOND: u32 = 200;

/// A request that was begun for nothing: taken back by the peer, or reset by us because the peer broke a rule on it.
pub const RESET: u32 = 5;
/// A response that a server takes back: it costs the server more than us.
pub const RESPONSE_RESET: u32 = 1;
/// A stream over the limit: its head was decoded and no more.
pub const REFUSED: u32 = 2;
/// A SETTINGS frame: it may touch every stream, and is answered.
pub const SETTINGS: u32 = 10;
/// A frame that is answered or looked at and moves nothing: PING, PRIORITY, WINDOW_UPDATE, empty DATA, anything unknown.
pub const FRAME: u32 = 1;

/// What a finished exchange takes from the level.
pub const FINISHED: u32 = 5;
/// What a frame of content that we sent takes from it: the WINDOW_UPDATEs for it.
pub const CONTENT_SENT: u32 = 2;

impl Account {
    /// Adds what something has cost.
    ///
    /// # Errors
    /// It was too much.
    pub fn charge(&mut self, cost: u32, now: Instant) -> Result<(), Overdrawn> {
        let settled = *self.settled.get_or_insert(now);
        let passed = now.saturating_duration_since(settled).as_millis();
        let forgiven = passed * u128::from(EACH_SECOND) / 1000;
        if forgiven > 0 {
            self.level = self.level.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
            self.settled = Some(now);
        }
        self.level += cost;
        if self.level > MOST { Err(Overdrawn) } else { Ok(()) }
    }

    /// Takes off what was earned.
    #[inline]
    pub fn earn(&mut self, gain: u32) {
        self.level = self.level.saturating_sub(gain);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_and_work_pay() {
        let start = Instant::now();
        let mut account = Account::default();
        assert_eq!(account.charge(MOST, start), Ok(()));
        assert_eq!(account.charge(1, start), Err(Overdrawn));
        account.earn(11);
        assert_eq!(account.charge(10, start), Ok(()));
        assert_eq!(account.charge(EACH_SECOND, start + Duration::from_secs(1)), Ok(()));
        assert_eq!(account.charge(1, start + Duration::from_secs(1)), Err(Overdrawn));
    }

    #[test]
    fn many_small_waits_pay_like_one() {
        let start = Instant::now();
        let mut account = Account::default();
        for milliseconds in 0..10_000 {
            // 100 a second is less than what time pays.
            let cost = u32::from(milliseconds % 10 == 0);
            assert_eq!(account.charge(cost, start + Duration::from_millis(milliseconds)), Ok(()));
        }
        assert!(account.level < 10);
    }
}
