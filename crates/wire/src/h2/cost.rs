//! The account of everything that a peer makes us do for nothing.
//!
//! One number a connection. What costs us work and brings neither side anything forward adds to it; time and finished
//! work take from it. Above the limit the connection ends with ENHANCE_YOUR_CALM. One account for all kinds of it, so
//! that a new mixture of old floods meets the same bound (CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2024-27316 and its
//! kin, CVE-2025-8671).
//!
//! Resets have a number of their own, which finished work takes from more slowly: were one cheap request the price of one
//! taken back, half of all could be taken back for ever. WINDOW_UPDATEs are paid by the bytes that we have sent: a peer that
//! reads in small pieces says so often, and one that makes us send a byte at a time earns nothing by it.

use std::time::Instant;

/// The account of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    level: u32,
    /// The level of resets.
    resets: u32,
    /// Finished exchanges that have not paid for a reset yet.
    finished: u32,
    /// Bytes of content that were sent, and not answered with a WINDOW_UPDATE.
    content: u32,
    /// Until when time was taken into account.
    settled: Option<Instant>,
}

/// The account is overdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdrawn;

/// What a peer may do at once: 1,000 PINGs, and 200 requests that it takes back.
pub const MOST: u32 = 1_000;

/// What time takes from each level, a second: 200 PINGs, and 40 requests taken back.
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
/// Finished exchanges that pay for one more request taken back, beside what time pays.
const FINISHED_A_RESET: u32 = 10;
/// What a frame of content takes from the level, if no window has cut it: the PINGs of peers that measure with each.
pub const CONTENT_SENT: u32 = 2;

/// Bytes of content sent that pay for a WINDOW_UPDATE: Go sends one for the stream and one for the connection each 4 KiB.
const CONTENT_AN_UPDATE: u32 = 1024;
/// Bytes of content sent that may still pay: what a peer may have had on its way before it read any.
const MOST_CONTENT: u32 = 16 * 1024 * 1024;

impl Account {
    /// Adds what something has cost.
    ///
    /// # Errors
    /// It was too much.
    pub fn charge(&mut self, cost: u32, now: Instant) -> Result<(), Overdrawn> {
        self.settle(now);
        self.level += cost;
        if self.level > MOST { Err(Overdrawn) } else { Ok(()) }
    }

    /// Adds what a reset has cost.
    ///
    /// # Errors
    /// It was too much.
    pub fn charge_reset(&mut self, cost: u32, now: Instant) -> Result<(), Overdrawn> {
        self.settle(now);
        self.resets += cost;
        if self.resets > MOST { Err(Overdrawn) } else { Ok(()) }
    }

    /// Adds what a WINDOW_UPDATE has cost, unless content that was sent pays for it.
    ///
    /// # Errors
    /// It was too much.
    pub fn charge_update(&mut self, now: Instant) -> Result<(), Overdrawn> {
        match self.content.checked_sub(CONTENT_AN_UPDATE) {
            Some(rest) => {
                self.content = rest;
                Ok(())
            }
            None => self.charge(FRAME, now),
        }
    }

    /// Content was sent.
    #[inline]
    pub fn sent(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(MOST_CONTENT);
        self.content = self.content.saturating_add(count).min(MOST_CONTENT);
    }

    /// An exchange has come to its end.
    pub fn finished(&mut self) {
        self.earn(FINISHED);
        self.finished += 1;
        if self.finished == FINISHED_A_RESET {
            self.finished = 0;
            self.resets = self.resets.saturating_sub(RESET);
        }
    }

    fn settle(&mut self, now: Instant) {
        let settled = *self.settled.get_or_insert(now);
        let passed = now.saturating_duration_since(settled).as_millis();
        let forgiven = passed * u128::from(EACH_SECOND) / 1000;
        if forgiven > 0 {
            let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
            self.level = self.level.saturating_sub(forgiven);
            self.resets = self.resets.saturating_sub(forgiven);
            self.settled = Some(now);
        }
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
