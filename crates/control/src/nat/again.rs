//! When to ask the kernel again for what it has refused: later each time, since to ask takes the time of whoever does.

use std::time::{Duration, Instant};

use kernel::Service;

/// What the kernel would not run by.
#[derive(Debug)]
pub(super) struct Again {
    services: Vec<Service>,
    pause: Duration,
    due: Instant,
}

const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30);

impl Again {
    /// These were refused, and something, too, before them. Answers whether that is news as well.
    pub(super) fn after(before: Option<Again>, services: Vec<Service>, now: Instant) -> (Again, bool) {
        let same = before.filter(|before| before.services == services);
        let pause = same.as_ref().map_or(FIRST, |before| (before.pause * 2).min(MOST));
        (Again { services, pause, due: now + pause }, same.is_none())
    }

    /// Whether these may be tried.
    pub(super) fn allows(&self, services: &[Service], now: Instant) -> bool {
        now >= self.due || self.services != services
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(name: &str) -> Vec<Service> {
        vec![Service {
            name: name.into(),
            address: ([192, 0, 2, 1], 80).into(),
            transport: kernel::Transport::Tcp,
            mode: kernel::Mode::Dnat,
            sources: Vec::new(),
            servers: Vec::new(),
            idle: FIRST,
        }]
    }

    #[test]
    fn the_same_is_asked_for_less_and_less_often_and_something_else_at_once() {
        let mut now = Instant::now();
        let (mut again, is_news) = Again::after(None, services("a"), now);
        assert!(is_news && !again.allows(&services("a"), now) && again.allows(&services("b"), now));
        let mut asked = 0;
        let end = now + Duration::from_secs(300);
        while now < end {
            now += Duration::from_millis(100);
            if again.allows(&services("a"), now) {
                let (next, is_news) = Again::after(Some(again), services("a"), now);
                assert!(!is_news);
                again = next;
                asked += 1;
            }
        }
        // After 1, 2, 4, 8, 16 s, and then every 30 s.
        assert_eq!(asked, 13);
        assert!(Again::after(Some(again), services("b"), now).1);
    }
}
