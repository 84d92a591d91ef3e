//! The client's half of SCRAM (RFC 5802) as Kafka speaks it: SHA-256 and SHA-512, no channel binding. It sends nothing; the
//! connection carries its messages.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// More rounds than any server asks for: a hostile one must not keep a core busy.
const ROUNDS_MAX: u32 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

/// A conversation that was begun.
pub(super) struct Scram<'a> {
    hash: Hash,
    password: &'a str,
    nonce: String,
    first: String,
}

/// What the server must prove at the end.
pub(super) struct Proof(String);

impl Hash {
    fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha256 => Sha256::digest(bytes).to_vec(),
            Hash::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn mac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        fn run<M: Mac>(mut mac: M, parts: &[&[u8]]) -> Vec<u8> {
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().to_vec()
        }
        const ANY: &str = "HMAC takes keys of any length";
        match self {
            Hash::Sha256 => run(<Hmac<Sha256> as Mac>::new_from_slice(key).expect(ANY), parts),
            Hash::Sha512 => run(<Hmac<Sha512> as Mac>::new_from_slice(key).expect(ANY), parts),
        }
    }

    /// `Hi` of the RFC: PBKDF2 with one block.
    fn salted(self, password: &str, salt: &[u8], rounds: u32) -> Vec<u8> {
        let mut last = self.mac(password.as_bytes(), &[salt, &1u32.to_be_bytes()]);
        let mut sum = last.clone();
        for _ in 1..rounds {
            last = self.mac(password.as_bytes(), &[&last]);
            sum.iter_mut().zip(&last).for_each(|(sum, byte)| *sum ^= byte);
        }
        sum
    }
}

impl<'a> Scram<'a> {
    /// The conversation and its first message. `nonce` is printable and without a comma.
    pub(super) fn begin(hash: Hash, user: &str, password: &'a str, nonce: String) -> (Self, String) {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let first = format!("n={user},r={nonce}");
        let message = format!("n,,{first}");
        (Self { hash, password, nonce, first }, message)
    }

    /// Answers the server's first message. In words where it is not one, or not an answer to ours.
    pub(super) fn answer(self, server: &str) -> Result<(String, Proof), &'static str> {
        let field = |name: &str| server.split(',').find_map(|part| part.strip_prefix(name));
        let (nonce, salt, rounds) = (field("r="), field("s="), field("i="));
        let (Some(nonce), Some(salt), Some(rounds)) = (nonce, salt, rounds) else { return Err("no SCRAM message") };
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("a SCRAM nonce that is not an answer to ours");
        }
        let salt = BASE64_STANDARD.decode(salt).map_err(|_| "a SCRAM salt that is not base64")?;
        let rounds = rounds.parse::<u32>().ok().filter(|n| (1..=ROUNDS_MAX).contains(n));
        let rounds = rounds.ok_or("a count of SCRAM rounds out of range")?;
        let last = format!("c=biws,r={nonce}");
        let signed = format!("{},{server},{last}", self.first);
        let salted = self.hash.salted(self.password, &salt, rounds);
        let key = self.hash.mac(&salted, &[b"Client Key"]);
        let signature = self.hash.mac(&self.hash.of(&key), &[signed.as_bytes()]);
        let proof: Vec<u8> = key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let server_key = self.hash.mac(&salted, &[b"Server Key"]);
        let expected = BASE64_STANDARD.encode(self.hash.mac(&server_key, &[signed.as_bytes()]));
        Ok((format!("{last},p={}", BASE64_STANDARD.encode(proof)), Proof(expected)))
    }
}

impl Proof {
    /// Whether the server's last message shows that it knows the password too.
    pub(super) fn holds(&self, server: &str) -> bool {
        let given = server.split(',').find_map(|part| part.strip_prefix("v=")).unwrap_or_default();
        given.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677; the same with SHA-512, computed apart.
    #[test]
    fn the_example_of_the_rfc_is_answered_as_there() {
        let (nonce, salt) = ("rOprNGfwEbeRWgbNEkqO", "W22ZaJ0SNY7soEsUEjb6gQ==");
        let server = format!("r={nonce}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s={salt},i=4096");
        for (hash, proof, signature) in [
            (
                Hash::Sha256,
                "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
            (
                Hash::Sha512,
                "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
                "ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==",
            ),
        ] {
            let (scram, first) = Scram::begin(hash, "user", "pencil", nonce.into());
            assert_eq!(first, format!("n,,n=user,r={nonce}"));
            let (last, expected) = scram.answer(&server).unwrap();
            assert_eq!(last, format!("c=biws,r={nonce}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p={proof}"));
            assert!(expected.holds(&format!("v={signature}")));
            assert!(!expected.holds("v=") && !expected.holds("e=other-error"));
        }
    }

    #[test]
    fn a_server_that_does_not_answer_us_is_refused() {
        for server in [
            "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=ours,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=ours1,s=?,i=4096",
            "r=ours1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4000000000",
            "e=unknown-user",
            "",
        ] {
            let (scram, _) = Scram::begin(Hash::Sha256, "u,=", "p", "ours".into());
            assert!(scram.answer(server).is_err(), "{server}");
        }
    }
}
