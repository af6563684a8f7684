use std::time::Duration;

use offhook_fixtures::receiver::{Receiver, Reply};

use super::super::{Delivery, DeliveryState, WebhookChange};
use super::*;
use crate::domain::crm::testing::{ALL, Desk};
use crate::domain::error::Error;

const CALLER: &str = "+14155551234";

async fn add(desk: &Desk, url: &str) -> OutboundWebhook {
    desk.webhooks.add(&desk.owner, "Hook".into(), url, "call.ended", desk.now()).await.unwrap()
}

/// The first one first.
async fn deliveries(desk: &Desk, webhook: &OutboundWebhook) -> Vec<Delivery> {
    let mut all = desk.webhooks.deliveries(&desk.owner, &webhook.id, ALL).await.unwrap();
    all.reverse();
    all
}

/// The calls that came at a path.
fn calls(receiver: &Receiver, path: &str) -> Vec<String> {
    let received = receiver.received_at(path);
    received.iter().map(|one| one.body["call_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_ended_call_is_told_once_signed_to_each_that_wants_it() {
    let (desk, receiver) = (Desk::start().await, Receiver::start().await);
    let webhook = add(&desk, &receiver.url("/a")).await;
    add(&desk, &receiver.url("/b")).await;
    let other =
        desk.webhooks.add(&desk.owner, "x".into(), &receiver.url("/c"), "call.started", desk.now()).await;
    other.unwrap();
    let call = desk.call(CALLER).await;
    desk.work().await;
    desk.store.fan_out(&call, desk.now()).await.unwrap();
    desk.work().await;
    assert_eq!((calls(&receiver, "/a"), calls(&receiver, "/b")), (vec![call.clone()], vec![call]));
    assert!(receiver.received_at("/c").is_empty());

    let received = receiver.received_at("/a").remove(0);
    assert_eq!(received.body["customer_phone"], CALLER);
    let secret = desk.webhooks.secret(&desk.owner, &webhook.id).await.unwrap();
    let shown = Some(received.header("x-webhook-signature"));
    stripe::verify(&secret, shown, &received.raw, desk.now()).unwrap();
    assert!(stripe::verify("whsec_other", shown, &received.raw, desk.now()).is_err());
    let delivery = deliveries(&desk, &webhook).await.remove(0);
    assert_eq!(received.header("x-webhook-id"), delivery.id);
    assert_eq!((delivery.state, delivery.tries.len()), (DeliveryState::Delivered, 1));
    assert_eq!((delivery.tries[0].status, delivery.tries[0].answer.as_str()), (Some(200), "answer 200"));
}

#[tokio::test]
async fn who_fails_is_tried_five_times_in_growing_gaps_and_then_no_more() {
    let (desk, receiver) = (Desk::start().await, Receiver::start().await);
    let webhook = add(&desk, &receiver.url("/a")).await;
    receiver.reply("/a", [500, 404, 302, 429, 500, 500].map(Reply::Status));
    desk.call(CALLER).await;
    desk.work().await;
    // 2, 8, 32 and 128 s, and a quarter more at most.
    for (wait_s, before) in [(2, 1), (8, 2), (32, 3), (128, 4)] {
        desk.pass(Duration::from_millis(wait_s * 1_000 - 500));
        desk.work().await;
        assert_eq!(receiver.received().len(), before, "before {wait_s} s are over");
        desk.pass(Duration::from_millis(wait_s * 250 + 501));
        desk.work().await;
        assert_eq!(receiver.received().len(), before + 1, "after {wait_s} s");
    }
    desk.pass(Duration::from_secs(3_600));
    desk.work().await;
    assert_eq!(receiver.received().len(), 5);
    let ids: std::collections::BTreeSet<_> =
        receiver.received().iter().map(|one| one.header("x-webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), 1, "by which it is known again");
    let delivery = deliveries(&desk, &webhook).await.remove(0);
    assert_eq!((delivery.state, delivery.reason.as_deref()), (DeliveryState::Failed, Some("status 500")));
    let statuses: Vec<_> = delivery.tries.iter().map(|tried| tried.status.unwrap()).collect();
    assert_eq!(statuses, [500, 404, 302, 429, 500]);
    assert!(delivery.tries[2].error.as_ref().unwrap().contains("not followed"));
}

#[tokio::test]
async fn order_is_kept_for_each_destination_and_a_slow_one_harms_no_other() {
    let (desk, receiver) = (Desk::start().await, Receiver::start().await);
    add(&desk, &receiver.url("/good")).await;
    add(&desk, &receiver.url("/flaky")).await;
    add(&desk, &receiver.url("/slow")).await;
    receiver.reply("/flaky", [Reply::Status(500), Reply::Busy(30), Reply::Status(200), Reply::Status(500)]);
    receiver.reply("/slow", [Reply::Never]);
    let mut ended = Vec::new();
    for _ in 0..5 {
        ended.push(desk.call(CALLER).await);
    }
    let mut running = tokio::task::JoinSet::new();
    let mut others_done = false;
    for _ in 0..2_000 {
        desk.worker.start_due(&mut running).await.unwrap();
        desk.pass(Duration::from_millis(500));
        others_done = calls(&receiver, "/good").len() == 5 && calls(&receiver, "/flaky").len() == 8;
        if others_done {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(others_done, "{:?} {:?}", calls(&receiver, "/good"), calls(&receiver, "/flaky"));
    assert_eq!(calls(&receiver, "/slow"), ended[..1], "it still holds the first");
    assert_eq!(calls(&receiver, "/good"), ended);
    let mut taken = calls(&receiver, "/flaky");
    taken.dedup();
    assert_eq!(taken, ended, "none overtook the one that failed");
    running.shutdown().await;
}

#[tokio::test]
async fn what_is_switched_off_removed_or_inside_is_not_told() {
    let (desk, receiver) = (Desk::start().await, Receiver::start().await);
    let webhook = add(&desk, &receiver.url("/a")).await;
    receiver.reply("/a", [Reply::Status(500)]);
    desk.call(CALLER).await;
    desk.work().await;
    let off = WebhookChange { is_active: Some(false), ..WebhookChange::default() };
    desk.store.change_webhook(&desk.owner, &webhook.id, off).await.unwrap();
    desk.pass(Duration::from_secs(60));
    desk.work().await;
    desk.call(CALLER).await;
    desk.work().await;
    let told = deliveries(&desk, &webhook).await;
    assert_eq!((told.len(), told[0].state), (1, DeliveryState::Failed), "{told:#?}");
    assert!(told[0].reason.as_ref().unwrap().contains("switched off"));
    assert_eq!(receiver.received().len(), 1);

    for owner in ["somebody else", ""] {
        assert!(matches!(desk.store.remove_webhook(owner, &webhook.id).await, Err(Error::NotFound(_))));
        assert!(matches!(desk.webhooks.secret(owner, &webhook.id).await, Err(Error::NotFound(_))));
        assert!(matches!(desk.webhooks.deliveries(owner, &webhook.id, ALL).await, Err(Error::NotFound(_))));
    }
    desk.store.remove_webhook(&desk.owner, &webhook.id).await.unwrap();
    assert!(desk.store.outbound_webhooks(&desk.owner, ALL).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_new_secret_signs_from_then_on_and_there_is_a_most_of_webhooks() {
    let (desk, receiver) = (Desk::start().await, Receiver::start().await);
    let webhook = add(&desk, &receiver.url("/a")).await;
    let old = desk.webhooks.secret(&desk.owner, &webhook.id).await.unwrap();
    let new = desk.webhooks.renew_secret(&desk.owner, &webhook.id).await.unwrap();
    assert!(old != new && new.starts_with("whsec_"));
    assert_eq!(desk.webhooks.secret(&desk.owner, &webhook.id).await.unwrap(), new);
    assert!(!String::from_utf8_lossy(&webhook.sealed).contains("whsec_"), "it is sealed");
    for _ in 1..crate::domain::deliveries::WEBHOOKS_MAX {
        add(&desk, &receiver.url("/b")).await;
    }
    let more = desk.webhooks.add(&desk.owner, "x".into(), &receiver.url("/b"), "", desk.now()).await;
    assert!(matches!(more, Err(Error::Conflict(_))), "{more:?}");
}
