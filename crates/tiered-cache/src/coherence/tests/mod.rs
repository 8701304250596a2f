//! The ledger against a scripted server: in service, with faults at every call, and killed at every
//! call.

mod batches;
mod faults;
mod floors;
mod follower;
mod following;
mod process;
mod replicas;
mod server;
