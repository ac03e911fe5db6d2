//! Marks: what has to happen now and then in a sweep, or its silence proves nothing.

pub mod marks;
