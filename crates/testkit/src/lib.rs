//! Scripted clients, servers and clocks for tests.
