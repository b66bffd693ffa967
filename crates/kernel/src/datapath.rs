//! The datapath: opened or adopted, told what is to be in force, looked through, counted, released.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aya::Ebpf;
use aya::programs::{ProgramError, SchedClassifier};

use crate::counters::{Counters, Dropped, ServerCounters, ServiceCounters, Traffic};
use crate::layout::{self, Ports, Range, ServiceKey, StrayKey, StrayServer};
use crate::lists::Lists;
use crate::needs::{self, Hook};
use crate::resize::{self, Copied};
use crate::service::{self, Server, Service};
use crate::slots::{Owner, Slots};
use crate::survey::{self, Survey};
use crate::tables::{self, Tables};
use crate::{Refusal, hooks, left};

/// The program in the kernel with its tables. To drop it changes nothing for packets: they go on by the tables as they are, and
/// a later process opens the same.
pub struct Datapath {
    folder: PathBuf,
    interfaces: Vec<Box<str>>,
    /// The number that each of them had when the program was put there.
    numbers: Vec<Option<u32>>,
    hook: Hook,
    /// Whether this process has begun it, and the interfaces at which it has.
    is_new: bool,
    added: Vec<Box<str>>,
    /// Whether what is no longer named was taken away.
    is_settled: bool,
    /// Loaded, for those who want to try it out; interfaces hold it by themselves.
    pub(crate) ebpf: Ebpf,
    tables: Tables,
    entries: u32,
    slots: Slots,
    ports: Range,
    applied: Vec<Service>,
    /// When, by the monotonic clock.
    applied_at: Duration,
    /// What is in force of each service, and a hash of all that the kernel has of it.
    in_force: HashMap<ServiceKey, (Service, u64)>,
    /// Servers of services that were to be put in force since that last succeeded: the tables may name them.
    tried: HashSet<Owner>,
    /// Pairs of server and source whose strays are dropped, with the ports that the table has for them.
    strays: HashMap<StrayKey, Ports>,
    survey: Survey,
    copied: Option<Copied>,
}

impl Datapath {
    /// The size of the table of connections when nothing else is said: a connection takes two entries, under direct return
    /// one.
    pub const ENTRIES: u32 = 262_144;

    /// Loads, attaches to `interfaces` and pins below `pins`, a folder of a BPF file system; or adopts what is pinned there
    /// from an earlier process of the same layout, and replaces its program in one step, so that packets flow throughout. Whoever
    /// calls has the pins by a [`Claim`](crate::Claim), or is alone with them.
    /// `entries` is the size of the table of connections: one that has another is replaced, and what is in it is copied. Nothing is taken away before something is in force:
    /// interfaces that an earlier process has named keep the program, and so does another layout.
    pub fn open(pins: &Path, interfaces: &[Box<str>], entries: u32) -> Result<Datapath, Refusal> {
        let hook = needs::judge(pins, interfaces)?;
        Datapath::open_at(hook, pins, interfaces, entries)
    }

    fn open_at(hook: Hook, pins: &Path, interfaces: &[Box<str>], entries: u32) -> Result<Datapath, Refusal> {
        let folder = pins.join(layout::VERSION);
        let is_new = !folder.exists();
        let made = fs::create_dir_all(&folder);
        made.map_err(|error| Refusal::of(format!("make the folder `{}`", folder.display()), &error))?;
        let mut opened = Datapath::open_in(hook, folder.clone(), interfaces, entries);
        match &mut opened {
            Ok(datapath) => datapath.is_new = is_new,
            // Nothing was here before, so nothing half made stays.
            Err(_) if is_new => _ = left::remove(&folder, hook == Hook::Clsact),
            Err(_) => {}
        }
        opened
    }

    fn open_in(hook: Hook, folder: PathBuf, interfaces: &[Box<str>], entries: u32) -> Result<Datapath, Refusal> {
        let (mut ebpf, tables, before) = tables::load(&folder, entries.max(1))?;
        load(program(&mut ebpf)?)?;
        let slots = Slots::read(tables.backends()?.into_iter());
        let survey = Survey::new(&folder.join("flows"));
        let mut datapath = Datapath {
            folder,
            interfaces: interfaces.to_vec(),
            numbers: needs::numbers(interfaces),
            hook,
            is_new: false,
            added: Vec::new(),
            is_settled: false,
            ebpf,
            entries: survey::size_of(&tables.flows)? as u32,
            tables,
            slots,
            ports: needs::free_ports(),
            applied: Vec::new(),
            applied_at: survey::now(),
            in_force: HashMap::new(),
            tried: HashSet::new(),
            strays: HashMap::new(),
            survey,
            copied: None,
        };
        datapath.adopt_strays()?;
        // Before the program, so that it finds them.
        if let Some(before) = &before {
            datapath.copied = Some(resize::copy(before, &mut datapath.tables.flows)?);
            datapath.tables.look_in(before)?;
        }
        let program = program(&mut datapath.ebpf)?;
        datapath.added = hooks::put(program, hook, &datapath.folder, interfaces)?;
        if let Some(before) = &before {
            resize::take_its_place(&datapath.folder)?;
            // Those that were opened meanwhile, as far as no packet of theirs has asked for them.
            resize::copy(before, &mut datapath.tables.flows)?;
            datapath.tables.forget_former()?;
        }
        Ok(datapath)
    }

    /// Gives up what was opened and will not be used: all that it has added goes, and what was there before stays.
    pub fn withdraw(self) -> Result<(), Refusal> {
        if self.is_new {
            return self.release();
        }
        hooks::take_from(self.hook, &self.folder, &self.added)
    }

    /// Reads the tables anew, after another has changed them: what is applied next is written whole.
    pub fn recollect(&mut self) -> Result<(), Refusal> {
        self.tables.flows = survey::open(&self.folder.join("flows"))?;
        self.entries = survey::size_of(&self.tables.flows)? as u32;
        self.slots = Slots::read(self.tables.backends()?.into_iter());
        self.in_force.clear();
        self.strays.clear();
        self.adopt_strays()
    }

    /// The interfaces that have been removed since the program was put there, and have come back without it; none of them as long
    /// as any is not there.
    pub fn came_back(&self) -> Vec<&str> {
        let numbers = needs::numbers(&self.interfaces);
        let both = self.interfaces.iter().zip(numbers.iter().zip(&self.numbers));
        let changed = both.filter(|(_, (now, before))| now != before).map(|(name, _)| &**name);
        if numbers.contains(&None) { Vec::new() } else { changed.collect() }
    }

    /// Whether packets of a family are forwarded where they arrive; otherwise none can be put in force.
    pub fn judge_forwarding(&self, is_v4: bool) -> Result<(), Refusal> {
        needs::judge_forwarding(&self.interfaces, is_v4)
    }

    /// What was copied, if the table of connections had another size and was made anew.
    pub fn copied(&self) -> Option<Copied> {
        self.copied
    }

    /// How many entries the table of connections has.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// Puts these in force, and no other. A server that is no longer named, whose service is no longer named, or that has
    /// no weight, keeps its connections until they end. Each service changes in one step; after a refusal those before the one
    /// that it names have changed, and the same call may be repeated. What has not changed costs nothing. With the first that is in
    /// force, interfaces that are no longer named and tables of another layout go.
    pub fn apply(&mut self, services: &[Service]) -> Result<(), Refusal> {
        service::judge(services)?;
        for is_v4 in [true, false] {
            if services.iter().any(|service| service.address.is_ipv4() == is_v4) {
                self.judge_forwarding(is_v4)?;
            }
        }
        self.make_room(services)?;
        let (mut vips, mut lists) = (HashSet::new(), Lists::default());
        for service in services {
            vips.insert(layout::address(service.address.ip()));
            if self.in_force.get(&key_of(service)).is_none_or(|(there, _)| there != service) {
                self.put(service, &mut lists)?;
            }
        }
        let named: HashSet<ServiceKey> = services.iter().map(key_of).collect();
        for key in self.tables.services() {
            if !named.contains(&key) {
                self.tables.remove_service(&key)?;
                self.in_force.remove(&key);
            }
        }
        self.put_vips(&vips)?;
        self.applied = services.to_vec();
        self.tried.clear();
        self.applied_at = survey::now();
        self.settle()
    }

    /// Takes away what has been silent for too long, and the numbers of servers that were only kept for it. Returns how many
    /// entries were taken. To be called every second or so: when the table is so full that looking takes long, it happens on a thread of
    /// its own and less often, and a later call tells what came of it.
    pub fn sweep(&mut self) -> Result<u64, Refusal> {
        let Some(taken) = self.survey.look(&mut self.tables.flows)? else { return Ok(0) };
        let named: HashSet<Owner> = owners(&self.applied).chain(self.tried.iter().copied()).collect();
        let idle = |number: u32| self.survey.is_idle(number, self.applied_at);
        let idle: Vec<u32> = self
            .slots
            .iter()
            .filter(|(number, owner)| !named.contains(owner) && idle(*number))
            .map(|(number, _)| number)
            .collect();
        // Before anything was applied, nothing is known of who is named.
        if !self.applied.is_empty() && !idle.is_empty() {
            idle.into_iter().try_for_each(|number| self.forget(number))?;
            self.tidy_strays(&pairs(&self.applied), &named)?;
        }
        Ok(taken)
    }

    /// What has passed so far.
    pub fn counters(&self) -> Result<Counters, Refusal> {
        let named: HashSet<Owner> = owners(&self.applied).collect();
        let mut leaving: HashMap<ServiceKey, Vec<(u32, SocketAddr)>> = HashMap::new();
        for (number, (service, server)) in self.slots.iter().filter(|(_, owner)| !named.contains(owner)) {
            leaving.entry(service).or_default().push((number, server));
        }
        let leaving_of = |service: &Service| leaving.get(&key_of(service)).map_or(&[][..], Vec::as_slice);
        let services = self.applied.iter().map(|service| self.counters_of(service, leaving_of(service)));
        let services = services.collect::<Result<_, _>>()?;
        let drops = Dropped::REASONS.iter().zip(0..);
        let drops = drops.map(|(reason, number)| Ok(Dropped { reason, packets: self.tables.dropped(number)? }));
        let entries = (self.survey.entries(), u64::from(self.entries));
        Ok(Counters { services, drops: drops.collect::<Result<_, Refusal>>()?, entries })
    }

    /// Detaches and removes the pins: nothing is rewritten any more, and connections are forgotten.
    pub fn release(&self) -> Result<(), Refusal> {
        left::remove(&self.folder, self.hook == Hook::Clsact)
    }

    /// What ours has taken the place of goes once it is in force, and not before: packets would reach nobody meanwhile.
    fn settle(&mut self) -> Result<(), Refusal> {
        if !self.is_settled {
            hooks::keep_only(self.hook, &self.folder, &self.interfaces)?;
            remove_other_layouts(self.hook, &self.folder);
            self.is_settled = true;
        }
        Ok(())
    }

    /// Whether ports that connections get at source addresses are those of this host's own connections, too, because the kernel
    /// keeps nearly all for these (`net.ipv4.ip_local_port_range`): the two may meet, and strays pass.
    pub fn shares_ports(&self) -> bool {
        self.ports.is_shared
    }

    /// Numbers for servers that have none, if there are enough, and places for pairs of server and source: those of servers whose
    /// connections have ended may be taken at once. Pairs take theirs before a service is changed.
    fn make_room(&mut self, services: &[Service]) -> Result<(), Refusal> {
        let known: HashSet<Owner> = self.slots.iter().map(|(_, owner)| owner).collect();
        let wanted: HashSet<Owner> = owners(services).collect();
        let (new, left) = (wanted.difference(&known).count(), self.slots.left());
        if new > left {
            return Err(Refusal::TooMany {
                what: "servers, with those that keep connections,",
                count: Service::SERVERS - left + new,
                most: Service::SERVERS,
            });
        }
        let pairs = pairs(services);
        let leaving = self.leaving(&wanted);
        let kept = |key: &&StrayKey| !pairs.contains(*key) && leaving.contains(&layout::server_of(key));
        let kept = self.strays.keys().filter(kept).count();
        if pairs.len() + kept > Service::PAIRS {
            return Err(Refusal::TooMany {
                what: "pairs of server and source, with those that keep connections,",
                count: pairs.len() + kept,
                most: Service::PAIRS,
            });
        }
        self.tried.extend(wanted.iter().copied());
        self.tidy_strays(&pairs, &wanted)?;
        pairs.into_iter().try_for_each(|key| self.put_stray(key))
    }

    fn put(&mut self, service: &Service, lists: &mut Lists) -> Result<(), Refusal> {
        let key = key_of(service);
        let mut slots = Vec::with_capacity(service.servers.len());
        for server in &service.servers {
            let Some(number) = self.slots.of((key, server.address)) else {
                return Err(Refusal::TooMany { what: "servers", count: Service::SERVERS + 1, most: Service::SERVERS });
            };
            self.tables.put_backend(number, &(key, server.address), server.weight > 0)?;
            slots.push(number);
        }
        for (number, owner) in self.slots.iter().filter(|(number, owner)| owner.0 == key && !slots.contains(number)) {
            self.tables.put_backend(number, &owner, false)?;
        }
        let places = lists.places(&service.servers);
        // The same table has the same generation, whichever process made it: connections that were never answered are
        // not moved by a restart.
        let mut value = layout::service(service, self.ports, &places, &slots);
        let hash = base::xxh64::hash(0, value.as_slice());
        if self.in_force.get(&key).is_none_or(|(_, there)| *there != hash) {
            layout::set_generation(&mut value, hash as u32);
            self.tables.put_service(&key, &value)?;
        }
        self.in_force.insert(key, (service.clone(), hash));
        Ok(())
    }

    fn put_stray(&mut self, key: StrayKey) -> Result<(), Refusal> {
        let ports = layout::stray_ports(self.ports);
        if self.strays.get(&key) != Some(&ports) {
            let put = self.tables.strays.insert(key, ports, 0);
            put.map_err(|error| Refusal::of("take a source address", &error))?;
            self.strays.insert(key, ports);
        }
        Ok(())
    }

    /// Those of an earlier process, with the ports that it had.
    fn adopt_strays(&mut self) -> Result<(), Refusal> {
        let read = self.tables.strays.iter().collect::<Result<_, _>>();
        self.strays = read.map_err(|error| Refusal::of("read the source addresses", &error))?;
        Ok(())
    }

    /// Beside the pairs that are wanted, there are those of servers that are no longer named and still have a number: they may have
    /// connections. A source that is no longer named for a server that is has its place no longer: of connections there that are
    /// forgotten, this host answers the server with a reset.
    fn tidy_strays(&mut self, wanted: &HashSet<StrayKey>, named: &HashSet<Owner>) -> Result<(), Refusal> {
        let leaving = self.leaving(named);
        let others: Vec<StrayKey> = self.strays.keys().filter(|key| !wanted.contains(*key)).copied().collect();
        for key in others {
            match leaving.contains(&layout::server_of(&key)) {
                true => self.put_stray(key)?,
                false => self.remove_stray(&key)?,
            }
        }
        Ok(())
    }

    /// Servers that have a number although they are not among these.
    fn leaving(&self, named: &HashSet<Owner>) -> HashSet<StrayServer> {
        let leaving = self.slots.iter().map(|(_, owner)| owner).filter(|owner| !named.contains(owner));
        leaving.map(|(service, server)| layout::stray_server(&service, server)).collect()
    }

    fn remove_stray(&mut self, key: &StrayKey) -> Result<(), Refusal> {
        let removed = tables::absent_is_fine(self.tables.strays.remove(key));
        removed.map_err(|error| Refusal::of("remove a source address", &error))?;
        self.strays.remove(key);
        Ok(())
    }

    fn put_vips(&mut self, vips: &HashSet<layout::AddressKey>) -> Result<(), Refusal> {
        let there: HashSet<layout::AddressKey> = self.tables.vips.keys().filter_map(Result::ok).collect();
        for gone in there.difference(vips) {
            let removed = tables::absent_is_fine(self.tables.vips.remove(gone));
            removed.map_err(|error| Refusal::of("remove an address", &error))?;
        }
        for new in vips.difference(&there) {
            self.tables.vips.insert(new, 1, 0).map_err(|error| Refusal::of("take an address", &error))?;
        }
        Ok(())
    }

    /// A number that no connection has and that no service names.
    fn forget(&mut self, number: u32) -> Result<(), Refusal> {
        // Its service is written anew by whoever names it again: it gets another number then.
        let owner = self.slots.iter().find(|(of, _)| *of == number).map(|(_, owner)| owner);
        if let Some((service, _)) = owner {
            self.in_force.remove(&service);
        }
        self.tables.clear_backend(number)?;
        self.slots.free(number);
        Ok(())
    }

    /// The servers of a service that have a number, and then those that are leaving.
    fn counters_of(&self, service: &Service, leaving: &[(u32, SocketAddr)]) -> Result<ServiceCounters, Refusal> {
        let key = key_of(service);
        let named = service.servers.iter().filter_map(|server| {
            let number = self.slots.number(&(key, server.address))?;
            Some((server.name.clone(), server.address, false, number))
        });
        let leaving = leaving.iter().map(|(number, address)| (address.to_string().into(), *address, true, *number));
        let servers = named.chain(leaving).map(|(name, address, leaving, number)| {
            let [packets_in, bytes_in, packets_out, bytes_out, opened] = self.tables.traffic(number)?;
            let open = self.survey.open(number);
            let traffic = Traffic { packets_in, bytes_in, packets_out, bytes_out, opened, open };
            Ok(ServerCounters { name, address, leaving, traffic })
        });
        Ok(ServiceCounters { name: service.name.clone(), servers: servers.collect::<Result<_, Refusal>>()? })
    }
}

fn key_of(service: &Service) -> ServiceKey {
    layout::service_key(service.address, service.transport)
}

/// All servers, each with its service.
fn owners(services: &[Service]) -> impl Iterator<Item = Owner> + '_ {
    services.iter().flat_map(|service| service.servers.iter().map(|server| (key_of(service), server.address)))
}

/// All pairs of server and source.
fn pairs(services: &[Service]) -> HashSet<StrayKey> {
    let of = |service: &Service, server: &Server| -> Vec<StrayKey> {
        service.sources.iter().map(|source| layout::stray_key(server.address, *source, service.transport)).collect()
    };
    services.iter().flat_map(|service| service.servers.iter().flat_map(|server| of(service, server))).collect()
}

/// The only program of the object.
pub(crate) fn program(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, Refusal> {
    let found = ebpf.program_mut(PROGRAM).map(TryInto::try_into);
    match found {
        Some(Ok(program)) => Ok(program),
        Some(Err(error)) => Err(Refusal::of("take the program", &error)),
        None => Err(Refusal::Kernel { what: "take the program".into(), said: format!("there is none: {PROGRAM}") }),
    }
}

/// The kernel gives up looking through a program when a signal comes meanwhile, and wants to be asked again.
fn load(program: &mut SchedClassifier) -> Result<(), Refusal> {
    for _ in 0..LOADS {
        match program.load() {
            Ok(()) => return Ok(()),
            Err(ProgramError::LoadError { io_error, .. }) if io_error.kind() == io::ErrorKind::WouldBlock => {}
            Err(ProgramError::LoadError { io_error, verifier_log }) => {
                // Of all that it says, the last line before its sums is why.
                let log = verifier_log.to_string();
                let mut lines = log.lines().rev().filter(|line| !line.is_empty() && !line.starts_with("processed "));
                let said = format!("{io_error}: {}", lines.next().unwrap_or("it does not say why"));
                return Err(Refusal::Kernel { what: "take the program".into(), said });
            }
            Err(error) => return Err(Refusal::of("take the program", &error)),
        }
    }
    Err(Refusal::Kernel { what: "take the program".into(), said: "signals came each time".into() })
}

/// More than ever come in a row.
const LOADS: usize = 20;
const PROGRAM: &str = "tidegate_nat";

/// Programs and tables of versions with another layout, which ours has taken the place of: their connections are
/// forgotten, and most of them find the same server again by the table of the service.
fn remove_other_layouts(hook: Hook, folder: &Path) {
    let Some(Ok(entries)) = folder.parent().map(fs::read_dir) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_layout = name.strip_prefix('v').is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        if is_layout && name != layout::VERSION {
            // What stays of it is seen by whoever looks, and tried again at the next start.
            let _ = left::remove(&entry.path(), hook == Hook::Clsact);
        }
    }
}

#[cfg(test)]
mod tests;
