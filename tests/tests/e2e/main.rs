//! The packaged function and the built layer, run as Lambda runs them.

mod confinement;
mod layer;
mod lifecycle;
mod package;
mod stalls;
mod support;
mod world;
