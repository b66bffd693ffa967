//! Bodies, trailers and tunnels: bytes from one side to the other, at the pace of the slower.

mod copied;
mod gather;
mod pump;
mod toll;
mod transform;
mod tunnel;

pub use gather::Coalesce;
pub(crate) use pump::{PIECE, Pump, Stop};
pub(crate) use toll::{Toll, Tolls};
pub use transform::Recipe;
pub(crate) use transform::{Encoders, Text, Transform, UnderWay};
pub(crate) use tunnel::{Sides, TunnelLimits, Ways};
