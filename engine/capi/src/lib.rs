//! The C interface of `engram`: `libengram` and `include/engram.h`.
//!
//! C programs read the header, which is made of the comments and signatures here and says what holds for all of them
//! (threads, `fork`, memory, errors). One file for each type of the interface. In `border.rs` pointers become
//! references and panics end; `call.rs` hands errors out.

#![expect(
    non_camel_case_types,
    reason = "types and constants have the names that C has for them"
)]
#![expect(
    clippy::missing_safety_doc,
    reason = "the documentation of a function is its contract: C has no other"
)]

mod batch;
mod border;
mod call;
mod error;
mod lookup;
mod metrics;
mod row_ids;
mod scheme;
mod sequence;
mod status;
mod store;
mod ticket;
mod value_type;
mod version;
mod window;

pub use batch::*;
pub use error::*;
pub use lookup::*;
pub use metrics::*;
pub use row_ids::*;
pub use scheme::*;
pub use sequence::*;
pub use status::*;
pub use store::*;
pub use ticket::*;
pub use value_type::*;
pub use version::*;
pub use window::*;

#[cfg(test)]
mod tests {
    use super::*;

    fn is_shared<T: Send + Sync>() {}

    fn may_move<T: Send>() {}

    #[test]
    fn threads_may_do_what_the_header_says() {
        is_shared::<engram_store>();
        is_shared::<engram_batch>();
        is_shared::<engram_row_ids>();
        is_shared::<engram_error>();
        may_move::<engram_sequence>();
        may_move::<engram_ticket>();
    }
}
