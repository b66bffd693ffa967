//! How clients of QUIC that come from another address are known again.

/// How servers are found by the ids of QUIC, where a client's address does not lead to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quic {
    /// By ids that servers were seen to choose.
    Learned {
        /// How many are remembered, in the process.
        most: usize,
    },
    /// By what servers write into them.
    Encoded {
        /// Where in an id it stands.
        offset: usize,
        /// How long it is.
        length: usize,
    },
}
