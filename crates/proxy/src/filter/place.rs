//! Places for texts: a filter holds so many at a time, and for one client no more than a quarter of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Report;
use crate::users::neighbourhood;

/// Who has how many.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by: HashMap<IpAddr, usize>,
}

/// One of the texts that are held, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Place {
    report: Arc<Report>,
    client: IpAddr,
}

/// One client may have one of so many.
const SHARE: usize = 4;

impl Place {
    /// One of so many for this client, if there is one for it.
    pub(super) fn take(report: &Arc<Report>, client: IpAddr, most: usize) -> Option<Place> {
        let client = neighbourhood(client);
        let mut taken = report.places.lock();
        let has = taken.by.get(&client).copied().unwrap_or(0);
        if taken.all >= most || has >= (most / SHARE).max(1) {
            return None;
        }
        taken.all += 1;
        taken.by.insert(client, has + 1);
        drop(taken);
        Some(Place { report: Arc::clone(report), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.report.places.lock();
        taken.all -= 1;
        if let Some(has) = taken.by.get_mut(&self.client) {
            *has -= 1;
            if *has == 0 {
                taken.by.remove(&self.client);
            }
        }
    }
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_has_a_quarter_and_all_have_no_more_than_there_are() {
        let report = Arc::new(Report::new("f", 1));
        let take = |client: &str, most| Place::take(&report, client.parse().expect("an address"), most);
        let mine = [take("192.0.2.1", 8), take("192.0.2.1", 8)];
        assert!(mine.iter().all(Option::is_some) && take("192.0.2.1", 8).is_none());
        let theirs = [take("2001:db8::1", 8), take("2001:db8::2", 8)];
        assert!(theirs.iter().all(Option::is_some) && take("2001:db8::3", 8).is_none(), "a network of theirs");
        assert!(take("192.0.2.2", 4).is_none(), "no more than there are");
        drop(mine);
        assert!(take("192.0.2.1", 3).is_some() && take("192.0.2.1", 8).is_some(), "at least one");
        drop(theirs);
        let taken = report.places.lock();
        assert!(taken.all == 0 && taken.by.is_empty());
    }
}
