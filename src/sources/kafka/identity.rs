//! Which topic a name stands for: the id that brokers since 2.8 give each topic and never give again. librdkafka's Rust
//! binding does not tell it, so it is asked for directly (Metadata, version 10 to 12). It judges nothing.

use std::sync::PoisonError;

use tokio::time::timeout;

use super::connection::{Brokers, Connection, Failed};
use super::frame::{Fields, Frame, Unreadable};
use crate::error::{Kind, Result};

const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;
/// The first whose answer names topics' ids, and the last that is spoken here.
const VERSIONS: (i16, i16) = (10, 12);
const NO_ID: [u8; 16] = [0; 16];
const UNKNOWN_TOPIC: i16 = 3;

/// As a broker tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub cluster_id: Option<String>,
    pub topic_id: Option<String>,
}

/// What a broker answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Topic(Identity),
    NoTopic,
    /// An older broker: its topics have names alone.
    TooOld,
}

/// Of the first broker that answers, each within the time for connecting.
pub(super) async fn ask(brokers: &Brokers, topic: &str) -> Result<Answer> {
    let mut last = None;
    for (host, port) in brokers.addresses() {
        let asked = async {
            let mut connection = brokers.connect(host, *port).await?;
            ask_one(&mut connection, topic).await.map_err(|e| brokers.refused(e))
        };
        match timeout(brokers.patience(), asked).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if error.kind() == Kind::SourceUnreachable => last = Some(error),
            Ok(Err(error)) => return Err(error),
            Err(_) => last = Some(brokers.unreachable("no answer in time")),
        }
    }
    Err(last.unwrap_or_else(|| brokers.unreachable("no broker is named")))
}

/// A connection that lies ready for the next question, and the version that is spoken on it.
pub(super) type Kept = std::sync::Mutex<Option<(Connection, i16)>>;

/// A topic's id, for whoever asks at each statement; `None` where there is none to be had. What the connection says is asked
/// anew each time: a topic may be another one at any moment.
pub(super) async fn id(brokers: &Brokers, kept: &Kept, topic: &str) -> Result<Option<String>> {
    let ready = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((mut connection, version)) = ready {
        // Put back only once it has answered: whoever gives up amid an answer leaves the rest of it there.
        if let Ok(Ok(said)) = timeout(brokers.patience(), metadata(&mut connection, version, topic)).await {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((connection, version));
            return Ok(id_in(said));
        }
    }
    let mut last = None;
    for (host, port) in brokers.addresses() {
        let asked = async {
            let mut connection = brokers.connect(host, *port).await?;
            let refused = |e| brokers.refused(e);
            let spoken = connection.request(API_VERSIONS, 0, false, &[]).await.map_err(refused)?;
            let Some(version) = version(Fields::new(&spoken)).map_err(|e| refused(e.into()))? else { return Ok(None) };
            let said = metadata(&mut connection, version, topic).await.map_err(refused)?;
            Ok(Some((said, connection, version)))
        };
        match timeout(brokers.patience(), asked).await {
            Ok(Ok(None)) => return Ok(None),
            Ok(Ok(Some((said, connection, version)))) => {
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((connection, version));
                return Ok(id_in(said));
            }
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = Some(brokers.unreachable("no answer in time")),
        }
    }
    Err(last.unwrap_or_else(|| brokers.unreachable("no broker is named")))
}

fn id_in(answer: Answer) -> Option<String> {
    match answer {
        Answer::Topic(identity) => identity.topic_id,
        Answer::NoTopic | Answer::TooOld => None,
    }
}

async fn ask_one(connection: &mut Connection, topic: &str) -> Result<Answer, Failed> {
    let spoken = connection.request(API_VERSIONS, 0, false, &[]).await?;
    match version(Fields::new(&spoken))? {
        Some(version) => metadata(connection, version, topic).await,
        None => Ok(Answer::TooOld),
    }
}

async fn metadata(connection: &mut Connection, version: i16, topic: &str) -> Result<Answer, Failed> {
    let answer = connection.request(METADATA, version, true, &request(topic, version)).await?;
    match topic_in(Fields::new(&answer))? {
        (_, UNKNOWN_TOPIC, _) => Ok(Answer::NoTopic),
        (cluster_id, 0, topic_id) => Ok(Answer::Topic(Identity { cluster_id, topic_id })),
        // Partitions without leaders, for one: the topic and its id are there all the same.
        (cluster_id, _, Some(topic_id)) => Ok(Answer::Topic(Identity { cluster_id, topic_id: Some(topic_id) })),
        (_, code, None) => Err(Failed::Said(format!("error {code} instead of a topic"))),
    }
}

/// The newest version of the request that both sides speak.
fn version(mut fields: Fields<'_>) -> Result<Option<i16>, Unreadable> {
    fields.i16()?;
    for _ in 0..fields.i32()? {
        let (key, least, most) = (fields.i16()?, fields.i16()?, fields.i16()?);
        if key == METADATA {
            let version = most.min(VERSIONS.1);
            return Ok((version >= VERSIONS.0 && version >= least).then_some(version));
        }
    }
    Ok(None)
}

fn request(topic: &str, version: i16) -> Vec<u8> {
    let mut frame = Frame::default();
    frame.compact_length(1).raw(&NO_ID).compact_string(topic).no_tags();
    // No topic is made by asking, and nobody's rights are told.
    frame.flag(false);
    if version < 11 {
        frame.flag(false);
    }
    frame.flag(false).no_tags();
    frame.bytes().to_vec()
}

/// The cluster's id, and error and id of the one topic that was asked for; what follows is not read.
fn topic_in(mut fields: Fields<'_>) -> Result<(Option<String>, i16, Option<String>), Unreadable> {
    fields.i32()?;
    for _ in 0..fields.compact_length()?.unwrap_or(0) {
        fields.i32()?;
        fields.compact_string()?;
        fields.i32()?;
        fields.compact_string()?;
        fields.skip_tags()?;
    }
    let cluster = fields.compact_string()?.map(str::to_string);
    fields.i32()?;
    if fields.compact_length()?.unwrap_or(0) != 1 {
        return Err(Unreadable);
    }
    let error = fields.i16()?;
    fields.compact_string()?;
    let id = fields.uuid()?;
    Ok((cluster, error, (id != NO_ID).then(|| uuid::Uuid::from_bytes(id).to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(error: i16, id: [u8; 16]) -> Vec<u8> {
        let mut frame = Frame::default();
        frame.i32(0).compact_length(2);
        for node in [1, 2] {
            frame.i32(node).compact_string("host").i32(9092).compact_length(0).no_tags();
        }
        frame.compact_string("the cluster").i32(1).compact_length(1).i16(error).compact_string("t").raw(&id);
        frame.raw(b"and so on");
        frame.bytes().to_vec()
    }

    #[test]
    fn a_topic_is_known_by_its_id_where_it_has_one() {
        let read = |error, id| topic_in(Fields::new(&answer(error, id))).unwrap();
        let cluster = || Some("the cluster".to_string());
        assert_eq!(read(0, [1; 16]), (cluster(), 0, Some("01010101-0101-0101-0101-010101010101".into())));
        assert_eq!(read(UNKNOWN_TOPIC, NO_ID), (cluster(), UNKNOWN_TOPIC, None));
        let whole = answer(0, [1; 16]);
        for length in 0..whole.len() - b"and so on".len() {
            assert_eq!(topic_in(Fields::new(&whole[..length])), Err(Unreadable), "cut after {length} bytes");
        }
    }

    #[test]
    fn the_newest_version_that_both_speak_is_taken() {
        let check = |keys: &[(i16, i16, i16)], expect: Option<i16>| {
            let mut frame = Frame::default();
            frame.i16(0).i32(keys.len() as i32);
            keys.iter().for_each(|(key, least, most)| {
                frame.i16(*key).i16(*least).i16(*most);
            });
            assert_eq!(version(Fields::new(frame.bytes())), Ok(expect), "{keys:?}");
        };
        check(&[(0, 0, 9), (METADATA, 0, 13)], Some(12));
        check(&[(METADATA, 0, 11)], Some(11));
        check(&[(METADATA, 0, 9)], None);
        check(&[(METADATA, 13, 14)], None);
        check(&[(0, 0, 9)], None);
    }
}
