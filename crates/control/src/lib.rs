//! Spec to Snapshot, swap, discovery, admin.
