//! Whom each place of a table belongs to (Maglev), made once for each list of servers: several services often have the same.

use std::collections::HashMap;
use std::rc::Rc;

use base::maglev;

use crate::Server;

/// The lists that were met last.
#[derive(Debug, Default)]
pub(crate) struct Lists(HashMap<List, Rc<[u16]>>);

/// Each server's identity and its weight.
type List = Vec<(Box<[u8]>, u32)>;

/// Tables that are kept, of 131 kB each.
const MOST: usize = 16;

impl Lists {
    /// The places of these servers, by their order.
    pub(crate) fn places(&mut self, servers: &[Server]) -> Rc<[u16]> {
        let identity = |server: &Server| (maglev::identity(&server.name, &server.address), server.weight);
        let list: List = servers.iter().map(identity).collect();
        if let Some(places) = self.0.get(&list) {
            return Rc::clone(places);
        }
        let places: Rc<[u16]> = maglev::places(list.iter().map(|(name, weight)| (&**name, *weight))).into();
        if self.0.len() == MOST {
            self.0.clear();
        }
        self.0.insert(list, Rc::clone(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(weights: [u32; 2]) -> Vec<Server> {
        let server = |(port, weight): (u16, u32)| Server {
            name: port.to_string().into(),
            address: ([198, 18, 1, 11], port).into(),
            weight,
        };
        (80..).zip(weights).map(server).collect()
    }

    #[test]
    fn one_list_has_one_table() {
        let mut lists = Lists::default();
        let first = lists.places(&servers([1, 2]));
        let other = lists.places(&servers([2, 1]));
        assert!(Rc::ptr_eq(&first, &lists.places(&servers([1, 2]))));
        assert_ne!(first, other);
        for weight in 3..3 + 2 * MOST as u32 {
            lists.places(&servers([1, weight]));
        }
        assert!(lists.0.len() <= MOST);
        assert_eq!(first, lists.places(&servers([1, 2])));
    }
}
