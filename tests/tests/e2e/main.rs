//! The packaged function and the built layer, run as Lambda runs them.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test itself does")]

mod confinement;
mod deployed;
mod events;
mod generations;
mod layer;
mod lifecycle;
mod package;
mod rails;
mod stalls;
mod subscriber;
mod support;
mod tmp;
mod whole;
mod world;
