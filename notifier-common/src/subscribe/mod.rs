//! What a subscriber of the findings topic needs: verify what SNS delivers, read the finding out
//! of it, and apply it in the right order.
//!
//! ```text
//! body ─► Delivery ─► Verifier ─► Incoming ─► Notification ─► ReceivedFinding ─► apply
//!         (parsed)    (believed)              (signed body)   (compared)
//! ```
//!
//! Only HTTP(S) needs the verifier: to SQS and Lambda, IAM decides who may send, and
//! [`Delivery::trust`] goes past it. A queue with raw message delivery brings no envelope:
//! [`ReceivedFinding::read`].
//!
//! Message attributes are not covered by SNS's signature, so nothing here is taken from them;
//! attributes that disagree with the signed body are an error.

mod apply;
mod certificate;
mod delivery;
mod finding;
mod refused;
mod verifier;

pub use apply::{Change, Known, apply};
pub use certificate::{CertificateSource, SourceError, amazon_roots, roots_of_pem};
pub use delivery::{Confirmation, Delivery, Incoming, MAX_BODY, Notification};
pub use finding::{Details, ReadError, ReceivedFinding};
pub use refused::Refused;
pub use verifier::{Policy, SignatureVersions, Verifier};

#[cfg(test)]
mod genuine_tests;
