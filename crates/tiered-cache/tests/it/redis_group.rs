//! Several Redis servers that belong together: a Cluster of three nodes, and a Sentinel with a primary
//! and its replica.

use std::time::Duration;

use super::redis_server::{Reply, Server};

/// Three primaries that share the hash slots.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    /// `None` where no server is installed.
    pub(crate) async fn start() -> Option<Self> {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let arguments = [
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "2000",
                // The others answer while one is away.
                "--cluster-require-full-coverage",
                "no",
            ];
            nodes.push(Server::start(&arguments).await?);
        }
        for (at, node) in nodes.iter().enumerate() {
            let slots: Vec<String> = (0..SLOTS)
                .filter(|slot| slot * 3 / SLOTS == at)
                .map(|slot| slot.to_string())
                .collect();
            let mut command = vec!["CLUSTER", "ADDSLOTS"];
            command.extend(slots.iter().map(String::as_str));
            done(node, &command).await;
            let epoch = (at + 1).to_string();
            done(node, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
        }
        for node in &nodes[1..] {
            let port = nodes[0].port().to_string();
            done(node, &["CLUSTER", "MEET", "127.0.0.1", &port]).await;
        }
        let cluster = Self { nodes };
        cluster.settled().await;
        Some(cluster)
    }

    pub(crate) fn url(&self) -> String {
        let [first, others @ ..] = &*self.nodes else {
            return String::new();
        };
        let others: Vec<String> = others
            .iter()
            .map(|node| format!("node=127.0.0.1:{}", node.port()))
            .collect();
        format!(
            "redis-cluster://127.0.0.1:{}?{}",
            first.port(),
            others.join("&")
        )
    }

    /// The node whose slots hold the key.
    pub(crate) async fn node_of(&self, key: &str) -> usize {
        let slot = self.nodes[0].command(&["CLUSTER", "KEYSLOT", key]).await;
        let slot = usize::try_from(slot.number()).expect("a slot");
        slot * 3 / SLOTS
    }

    /// Waits until every node knows every other and that all is well.
    pub(crate) async fn settled(&self) {
        until("the cluster is whole", async || {
            for node in &self.nodes {
                let info = node.command(&["CLUSTER", "INFO"]).await;
                let info = info.text();
                let whole = [
                    "cluster_state:ok",
                    "cluster_known_nodes:3",
                    "cluster_size:3",
                ];
                if !whole.iter().all(|line| info.contains(line)) {
                    return false;
                }
                let slots = node.command(&["CLUSTER", "SLOTS"]).await;
                if !matches!(slots, Reply::Many(ranges) if ranges.len() == 3) {
                    return false;
                }
            }
            true
        })
        .await;
    }
}

/// A primary, its replica, and a Sentinel that decides alone.
#[derive(Debug)]
pub(crate) struct Sentinel {
    pub(crate) primary: Server,
    pub(crate) replica: Server,
    pub(crate) sentinel: Server,
}

impl Sentinel {
    /// `None` where no server is installed.
    pub(crate) async fn start() -> Option<Self> {
        // By default it waits 5 s for more replicas.
        let primary = Server::start(&["--repl-diskless-sync-delay", "0"]).await?;
        let port = primary.port().to_string();
        let replica = Server::start(&["--replicaof", "127.0.0.1", &port]).await?;
        until("the replica follows", async || {
            let info = replica.command(&["INFO", "replication"]).await;
            info.text().contains("master_link_status:up")
        })
        .await;
        let settings = format!(
            "sentinel monitor {NAME} 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds {NAME} 500\n\
             sentinel failover-timeout {NAME} 3000\n"
        );
        let sentinel = Server::start_sentinel(&settings).await?;
        until("the Sentinel knows the replica", async || {
            let info = sentinel.command(&["INFO", "sentinel"]).await;
            info.text().contains("status=ok,") && info.text().contains("slaves=1")
        })
        .await;
        Some(Self {
            primary,
            replica,
            sentinel,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!(
            "redis-sentinel://127.0.0.1:{}?sentinelServiceName={NAME}",
            self.sentinel.port()
        )
    }

    /// Waits until the replica is the primary.
    pub(crate) async fn promoted(&self) {
        until("the replica is promoted", async || {
            // It ends all connections as it takes over.
            let info = self.replica.try_command(&["INFO", "replication"]).await;
            info.is_some_and(|info| info.text().contains("role:master"))
        })
        .await;
    }
}

async fn done(node: &Server, command: &[&str]) {
    let reply = node.command(command).await;
    assert_eq!(reply, Reply::Text("OK".to_owned()), "{:?}", &command[..2]);
}

/// Asks again and again, for servers that have no way to tell.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let result = tokio::time::timeout(LIMIT, wait).await;
    result.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"));
}

const SLOTS: usize = 16_384;
const NAME: &str = "cache";
const LIMIT: Duration = Duration::from_secs(60);
