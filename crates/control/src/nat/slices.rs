//! A change of many services a few at a time: the kernel takes some ten milliseconds for each that it puts in the place of
//! another (it waits until no packet goes by the old one), and whoever asks it has other things to do.

use kernel::Service;

/// How many change at once.
const MOST: usize = 8;

/// What to put in force next on the way from what is there to what is wanted.
pub(super) fn next(there: &[Service], wanted: &[Service]) -> Vec<Service> {
    let mut changed = 0;
    let of = |service: &Service| {
        let old = there.iter().find(|old| old.address == service.address && old.transport == service.transport);
        match old.filter(|old| *old != service) {
            Some(old) if changed == MOST => old.clone(),
            Some(_) => {
                changed += 1;
                service.clone()
            }
            None => service.clone(),
        }
    };
    wanted.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn services(idle: u64) -> Vec<Service> {
        let service = |port: u16| Service {
            name: port.to_string().into(),
            address: ([192, 0, 2, 1], port).into(),
            transport: kernel::Transport::Tcp,
            mode: kernel::Mode::Dnat,
            sources: Vec::new(),
            servers: Vec::new(),
            idle: Duration::from_secs(idle),
        };
        (1..=20).map(service).collect()
    }

    #[test]
    fn many_change_a_few_at_a_time_and_a_few_at_once() {
        let (mut there, wanted) = (services(1), services(2));
        let mut steps = Vec::new();
        while there != wanted {
            let step = next(&there, &wanted);
            steps.push(step.iter().zip(&there).filter(|(new, old)| new != old).count());
            there = step;
        }
        assert_eq!(steps, [8, 8, 4]);
        let mut one = there.clone();
        one[17].idle = Duration::from_secs(3);
        assert_eq!(next(&there, &one), one);
        // What is no longer wanted is not there, and what is new is.
        assert_eq!(next(&wanted, &services(1)[..1]), services(1)[..1]);
        assert_eq!(next(&[], &wanted), wanted);
    }
}
