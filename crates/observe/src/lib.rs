//! Metrics and access log.
