//! Which number stands for which server of which service. Connections remember the number, so it stays with its server, named or
//! not, until no connection has it.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::Service;
use crate::layout::{BackendValue, ServiceKey, read_backend};

/// A server of a service.
pub(crate) type Owner = (ServiceKey, SocketAddr);

/// All numbers.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    owners: Vec<Option<Owner>>,
    numbers: HashMap<Owner, u32>,
}

impl Slots {
    /// As an earlier process left them.
    pub(crate) fn read(values: impl Iterator<Item = BackendValue>) -> Slots {
        let owners: Vec<Option<Owner>> = values.map(|value| read_backend(&value)).collect();
        let numbers = (0..).zip(&owners).filter_map(|(number, owner)| Some(((*owner)?, number))).collect();
        Slots { owners, numbers }
    }

    /// The number of a server, from now on if it had none; none if all are taken.
    pub(crate) fn of(&mut self, owner: Owner) -> Option<u32> {
        if let Some(number) = self.number(&owner) {
            return Some(number);
        }
        let free = self.owners.iter().position(Option::is_none).unwrap_or(self.owners.len());
        if free >= Service::SERVERS {
            return None;
        }
        if free == self.owners.len() {
            self.owners.push(None);
        }
        self.owners[free] = Some(owner);
        let number = free as u32;
        self.numbers.insert(owner, number);
        Some(number)
    }

    /// The number of a server, if it has one.
    pub(crate) fn number(&self, owner: &Owner) -> Option<u32> {
        self.numbers.get(owner).copied()
    }

    /// A number that nothing refers to any more.
    pub(crate) fn free(&mut self, number: u32) {
        if let Some(owner) = self.owners.get_mut(number as usize).and_then(Option::take) {
            self.numbers.remove(&owner);
        }
    }

    /// Every number with its server.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Owner)> + '_ {
        (0..).zip(&self.owners).filter_map(|(number, owner)| Some((number, (*owner)?)))
    }

    /// How many may still be taken.
    pub(crate) fn left(&self) -> usize {
        Service::SERVERS - self.numbers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Transport;
    use crate::layout::{backend, service_key};

    fn owner(service: u16, server: u16) -> Owner {
        let at = |port: u16| SocketAddr::from(([198, 18, 0, 1], port));
        (service_key(at(service), Transport::Tcp), at(server))
    }

    #[test]
    fn a_number_stays_with_its_server_until_it_is_free() {
        let mut slots = Slots::default();
        assert_eq!(slots.of(owner(80, 1)), Some(0));
        assert_eq!(slots.of(owner(80, 2)), Some(1));
        assert_eq!(slots.of(owner(81, 1)), Some(2));
        assert_eq!(slots.of(owner(80, 2)), Some(1));
        slots.free(1);
        assert_eq!(slots.of(owner(81, 7)), Some(1));
        assert_eq!(slots.of(owner(80, 2)), Some(3));
        assert_eq!(slots.left(), Service::SERVERS - 4);
    }

    #[test]
    fn a_later_process_finds_the_same_numbers() {
        let values =
            [backend(&owner(80, 1).0, owner(80, 1).1, true), [0; 40], backend(&owner(81, 1).0, owner(81, 1).1, false)];
        let mut slots = Slots::read(values.into_iter());
        assert_eq!(slots.of(owner(81, 1)), Some(2));
        assert_eq!(slots.of(owner(80, 9)), Some(1));
        assert_eq!(slots.iter().map(|(number, _)| number).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn there_are_no_more_than_the_table_has() {
        let mut slots = Slots::default();
        for number in 0..Service::SERVERS as u16 {
            assert!(slots.of(owner(80, number)).is_some());
        }
        assert_eq!((slots.of(owner(80, 60_000)), slots.left()), (None, 0));
    }
}
