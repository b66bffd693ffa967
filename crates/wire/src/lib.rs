//! Sans-IO protocol knowledge.
