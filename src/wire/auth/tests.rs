//! SCRAM against the client half of `postgres-protocol`, the one that tokio-postgres uses.

use hmac::{Hmac, Mac};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use sha2::{Digest, Sha256};

use super::*;

/// The text PostgreSQL would store for `password`.
pub(crate) fn verifier(password: &str) -> String {
    let (salt, iterations) = (b"0123456789abcdef", 4096);
    let mut salted = [0u8; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut salted);
    let keyed = |text: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&salted).unwrap();
        mac.update(text);
        mac.finalize().into_bytes()
    };
    let (stored, server) = (Sha256::digest(keyed(b"Client Key")), keyed(b"Server Key"));
    let [salt, stored, server] = [&salt[..], &stored[..], &server[..]].map(|part| STANDARD.encode(part));
    format!("SCRAM-SHA-256${iterations}:{salt}${stored}:{server}")
}

fn exchange(mechanisms: &Mechanisms, mechanism: &str, mut client: ScramSha256, stored: &str) -> Result<()> {
    let (server_first, exchange) = mechanisms.begin(stored, mechanism, client.message())?;
    client.update(server_first.as_bytes()).unwrap();
    let server_final = exchange.finish("ann", client.message())?;
    client.finish(server_final.as_bytes()).expect("the server proved itself");
    Ok(())
}

#[test]
fn the_right_password_logs_in_and_any_other_does_not() {
    let stored = verifier("secret");
    for (password, expect) in [("secret", None), ("Secret", Some("28P01")), ("", Some("28P01"))] {
        let client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let outcome = exchange(&Mechanisms::plain(), SCRAM, client, &stored);
        assert_eq!(outcome.err().map(|e| e.kind().sqlstate()), expect, "{password:?}");
    }
}

#[test]
fn channel_binding_is_offered_with_a_certificate_and_holds_it_to_the_client() {
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap().cert;
    let bound = Mechanisms::bound_to(certificate.pem().as_bytes());
    assert_eq!(bound.names(), [SCRAM_PLUS, SCRAM]);
    assert_eq!(Mechanisms::plain().names(), [SCRAM]);

    let end_point = Sha256::digest(certificate.der()).to_vec();
    let stored = verifier("secret");
    let client = |binding| ScramSha256::new(b"secret", binding);
    exchange(&bound, SCRAM_PLUS, client(ChannelBinding::tls_server_end_point(end_point.clone())), &stored).unwrap();
    exchange(&bound, SCRAM, client(ChannelBinding::unsupported()), &stored).unwrap();

    let other = vec![7; end_point.len()];
    for (mechanism, binding, why) in [
        (SCRAM_PLUS, ChannelBinding::tls_server_end_point(other), "another certificate: somebody stands between"),
        (SCRAM, ChannelBinding::unrequested(), "the client thinks we cannot bind: somebody took the offer away"),
        (SCRAM, ChannelBinding::tls_server_end_point(end_point), "flag and mechanism contradict"),
        (SCRAM_PLUS, ChannelBinding::unsupported(), "flag and mechanism contradict"),
    ] {
        let error = exchange(&bound, mechanism, client(binding), &stored).expect_err(why);
        assert_eq!((error.kind(), error.message()), (Kind::Protocol, "malformed SCRAM message"), "{why}");
    }
}

#[test]
fn broken_messages_are_refused_without_a_panic() {
    let stored = verifier("secret");
    let firsts: [&[u8]; 8] = [b"", b"n", b"n,,", b"n,,n=", b"n,,n=,r", b"p=x,,n=,r=a", b"\xff\xfe", b"n,a=b,n=,r=a"];
    for first in firsts {
        let error = Mechanisms::plain().begin(&stored, SCRAM, first).expect_err("broken");
        assert_eq!(error.message(), "malformed SCRAM message", "{first:?}");
    }
    assert!(Mechanisms::plain().begin(&stored, SCRAM_PLUS, b"p=tls-server-end-point,,n=,r=a").is_err());
    assert!(Mechanisms::plain().begin(&stored, "MD5", b"n,,n=,r=a").is_err());
    let finals: [&[u8]; 6] = [b"", b",p=", b"c=biws,r=x,p=AAAA", b"c=,p=", b"\xff", b"r=x,c=y,p=z"];
    for last in finals {
        let (_, exchange) = Mechanisms::plain().begin(&stored, SCRAM, b"n,,n=,r=a").unwrap();
        assert_eq!(exchange.finish("ann", last).unwrap_err().message(), "malformed SCRAM message", "{last:?}");
    }
}

#[test]
fn a_broken_verifier_is_our_fault_and_is_not_repeated() {
    for text in
        ["", "md5abc", "SCRAM-SHA-256$x:AA==$AA==:AA==", "SCRAM-SHA-256$4096:AA==$AA==", "SCRAM-SHA-256$1:!$!:!"]
    {
        let error = Mechanisms::plain().begin(text, SCRAM, b"n,,n=,r=a").expect_err("broken");
        assert_eq!(error.kind(), Kind::Internal);
        assert!(text.is_empty() || !format!("{error:?}").contains(text));
    }
}
