//! The ingest tower: a topic in the table once, whatever happens on the way. `scripted` and `zombie` have an origin and a
//! store of the test's own, `broker` librdkafka's, `real` and `kill` a Kafka broker and an S3 server as they are.

mod broker;
mod chaos;
mod folder;
mod fresh;
mod histories;
pub mod home;
mod keyed;
mod kill;
mod owners;
mod paused;
mod posted;
mod postgres;
mod pulled;
mod real;
mod replayed;
mod scripted;
mod setback;
mod topic;
mod world;
mod zombie;
