//! One file for each subcommand.

pub(crate) mod attach;
pub(crate) mod build;
pub(crate) mod demo;
pub(crate) mod get;
pub(crate) mod inspect;
pub(crate) mod lean;
pub(crate) mod profile;
pub(crate) mod restore;
pub(crate) mod rows;
mod stripe;
pub(crate) mod synth;
pub(crate) mod verify;
