//! The program in the kernel, between machines that are namespaces, and on single packets. All of it needs root, and says so where
//! it is left out.

mod craft;
mod errors;
mod life;
mod modes;
mod packets;
mod resize;
mod room;
mod speech;
mod table;
mod too_big;
mod world;
