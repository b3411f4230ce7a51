//! The subscriber's end of the topic, `notifier_common::subscribe`: what SNS sends is believed in
//! every form, everything else is refused with its reason, and what was published is what is read.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod certificates;
mod filters;
mod forgeries;
mod genuine;
mod round_trip;
mod support;
