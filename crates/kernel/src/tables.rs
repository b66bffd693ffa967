//! The tables with their types, opened below the pins or made there.

use std::fs;
use std::path::{Path, PathBuf};

use aya::maps::{Array, HashMap, HashOfMaps, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::{Ebpf, EbpfLoader};

use crate::Refusal;
use crate::layout::{
    AddressKey, BackendValue, Ports, ServiceKey, ServiceValue, StrayKey, TrafficValue, backend, read_traffic,
};
use crate::resize;
use crate::slots::Owner;
use crate::survey::{self, Flows};

/// One service's own table: everything about it, in its only entry.
type ServiceTable = Array<MapData, ServiceValue>;

/// All tables.
pub(crate) struct Tables {
    pub(crate) flows: Flows,
    former: HashOfMaps<MapData, u32, Flows>,
    services: HashOfMaps<MapData, ServiceKey, ServiceTable>,
    backends: Array<MapData, BackendValue>,
    pub(crate) strays: HashMap<MapData, StrayKey, Ports>,
    pub(crate) vips: HashMap<MapData, AddressKey, u32>,
    traffic: PerCpuArray<MapData, TrafficValue>,
    drops: PerCpuArray<MapData, u64>,
}

/// Where the former table of connections is, if there is one.
const ONLY: u32 = 0;

/// The names of all tables that outlive the process, in the program and as pins.
const NAMES: [&str; 8] = ["flows", "fragments", "services", "backends", "strays", "vips", "traffic", "drops"];

/// Where a table of connections is pinned that takes the place of one of another size.
pub(crate) fn next_flows(folder: &Path) -> PathBuf {
    folder.join("flows_next")
}

/// Loads the program, with the tables that are pinned in this folder or else with new ones that are pinned there. A table of connections
/// of another size is answered, too: a new one is pinned beside it.
pub(crate) fn load(folder: &Path, entries: u32) -> Result<(Ebpf, Tables, Option<Flows>), Refusal> {
    let mut loader = EbpfLoader::new();
    loader.map_max_entries("flows", entries);
    for name in NAMES {
        loader.map_pin_path(name, folder.join(name));
    }
    let before = table_to_replace(folder, entries as usize)?;
    if before.is_some() {
        loader.map_pin_path("flows", next_flows(folder));
    }
    let taken = loader.load(OBJECT).map_err(|error| {
        let connections = entries / 2;
        Refusal::of(format!("take the tables (`nat.connections` is {connections})"), &error)
    });
    let mut ebpf = taken?;
    let tables = Tables::take(&mut ebpf).map_err(|error| Refusal::of("open the tables", &error))?;
    Ok((ebpf, tables, before))
}

/// The table of connections that is pinned, if it has another size. Where an earlier process has not come to the end of putting one into its
/// place, packets may go by either: one of the size that is wanted is used further, and what is in another comes into the first one.
fn table_to_replace(folder: &Path, size: usize) -> Result<Option<Flows>, Refusal> {
    let (pin, next) = (folder.join("flows"), next_flows(folder));
    if !pin.exists() {
        let _ = fs::remove_file(next);
        return Ok(None);
    }
    let mut there = survey::open(&pin)?;
    let stays = survey::size_of(&there)? == size;
    if next.exists() {
        let left = survey::open(&next)?;
        if stays || survey::size_of(&left)? != size {
            resize::copy(&left, &mut there)?;
            fs::remove_file(&next).map_err(|error| Refusal::of("give up the table that was begun", &error))?;
        }
    }
    Ok(if stays { None } else { Some(there) })
}

/// What `bpf/build` makes of the sources beside it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../bpf/nat.o"));

impl Tables {
    fn take(ebpf: &mut Ebpf) -> Result<Tables, MapError> {
        let mut take = |name: &str| -> Result<Map, MapError> {
            ebpf.take_map(name).ok_or_else(|| MapError::InvalidName { name: name.to_owned() })
        };
        Ok(Tables {
            flows: take("flows")?.try_into()?,
            former: take("former")?.try_into()?,
            services: take("services")?.try_into()?,
            backends: take("backends")?.try_into()?,
            strays: take("strays")?.try_into()?,
            vips: take("vips")?.try_into()?,
            traffic: take("traffic")?.try_into()?,
            drops: take("drops")?.try_into()?,
        })
    }

    /// What the program does not find among connections it looks for in this table, too.
    pub(crate) fn look_in(&mut self, former: &Flows) -> Result<(), Refusal> {
        let put = self.former.insert(ONLY, former, 0);
        put.map_err(|error| Refusal::of("name the table that was there before", &error))
    }

    /// All that was in the former table is here.
    pub(crate) fn forget_former(&mut self) -> Result<(), Refusal> {
        let removed = absent_is_fine(self.former.remove(&ONLY));
        removed.map_err(|error| Refusal::of("give up the table that was there before", &error))
    }

    /// Puts a service in force in place of what it was, whole.
    pub(crate) fn put_service(&mut self, key: &ServiceKey, value: &ServiceValue) -> Result<(), Refusal> {
        let table = ServiceTable::create(1, 0);
        let put = table.and_then(|mut table| {
            table.set(0, value, 0)?;
            self.services.insert(key, &table, 0)
        });
        put.map_err(|error| Refusal::of("take a service", &error))
    }

    pub(crate) fn remove_service(&mut self, key: &ServiceKey) -> Result<(), Refusal> {
        absent_is_fine(self.services.remove(key)).map_err(|error| Refusal::of("remove a service", &error))
    }

    /// The services that are in force.
    pub(crate) fn services(&self) -> Vec<ServiceKey> {
        self.services.keys().filter_map(Result::ok).collect()
    }

    /// All numbers in their order, nobody's too.
    pub(crate) fn backends(&self) -> Result<Vec<BackendValue>, Refusal> {
        self.backends.iter().collect::<Result<_, _>>().map_err(|error| Refusal::of("read the servers", &error))
    }

    /// A server has this number, and takes new connections or only keeps what it has.
    pub(crate) fn put_backend(&mut self, number: u32, owner: &Owner, takes_new: bool) -> Result<(), Refusal> {
        let written = self.backends.set(number, backend(&owner.0, owner.1, takes_new), 0);
        written.map_err(|error| Refusal::of("take a server", &error))
    }

    /// Nobody has this number, and nothing is counted for it.
    pub(crate) fn clear_backend(&mut self, number: u32) -> Result<(), Refusal> {
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| Refusal::of("say how many CPUs there are", &error))?;
        let zeros =
            PerCpuValues::try_from(vec![[0; 40]; cpus]).map_err(|error| Refusal::of("take counters", &error))?;
        let written = self.traffic.set(number, zeros, 0).and_then(|()| self.backends.set(number, [0; 40], 0));
        written.map_err(|error| Refusal::of("forget a server", &error))
    }

    /// What was counted for a number, over all CPUs.
    pub(crate) fn traffic(&self, number: u32) -> Result<[u64; 5], Refusal> {
        let values = self.traffic.get(&number, 0).map_err(|error| Refusal::of("read a server's counters", &error))?;
        Ok(values.iter().map(read_traffic).fold([0; 5], |sums, more| std::array::from_fn(|at| sums[at] + more[at])))
    }

    /// How many packets were dropped for a reason, by its number.
    pub(crate) fn dropped(&self, reason: u32) -> Result<u64, Refusal> {
        let values = self.drops.get(&reason, 0).map_err(|error| Refusal::of("read the counters of drops", &error))?;
        Ok(values.iter().sum())
    }
}

/// Somebody may have removed it before: the program, or the kernel to make room.
pub(crate) fn absent_is_fine(removed: Result<(), MapError>) -> Result<(), MapError> {
    match removed {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
