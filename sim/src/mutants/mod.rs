//! Planted bugs: mistakes in the code under test that are made on request, and that a sweep has to find.

pub mod asks;
pub mod figures;
pub mod forward;
pub mod groups;
pub mod hunt;
pub mod mux;
pub mod outside;
pub mod table;
pub mod tunnel;
pub mod web;
