//! One message model over the HTTP versions.
