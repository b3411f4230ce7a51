//! SNS as an HTTPS subscriber meets it: signed messages under certificates of our own, delivered
//! again after 5xx, and the two web servers that a subscriber has to ask (SNS's, for certificates
//! and confirmations, and that of Amazon's certificates, for their issuer).
//!
//! moto delivers over HTTP without confirmation, attributes, headers or a right signature, so what
//! it delivers to a queue is taken there and delivered anew ([`Subscription::follow`]). What SNS
//! does is taken from its developer guide: "HTTP/HTTPS notification", "Verifying the signatures of
//! Amazon SNS messages", "Message delivery retries".

mod certificates;
mod delivery;
mod documents;
mod internet;
mod queue;
mod sign;
mod subscription;
#[cfg(test)]
mod tests;

pub use certificates::{
    ELSEWHERE_URL, ISSUER_URL, Leaf, Pki, ServerCertificate, SigningCertificate,
};
pub use delivery::{Attempt, Retries, SubscriptionOptions};
pub use documents::{Published, Topic};
pub use internet::{Asked, Fault, Internet};
pub use sign::{SignatureVersion, sign, signed_text};
pub use subscription::{Sns, Subscription};
