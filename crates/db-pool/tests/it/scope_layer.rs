//! Each request through the layer has a scope of its own, with the deadline that it or the layer gives.

use std::time::Duration;

use db_pool::{Scope, ScopeLayer};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};

struct Request {
    deadline: Option<Instant>,
}

async fn deadline_within(_: Request) -> Result<Option<Instant>, std::convert::Infallible> {
    Ok(Scope::current().unwrap().deadline())
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_at_its_own_deadline_or_the_layers_whichever_is_earlier() {
    let now = Instant::now();
    let seconds = |count| now + Duration::from_secs(count);
    let layer = ScopeLayer::new()
        .timeout(Duration::from_secs(10))
        .deadline(|request: &Request| request.deadline);
    for (own, expected) in [(None, 10), (Some(3), 3), (Some(30), 10)] {
        let deadline = own.map(seconds);
        let service = layer.layer(service_fn(deadline_within));
        let seen = service.oneshot(Request { deadline }).await.unwrap();
        assert_eq!(seen, Some(seconds(expected)));
    }
    let service = ScopeLayer::new().layer(service_fn(deadline_within));
    let seen = service.oneshot(Request { deadline: None }).await.unwrap();
    assert_eq!(seen, None);
}

#[tokio::test]
async fn what_a_service_does_before_its_future_runs_is_inside_and_what_comes_after_is_not() {
    let service = ScopeLayer::new().layer(service_fn(|()| {
        let before = Scope::current().is_some();
        async move { Ok::<_, std::convert::Infallible>((before, Scope::current().is_some())) }
    }));
    assert_eq!(service.oneshot(()).await.unwrap(), (true, true));
    assert!(Scope::current().is_none());
}
