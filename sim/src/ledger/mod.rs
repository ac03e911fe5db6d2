//! What has to happen now and then in a sweep, or its silence proves nothing: marks in the product, kinds of
//! fault, strangers' deeds.

pub mod marks;
pub mod reach;
