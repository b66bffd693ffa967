//! Tests of the real program: it is started as an operator starts it, between scripted clients and servers.

mod support;

mod admin;
mod attacks;
mod cli;
mod http1;
mod keys;
mod limits;
mod pools;
mod routes;
