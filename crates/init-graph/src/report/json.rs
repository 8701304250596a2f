//! The report as JSON, for tools. Times are whole microseconds; points in time count from the begin of the start.
//!
//! | field | meaning |
//! |---|---|
//! | `version` | 1; a higher one may mean other things by the same names, new fields may come without one |
//! | `succeeded`, `took_us` | whether the start went well, and how long it took |
//! | `goal` | the milestone that it waited for; `null` for everything |
//! | `work_us`, `parallelism`, `lower_bound_us`, `efficiency` | as the methods of [`Report`] |
//! | `limits` | `class` and `limit` of each class with one; `concurrency` is the limit on all |
//! | `critical_chain`, `nodes[].dependencies`, `nodes[].waited_for` | names |
//! | `failures` | `name` and `error`, with its sources, of what failed and was tolerated |
//! | `slower` | `name`, `now_us` and `median_us` of what was much slower than usual |
//! | `nodes` | in start order; the fields ending in `_us` as the methods of [`NodeReport`], `null` for `None` |

use std::error::Error;
use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};

use crate::failure::Failure;
use crate::report::{NodeReport, Report, Slower};

impl Report {
    /// The report as one JSON object; [`Serialize`] gives the same for an object around it.
    ///
    /// ```text
    /// {"version":1,"succeeded":true,"took_us":232000,"goal":null,"work_us":385000,"parallelism":1.66,
    ///  "lower_bound_us":231000,"efficiency":0.996,"concurrency":null,"limits":[{"class":"cpu","limit":2}],
    ///  "critical_chain":["cache","api"],"failures":[],"slower":[],
    ///  "nodes":[{"name":"cache","stage":"storage","outcome":"ready","optional":false,"background":false,"lazy":false,
    ///    "milestone":false,"class":"cpu","dependencies":["config"],"waited_for":"config","waited_us":0,"queued_us":0,
    ///    "started_us":12,"attempts":1,"backoff_us":0,"own_us":201000,"settled_us":201012,"stop_us":null,"slack_us":0,
    ///    "drag_us":48000}]}
    /// ```
    ///
    /// Times are whole microseconds and points in time count from the begin of the start; the fields of a node are the
    /// methods of [`NodeReport`]. A new meaning of a field raises `version`; a new field does not.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> init_graph::Result<()> {
    /// let mut graph = init_graph::Graph::new();
    /// graph.node("database").stage("storage");
    /// let running = graph.start().await?;
    /// let report: serde_json::Value = serde_json::from_str(&running.report().to_json())?;
    /// assert_eq!(report["version"], 1);
    /// assert_eq!(report["nodes"][0]["stage"], "storage");
    /// # running.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers can always be written")
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let limits = self.limits().iter().map(|(class, limit)| Limit {
            class: class.name(),
            limit: *limit,
        });
        let chain = self.critical_chain();
        let mut object = serializer.serialize_struct("Report", 14)?;
        object.serialize_field("version", &VERSION)?;
        object.serialize_field("succeeded", &self.succeeded())?;
        object.serialize_field("took_us", &micros(self.took()))?;
        object.serialize_field("goal", &self.goal().map(|goal| goal.name()))?;
        object.serialize_field("work_us", &micros(self.work()))?;
        object.serialize_field("parallelism", &self.parallelism())?;
        object.serialize_field("lower_bound_us", &micros(self.lower_bound()))?;
        object.serialize_field("efficiency", &self.efficiency())?;
        object.serialize_field("concurrency", &self.inner.parts.concurrency)?;
        object.serialize_field("limits", &limits.collect::<Vec<_>>())?;
        object.serialize_field(
            "critical_chain",
            &chain.iter().map(NodeReport::name).collect::<Vec<_>>(),
        )?;
        object.serialize_field(
            "failures",
            &self.failures().iter().map(Failed::new).collect::<Vec<_>>(),
        )?;
        object.serialize_field("slower", &self.slower())?;
        object.serialize_field("nodes", &Nodes(self))?;
        object.end()
    }
}

impl Serialize for Slower {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Slower", 3)?;
        object.serialize_field("name", &self.name)?;
        object.serialize_field("now_us", &micros(self.now))?;
        object.serialize_field("median_us", &micros(self.median))?;
        object.end()
    }
}

/// Written one by one: a copy of a large graph would cost as much again.
struct Nodes<'a>(&'a Report);

impl Serialize for Nodes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.nodes())
    }
}

impl Serialize for NodeReport<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let plan = self.plan_node();
        let mut object = serializer.serialize_struct("Node", 20)?;
        object.serialize_field("name", self.name())?;
        object.serialize_field("stage", &self.stage())?;
        object.serialize_field("outcome", self.outcome().word())?;
        object.serialize_field("optional", &plan.is_optional())?;
        object.serialize_field("background", &plan.is_background())?;
        object.serialize_field("lazy", &plan.is_lazy())?;
        object.serialize_field("milestone", &plan.is_milestone())?;
        object.serialize_field("class", &self.limited_by().map(|class| class.name()))?;
        object.serialize_field("dependencies", &Dependencies(self))?;
        object.serialize_field("waited_for", &self.waited_for().map(|last| last.name()))?;
        object.serialize_field("waited_us", &micros(self.waited()))?;
        object.serialize_field("queued_us", &micros(self.queued()))?;
        object.serialize_field("started_us", &micros(self.started_at()))?;
        object.serialize_field("attempts", &self.attempts())?;
        object.serialize_field("backoff_us", &micros(self.backoff()))?;
        object.serialize_field("own_us", &micros(self.own()))?;
        object.serialize_field("settled_us", &micros(self.settled_at()))?;
        object.serialize_field("stop_us", &self.stopped().map(micros))?;
        object.serialize_field("slack_us", &self.slack().map(micros))?;
        object.serialize_field("drag_us", &micros(self.drag()))?;
        object.end()
    }
}

struct Dependencies<'a, 'b>(&'a NodeReport<'b>);

impl Serialize for Dependencies<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let report = self.0.report;
        serializer.collect_seq(
            report
                .dependencies(self.0.node)
                .iter()
                .map(|id| report.plan_node(id.0).name()),
        )
    }
}

#[derive(Serialize)]
struct Limit<'a> {
    class: &'a str,
    limit: usize,
}

#[derive(Serialize)]
struct Failed<'a> {
    name: &'a str,
    error: String,
}

impl<'a> Failed<'a> {
    fn new(failure: &'a Failure) -> Self {
        let mut error = failure.to_string();
        let mut source = failure.source();
        // A chain that never ends would be an error that is its own source.
        for _ in 0..SOURCES_MAX {
            let Some(next) = source else { break };
            error.push_str(": ");
            error.push_str(&next.to_string());
            source = next.source();
        }
        Self {
            name: failure.name(),
            error,
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

const VERSION: u32 = 1;
const SOURCES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::expect;
    use serde_json::Value;

    use super::*;
    use crate::class::Class;
    use crate::error::Cause;
    use crate::failure::Why;
    use crate::report::Outcome;
    use crate::report::fixture::{Scene, ms};

    #[test]
    fn every_field_is_there_with_times_as_whole_microseconds() {
        let mut scene = Scene::default();
        scene.limits = vec![(Class::CPU, 2)];
        let database = scene.ran("database", &[], 0, 80);
        (database.attempts, database.own, database.backoff) = (2, ms(50), ms(30));
        (database.limit, database.stopped) = (Some(0), Some(ms(7)));
        scene.last().stage = Some("storage".into());
        scene.idle("cache", &[0], Outcome::Skipped, 80).optional = true;
        let cause = Cause::Failed("refused\n\"why\"".into());
        scene
            .failures
            .push(Failure::new("other".into(), Why::Failed(Arc::new(cause))));
        let json: Value = serde_json::from_str(&scene.report().to_json()).unwrap();
        expect![[r#"
            {
              "concurrency": null,
              "critical_chain": [
                "database"
              ],
              "efficiency": 1.0,
              "failures": [
                {
                  "error": "`other` failed: refused\n\"why\"",
                  "name": "other"
                }
              ],
              "goal": null,
              "limits": [
                {
                  "class": "cpu",
                  "limit": 2
                }
              ],
              "lower_bound_us": 80000,
              "nodes": [
                {
                  "attempts": 2,
                  "background": false,
                  "backoff_us": 30000,
                  "class": "cpu",
                  "dependencies": [],
                  "drag_us": 80000,
                  "lazy": false,
                  "milestone": false,
                  "name": "database",
                  "optional": false,
                  "outcome": "ready",
                  "own_us": 50000,
                  "queued_us": 0,
                  "settled_us": 80000,
                  "slack_us": 0,
                  "stage": "storage",
                  "started_us": 0,
                  "stop_us": 7000,
                  "waited_for": null,
                  "waited_us": 0
                },
                {
                  "attempts": 0,
                  "background": false,
                  "backoff_us": 0,
                  "class": null,
                  "dependencies": [
                    "database"
                  ],
                  "drag_us": 0,
                  "lazy": false,
                  "milestone": false,
                  "name": "cache",
                  "optional": true,
                  "outcome": "skipped",
                  "own_us": 0,
                  "queued_us": 0,
                  "settled_us": 80000,
                  "slack_us": 0,
                  "stage": null,
                  "started_us": 80000,
                  "stop_us": null,
                  "waited_for": "database",
                  "waited_us": 80000
                }
              ],
              "parallelism": 0.625,
              "slower": [],
              "succeeded": true,
              "took_us": 80000,
              "version": 1,
              "work_us": 50000
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&json).unwrap());
    }

    #[test]
    fn an_empty_graph_is_valid_json() {
        let json: Value = serde_json::from_str(&Scene::default().report().to_json()).unwrap();
        assert_eq!(
            (&json["version"], &json["efficiency"], &json["nodes"]),
            (&1.into(), &1.0.into(), &Value::Array(vec![]))
        );
    }
}
