//! A table of connections of another size: whoever is connected stays so.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use testkit::netns;
use tidegate_kernel::{Datapath, Mode, Refusal};

use crate::speech::{Said, Talk};
use crate::world::{Arms, Family, World, total};

fn open(world: &World, entries: u32) -> Result<Datapath, Refusal> {
    let pins = world.bpffs.path().join("tidegate");
    world.balancer.enter(|| Datapath::open(&pins, &world.interfaces(), entries))
}

/// Says that it is over, whatever happens.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn connections_are_copied_into_a_table_of_another_size() {
    if !netns::possible() {
        return;
    }
    for mode in [Mode::Full, Mode::Dnat] {
        let world = World::new(Family::V4, Arms::Two);
        let services = world.services(mode);
        let mut before = world.with(&services);
        let mut kept: Vec<(Talk, Said)> = (0..40)
            .map(|_| {
                let mut talk = Talk::to(&world.client, world.at());
                let said = talk.ask("who");
                (talk, said)
            })
            .collect();
        assert_eq!((before.entries(), before.copied()), (4096, None));
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let ends = Ends(&over);
            // New ones come all the time.
            let busy = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let mut talk = Talk::to(&world.client, world.at());
                    let first = talk.ask("who");
                    (0..50).for_each(|_| assert_eq!(talk.ask("who"), first));
                }
            });
            // To a table of the same size, too, which is adopted.
            for (entries, is_copied) in [(65_536, true), (65_536, false), (16_384, true)] {
                let mut next = open(&world, entries).unwrap_or_else(|refusal| panic!("{refusal}"));
                world.apply(&mut next, &services);
                assert_eq!(next.entries(), entries);
                assert_eq!(next.copied().is_some(), is_copied);
                assert!(
                    next.copied().is_none_or(|copied| copied.entries >= 80 && copied.left_out == 0),
                    "{:?}",
                    next.copied()
                );
                for (talk, said) in &mut kept {
                    assert_eq!(&talk.ask("who"), said);
                }
                before = next;
            }
            drop(ends);
            busy.join().expect("every connection goes on");
        });
        before.sweep().expect("a look");
        let counters = before.counters().expect("counters");
        assert!(total(&counters).open >= 40, "{counters:?}");
    }
}

/// A process that was killed before its new table had the other's place: packets go by the new one, and the next process finds both.
#[test]
fn what_was_opened_by_a_table_without_its_place_is_not_lost() {
    if !netns::possible() {
        return;
    }
    for entries in [65_536, 4096, 16_384] {
        let world = World::new(Family::V4, Arms::Two);
        let services = world.services(Mode::Dnat);
        let pin = |name: &str| world.bpffs.path().join("tidegate/v1").join(name);
        let _first = world.with(&services);
        let talk = || {
            let mut talk = Talk::to(&world.client, world.at());
            let said = talk.ask("who");
            (talk, said)
        };
        let mut talks: Vec<(Talk, Said)> = (0..5).map(|_| talk()).collect();
        fs::hard_link(pin("flows"), pin("first")).expect("a second pin");
        let mut killed = open(&world, 65_536).unwrap_or_else(|refusal| panic!("{refusal}"));
        world.apply(&mut killed, &services);
        talks.extend((0..10).map(|_| talk()));
        drop(killed);
        fs::rename(pin("flows"), pin("flows_next")).expect("another name");
        fs::rename(pin("first"), pin("flows")).expect("another name");
        let mut next = open(&world, entries).unwrap_or_else(|refusal| panic!("{refusal}"));
        world.apply(&mut next, &services);
        next.sweep().expect("a look");
        let counters = next.counters().expect("counters");
        assert!(total(&counters).open >= 15, "{entries}: {counters:?}");
        assert_eq!((next.entries(), pin("flows_next").exists()), (entries, false));
        for (talk, said) in &mut talks {
            assert_eq!(&talk.ask("who"), said);
        }
    }
}

/// A table that is too small keeps those that have spoken last, and one that the kernel has no memory for changes nothing.
#[test]
fn what_has_no_room_is_said() {
    if !netns::possible() {
        return;
    }
    let world = World::new(Family::V4, Arms::Two);
    let services = world.services(Mode::Full);
    let _before = world.with(&services);
    let mut talks: Vec<Talk> = (0..100).map(|_| Talk::to(&world.client, world.at())).collect();
    talks.iter_mut().for_each(|talk| drop(talk.ask("who")));
    let refused = open(&world, u32::MAX).err().expect("no kernel has so much");
    assert!(refused.to_string().contains("`nat.connections` is 2147483647"), "{refused}");
    talks.iter_mut().for_each(|talk| drop(talk.ask("who")));
    let mut next = open(&world, 64).unwrap_or_else(|refusal| panic!("{refusal}"));
    let copied = next.copied().expect("a copy");
    assert_eq!((copied.entries, copied.left_out), (64, 136));
    world.apply(&mut next, &services);
    // Under full NAT the others find their server and port again, as after a flood.
    talks.iter_mut().rev().take(10).for_each(|talk| drop(talk.ask("who")));
}
