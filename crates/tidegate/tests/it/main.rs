//! Tests of the real program: it is started as an operator starts it, between scripted clients and servers.

mod support;
mod tcp;

mod admin;
mod attacks;
mod attempts;
mod balance;
mod canary;
mod cli;
mod clients;
mod compress;
mod config;
mod discovery;
mod drain;
mod examples;
mod failures;
mod fields;
mod grpc;
mod h2;
mod h2_servers;
mod h3;
mod h3_servers;
mod health;
mod http1;
mod keys;
mod limits;
mod mirror;
mod pools;
mod proxy_protocol;
mod reload;
mod responses;
mod routes;
mod sticky;
mod tiers;
mod tls;
mod warm;
