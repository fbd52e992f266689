//! Nodes that are killed, stopped, and strangers.
