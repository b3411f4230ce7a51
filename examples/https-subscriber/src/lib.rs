//! A service that subscribes to the findings topic over HTTPS: it verifies what SNS posts, reads
//! the finding, keeps each object's last status in SQLite, and tells it.
//!
//! ```text
//! POST / ─► Delivery ─► Verifier ─► Notification ─► finding ─► store ─► 200
//!           (parsed)    (believed)  (signed body)              (apply, one transaction)
//! ```
//!
//! SNS takes 200 to 499 as the end of a delivery and comes again after 5xx (SNS developer guide,
//! "Message delivery retries"). So 503 is answered where another try can end otherwise, and only
//! there.

pub mod app;
pub mod config;
pub mod outbound;
pub mod server;
pub mod store;
