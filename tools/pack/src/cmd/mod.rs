//! One file for each subcommand, and what some of them share.

pub(crate) mod attach;
pub(crate) mod build;
mod checkpoint;
pub(crate) mod collisions;
pub(crate) mod convert;
pub(crate) mod demo;
pub(crate) mod doctor;
#[cfg(feature = "overlay")]
pub(crate) mod edit;
#[cfg(not(feature = "overlay"))]
#[path = "edit_left_out.rs"]
pub(crate) mod edit;
pub(crate) mod freeze;
pub(crate) mod get;
pub(crate) mod inspect;
pub(crate) mod lean;
pub(crate) mod profile;
pub(crate) mod restore;
pub(crate) mod rows;
pub(crate) mod stats;
pub(crate) mod synth;
pub(crate) mod thaw;
mod tokens;
pub(crate) mod verify;
