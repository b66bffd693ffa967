//! Bodies, trailers and tunnels: bytes from one side to the other, at the pace of the slower.

mod pump;
mod tunnel;

pub(crate) use pump::{Pump, Stop};
pub(crate) use tunnel::tunnel;
