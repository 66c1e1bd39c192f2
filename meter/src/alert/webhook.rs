//! A webhook of one's own: the message as JSON, signed.

use flopsmeter_core::ledger::Digest;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::NotDelivered;
use super::http::Endpoint;
use super::message::Message;
use crate::clock;

/// Header of the signature: `t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA256 of `SECONDS.BODY` under the secret and SECONDS are
/// those since 1970. The receiver compares both, so that neither the body nor an old request can be passed off as a new one.
pub const SIGNATURE_HEADER: &str = "Flopsmeter-Signature";

/// Header of the message's id, the same at every attempt.
const ID_HEADER: &str = "Flopsmeter-Alert-Id";

pub(super) fn deliver(endpoint: &Endpoint, secret: Option<&str>, message: &Message) -> Result<(), NotDelivered> {
    let mut headers = vec![(ID_HEADER, message.id.clone())];
    if let Some(secret) = secret {
        headers.push((SIGNATURE_HEADER, signature(secret, clock::now().timestamp(), &message.json)?));
    }
    endpoint.post(&message.json, &headers)
}

fn signature(secret: &str, seconds: i64, body: &str) -> Result<String, NotDelivered> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mut mac = mac.map_err(|problem| NotDelivered::for_good(problem.to_string()))?;
    mac.update(format!("{seconds}.{body}").as_bytes());
    let code = Digest(mac.finalize().into_bytes().into());
    Ok(format!("t={seconds},v1={code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_hmac_of_time_and_body() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac key
        let expected = "t=1700000000,v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae";
        assert_eq!(signature("key", 1_700_000_000, "{}").unwrap(), expected);
        assert_ne!(signature("key", 1_700_000_001, "{}").unwrap(), expected);
    }
}
