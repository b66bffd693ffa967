use super::*;

/// Keys as the kernel gives them out: a number, and a connection of the server that is ten times smaller.
fn walked(keys: &[u16], size: usize) -> Seen {
    let key = |number: u16| -> FlowKey { std::array::from_fn(|at| if at < 2 { number.to_be_bytes()[at] } else { 0 }) };
    let read = |key: &FlowKey| {
        let mut value: FlowValue = [0; 64];
        value[60..62].copy_from_slice(&(u16::from_be_bytes([key[0], key[1]]) / 10).to_ne_bytes());
        Some(Flow::read(key, &value))
    };
    let keys = keys.iter().map(|number| Ok(key(*number)));
    let walked = walk(keys, read, size, Duration::ZERO, None).expect("no refusal");
    walked.expect("it took no time").0
}

fn numbers(seen: &Seen) -> Vec<(u16, u64)> {
    let mut numbers: Vec<_> = seen.numbers.iter().map(|(number, (_, entries))| (*number, *entries)).collect();
    numbers.sort_unstable();
    numbers
}

/// A table of eight. The first one asked is whole; then the entry at hand goes, twice, and the kernel begins anew.
#[test]
fn a_walk_that_begins_anew_counts_anew_and_sees_the_tail() {
    let straight = walked(&[10, 11, 20, 21, 30, 31, 40, 41], 8);
    assert_eq!((straight.is_whole, numbers(&straight)), (true, vec![(1, 2), (2, 2), (3, 2), (4, 2)]));
    let anew = walked(&[10, 11, 20, 21, 30, 10, 11, 20, 21, 10, 11, 20, 21, 31, 40, 41], 8);
    assert_eq!((anew.is_whole, numbers(&anew)), (true, vec![(1, 2), (2, 2), (3, 1), (4, 2)]));
    // What was first has gone, too.
    let headless = walked(&[10, 11, 20, 11, 20, 21, 40], 8);
    assert_eq!((headless.is_whole, numbers(&headless)), (true, vec![(1, 1), (2, 2), (4, 1)]));
    // New before what is met again, and so not counted, but not unused either.
    let new = walked(&[10, 11, 50, 10, 11, 20], 8);
    assert!(new.is_whole && new.used.contains(&5) && !new.numbers.contains_key(&5));
}

#[test]
fn a_walk_that_comes_to_no_end_is_not_whole() {
    let endless: Vec<u16> = [10, 11, 20, 21].into_iter().cycle().take(100).collect();
    assert!(!walked(&endless, 8).is_whole);
    let other: Vec<u16> = (10..50).collect();
    assert!(!walked(&other, 8).is_whole);
    let twice: Vec<u16> = (10..22).collect();
    assert!(!walked(&twice, 8).is_whole);
}

/// Two looks that saw everything, both after it was given up: nothing else tells that a number has no connection.
#[test]
fn a_number_is_idle_when_two_whole_looks_have_not_met_it() {
    let at = |seconds: u64| Duration::from_secs(seconds);
    let seen = |began: u64, is_whole: bool, used: &[u16]| Seen {
        began: at(began),
        is_whole,
        used: used.iter().copied().collect(),
        numbers: used.iter().map(|number| (*number, (1, 2))).collect(),
        ..Seen::default()
    };
    let mut survey = Survey::new(Path::new("/nowhere"));
    let mut then = |look: Seen| {
        survey.note(look);
        (survey.is_idle(7, at(10)), survey.open(7))
    };
    assert_eq!(then(seen(9, true, &[])), (false, 0));
    assert_eq!(then(seen(11, true, &[])), (false, 0));
    assert_eq!(then(seen(12, false, &[])), (false, 0));
    assert_eq!(then(seen(13, true, &[7])), (false, 1));
    assert_eq!(then(seen(14, false, &[])), (false, 1));
    assert_eq!(then(seen(15, true, &[])), (false, 0));
    assert_eq!(then(seen(16, true, &[])), (true, 0));
}
