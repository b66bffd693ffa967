//! A conversation between a side of ours and one of the `h2` crate: neither finds fault with the other, and both tell it
//! alike.

use std::collections::BTreeMap;

use tidegate_wire::h2::Role;

use super::ours::Ours;
use super::theirs::Theirs;
use super::{Draw, Message, normal};

/// Bytes as what a client and a server do, ours being one of them, in any order.
pub(crate) fn conversation(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let role = [Role::Server, Role::Client][usize::from(draw.byte() & 1)];
    let theirs = if role == Role::Server { Theirs::client() } else { Theirs::server() };
    let mut talk = Talk {
        role,
        ours: Ours::new(role),
        theirs,
        wires: [Vec::new(), Vec::new()],
        asked: BTreeMap::new(),
        answered: BTreeMap::new(),
        interim: BTreeMap::new(),
        reset: Vec::new(),
    };
    talk.carry(usize::MAX);
    talk.carry(usize::MAX);
    while !draw.is_over() {
        talk.act(&mut draw);
    }
    talk.end();
}

struct Talk {
    role: Role,
    ours: Ours,
    theirs: Theirs,
    /// What is under way to ours, and to theirs.
    wires: [Vec<u8>; 2],
    asked: BTreeMap<u32, Message>,
    answered: BTreeMap<u32, Message>,
    interim: BTreeMap<u32, usize>,
    reset: Vec<u32>,
}

impl Talk {
    fn act(&mut self, draw: &mut Draw<'_>) {
        match draw.byte() % 10 {
            0 | 1 => {
                let message = draw.request();
                let id = match self.role {
                    Role::Server => self.theirs.open(&message),
                    Role::Client => self.ours.open(&message),
                };
                if let Some(id) = id {
                    self.asked.insert(id, message);
                }
            }
            2 | 3 => {
                let (message, interim, which) = (draw.response(), draw.byte().is_multiple_of(4), draw.below(64));
                self.answer(which, message, interim);
            }
            4 => self.carry(draw.below(40_000)),
            5 => self.theirs.settle([0, 1, 1_000, 65_535, 1 << 20][draw.below(5)]),
            6 => self.theirs.target([65_535, 70_000, 1 << 20][draw.below(3)]),
            7 => match draw.byte() % 4 {
                0 => self.ours.connection.ping(),
                1 => self.theirs.reads = !self.theirs.reads,
                2 => self.ours.consume(),
                _ => self.theirs.consume(),
            },
            8 => {
                let (known, which) = (self.known(), draw.below(64));
                if !known.is_empty() && draw.byte() > 200 {
                    let id = known[which % known.len()];
                    self.ours.reset(id);
                    self.reset.push(id);
                }
            }
            _ => self.carry(usize::MAX),
        }
    }

    /// Requests that have reached the server.
    fn known(&self) -> Vec<u32> {
        match self.role {
            Role::Server => self.ours.streams.keys().copied().collect(),
            Role::Client => self.theirs.streams.keys().copied().collect(),
        }
    }

    fn answer(&mut self, which: usize, message: Message, interim: bool) {
        let mut open = self.known();
        open.retain(|id| !self.answered.contains_key(id) && !self.reset.contains(id));
        if open.is_empty() {
            return;
        }
        let id = open[which % open.len()];
        match self.role {
            Role::Server => self.ours.answer(id, &message, interim),
            Role::Client => self.theirs.answer(id, &message, interim),
        }
        self.answered.insert(id, message);
        self.interim.insert(id, usize::from(interim));
    }

    /// Carries at most so many bytes each way.
    fn carry(&mut self, most: usize) {
        self.wires[0].extend(self.theirs.write());
        self.wires[1].extend(self.ours.write());
        let [here, there] = &mut self.wires;
        let to_ours: Vec<u8> = here.drain(..here.len().min(most)).collect();
        let to_theirs: Vec<u8> = there.drain(..there.len().min(most)).collect();
        self.ours.read(&to_ours);
        self.theirs.read(&to_theirs);
        assert_eq!(self.ours.broken, None);
        assert!(self.theirs.broken.is_none(), "{:?}", self.theirs.broken);
    }

    /// Lets everybody finish, and compares.
    fn end(&mut self) {
        self.theirs.reads = true;
        for round in 0..2_000 {
            self.ours.consume();
            self.theirs.consume();
            if round % 8 == 0 {
                self.theirs.settle(65_535);
            }
            self.answer(round, Message { start: "200".into(), ended: true, ..Message::default() }, false);
            self.carry(usize::MAX);
            let quiet = self.wires.iter().all(Vec::is_empty) && !self.ours.connection.has_out();
            let done = self.asked.keys().all(|id| self.reset.contains(id) || self.is_done(*id));
            if quiet && done {
                break;
            }
        }
        for (id, asked) in &self.asked {
            if self.reset.contains(id) {
                continue;
            }
            let (ours, theirs) = (&self.ours.streams[id], &self.theirs.streams[id]);
            assert_eq!(ours.reset, None, "stream {id}");
            assert!(theirs.failed.is_none(), "stream {id}: {:?}", theirs.failed);
            let answered = &self.answered[id];
            let (request, response, interim) = match self.role {
                Role::Server => (&ours.got, &theirs.got, theirs.interim),
                Role::Client => (&theirs.got, &ours.got, ours.interim),
            };
            same(request, asked);
            same(response, answered);
            assert_eq!(interim, self.interim[id]);
        }
        assert_eq!(self.ours.connection.open_streams(), 0);
    }

    fn is_done(&self, id: u32) -> bool {
        let ours = self.ours.streams.get(&id).is_some_and(|stream| stream.got.ended);
        ours && self.theirs.streams.get(&id).is_some_and(|stream| stream.got.ended)
    }
}

/// What was got is what was sent.
fn same(got: &Message, sent: &Message) {
    let mut sent = sent.clone();
    sent.fields = normal(sent.fields);
    assert_eq!(got, &sent);
}
