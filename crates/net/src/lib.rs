//! Sockets, accept, dial, DNS and splice.
