//! The table beside one that is too simple to be wrong, through years that are drawn by chance.

use std::time::{Duration, Instant};

use super::table::{Lasts, Number, Over, Pair, Table};

/// A flow as the simple table has it.
#[derive(Clone, Debug)]
struct Simple {
    number: Number,
    pair: Pair,
    began: Instant,
    last: Instant,
    lasts: Lasts,
    answered: bool,
}

impl Simple {
    fn over(&self, now: Instant) -> Option<Over> {
        if self.lasts.total.is_some_and(|total| self.began + total <= now) {
            return Some(Over::Total);
        }
        (self.last + self.lasts.silent <= now).then_some(Over::Silent)
    }
}

fn pair(number: u64) -> Pair {
    let octets = (number as u16).to_be_bytes();
    Pair { client: ([10, 0, octets[0], octets[1]], 1000).into(), asked: Some([127, 0, 0, 1].into()) }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const MINUTE: Lasts = Lasts { silent: Duration::from_secs(60), total: None };

#[test]
fn it_does_what_a_simple_one_does() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut table, mut flows) = (Table::new(), Vec::<Simple>::new());
        let mut now = Instant::now();
        let mut gone = Vec::new();
        for step in 0..400_u64 {
            now += Duration::from_millis(random.u64(0..4_000));
            // Whoever is over goes, in whatever order.
            let mut over = Vec::new();
            let mut shown = 0;
            while let Some((number, why)) = table.over(now, |_: &mut u64| shown += 1) {
                table.remove(number).expect("a flow that was there");
                over.push((number, why));
            }
            let mut expected: Vec<_> = flows.iter().filter_map(|flow| Some((flow.number, flow.over(now)?))).collect();
            over.sort_unstable_by_key(|(number, _)| *number);
            expected.sort_unstable_by_key(|(number, _)| *number);
            assert_eq!(over, expected, "seed {seed}, step {step}");
            flows.retain(|flow| flow.over(now).is_none());
            gone.extend(over.iter().map(|(number, _)| *number));
            let key = random.u64(0..40);
            let known = flows.iter().position(|flow| flow.pair == pair(key));
            assert_eq!(table.find(&pair(key)), known.map(|at| flows[at].number), "seed {seed}, step {step}");
            let lasts =
                Lasts { silent: seconds(random.u64(1..30)), total: random.bool().then(|| seconds(random.u64(1..60))) };
            match (known, random.u8(0..10)) {
                (None, _) => {
                    let number = table.add(pair(key), now, lasts, step);
                    assert!(!gone.contains(&number), "no number is given twice");
                    let flow = Simple { number, pair: pair(key), began: now, last: now, lasts, answered: false };
                    flows.push(flow);
                }
                (Some(at), 0) => {
                    let flow = flows.remove(at);
                    let (pair, last, _) = table.remove(flow.number).expect("a flow");
                    assert_eq!((pair, last), (flow.pair, flow.last));
                    gone.push(flow.number);
                }
                (Some(at), 1) => {
                    table.set_lasts(flows[at].number, lasts);
                    flows[at].lasts = lasts;
                }
                (Some(at), 2 | 3) => {
                    table.answered(flows[at].number);
                    flows[at].answered = true;
                }
                (Some(at), _) => {
                    table.touch(flows[at].number, now);
                    flows[at].last = now;
                }
            }
            assert_eq!(table.len(), flows.len());
            let oldest = flows.iter().find(|flow| !flow.answered).map(|flow| flow.number);
            assert_eq!(table.unanswered(), oldest, "seed {seed}, step {step}");
            // Nobody is looked at too late.
            let first = flows.iter().map(|flow| {
                let silent = flow.last + flow.lasts.silent;
                flow.lasts.total.map_or(silent, |total| silent.min(flow.began + total))
            });
            assert!(first.min().is_none_or(|first| table.next_visit().is_some_and(|visit| visit <= first)));
            for number in gone.iter().rev().take(5) {
                assert!(table.get(*number).is_none() && table.pair(*number).is_none());
            }
        }
    }
}

#[test]
fn who_speaks_goes_on_and_is_shown() {
    let (mut table, now) = (Table::new(), Instant::now());
    let number = table.add(pair(1), now, MINUTE, ());
    table.touch(number, now + seconds(59));
    let mut shown = 0;
    assert_eq!(table.over(now + seconds(60), |()| shown += 1), None);
    assert_eq!((shown, table.over(now + seconds(119), |()| shown += 1)), (1, Some((number, Over::Silent))));
}

#[test]
fn in_a_hurry_silence_is_short() {
    let (mut table, now) = (Table::new(), Instant::now());
    let number = table.add(pair(1), now, MINUTE, ());
    table.hurry(seconds(1));
    let later = table.add(pair(2), now + seconds(1), MINUTE, ());
    assert_eq!(table.over(now + seconds(1), |()| {}), Some((number, Over::Silent)));
    table.remove(number);
    assert_eq!(table.over(now + seconds(1), |()| {}), None);
    assert_eq!(table.over(now + seconds(2), |()| {}), Some((later, Over::Silent)));
}

#[test]
fn a_number_survives_as_a_word() {
    let (mut table, now) = (Table::new(), Instant::now());
    let first = table.add(pair(1), now, MINUTE, ());
    table.remove(first);
    let second = table.add(pair(1), now, MINUTE, ());
    assert!(first != second && Number::unpack(second.pack()) == second && Number::unpack(first.pack()) == first);
}

/// What is not limited by the configuration is limited by no arithmetic either.
#[test]
fn for_ever_is_long() {
    let (mut table, now) = (Table::new(), Instant::now());
    table.add(pair(1), now, Lasts { silent: Duration::MAX, total: Some(Duration::MAX) }, ());
    assert_eq!(table.over(now + seconds(3600), |()| {}), None);
}
